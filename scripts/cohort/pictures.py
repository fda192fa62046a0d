"""Draws the applications' photos: faces made of a few shapes, 2-inch, colour, on white.

A photo's file name is the person's, its bytes are not: all people share a few pictures.
Source: source-document 3.1(4).
"""

from __future__ import annotations

import io
from datetime import date

from PIL import Image, ImageDraw

from scripts.cohort.rng import SeededRandom

WIDTH_PX, HEIGHT_PX = 295, 413
"""35 x 49 mm at 214 dots per inch."""

SKINS = ((244, 208, 177), (232, 190, 150), (222, 176, 136), (250, 220, 196))
HAIRS = ((28, 24, 22), (48, 36, 30), (70, 52, 40), (20, 20, 30))
CLOTHES = ((42, 62, 110), (110, 38, 48), (36, 92, 78), (60, 60, 66), (126, 92, 40), (88, 60, 120))


def portrait(rng: SeededRandom, taken_on: date | None = None) -> bytes:
    """A JPEG of a few kilobytes. taken_on: capture date for its EXIF."""
    image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    middle = WIDTH_PX // 2 + rng.between(-4, 4)
    skin, hair, cloth = rng.pick(SKINS), rng.pick(HAIRS), rng.pick(CLOTHES)
    half, chin = rng.between(62, 74), rng.between(262, 278)
    crown = rng.between(84, 96)
    if rng.chance(50):  # long hair falls behind the shoulders
        draw.ellipse((middle - half - 20, crown - 22, middle + half + 20, chin + 60), fill=hair)
    draw.rounded_rectangle((middle - 122, 322, middle + 122, 480), 58, fill=cloth)
    draw.rectangle((middle - 27, chin - 34, middle + 27, 340), fill=_darker(skin))
    draw.polygon([(middle - 40, 322), (middle + 40, 322), (middle, 372)], fill=(250, 250, 250))
    draw.ellipse((middle - half - 8, crown - 20, middle + half + 8, crown + 150), fill=hair)
    draw.ellipse((middle - half, crown, middle + half, chin), fill=skin)
    draw.pieslice((middle - half, crown - 10, middle + half, crown + 96), 180, 360, fill=hair)
    _features(draw, rng, middle, crown, chin, hair)
    out = io.BytesIO()
    exif = Image.Exif()
    if taken_on is not None:
        exif.get_ifd(0x8769)[0x9003] = f"{taken_on:%Y:%m:%d} 10:15:00"
    image.save(out, "JPEG", quality=62, subsampling=2, exif=exif)
    return out.getvalue()


def _features(
    draw: ImageDraw.ImageDraw,
    rng: SeededRandom,
    middle: int,
    crown: int,
    chin: int,
    hair: tuple[int, int, int],
) -> None:
    """Eyes, brows, nose, mouth, and glasses for some."""
    eyes, apart = (crown + chin) // 2 + 4, rng.between(25, 30)
    for side in (-1, 1):
        at = middle + side * apart
        draw.ellipse((at - 9, eyes - 5, at + 9, eyes + 5), fill=(255, 255, 255))
        draw.ellipse((at - 4, eyes - 4, at + 4, eyes + 4), fill=(40, 30, 26))
        draw.line((at - 12, eyes - 15, at + 12, eyes - 16 - side), fill=hair, width=4)
    if rng.chance(30):
        for side in (-1, 1):
            at = middle + side * apart
            draw.ellipse((at - 17, eyes - 13, at + 17, eyes + 13), outline=(50, 50, 56), width=3)
        draw.line((middle - 8, eyes, middle + 8, eyes), fill=(50, 50, 56), width=3)
    draw.line((middle, eyes + 12, middle - 4, eyes + 38), fill=(196, 150, 120), width=3)
    draw.arc((middle - 24, chin - 62, middle + 24, chin - 34), 20, 160, fill=(176, 70, 70), width=4)


def _darker(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = colour
    return red - 18, green - 18, blue - 18
