"""Uploaded photos and scans, valid and hostile: only the bytes count.

Covers: api/files/upload_inspection.py, api/files/upload_errors.py
"""

import io
import logging
import random
import struct
import zlib
from datetime import date
from functools import partial

import pytest
from PIL import Image, ImageDraw

import api.files.upload_errors as problems
from api.files.upload_inspection import inspect_document, inspect_photo, upright_photo
from domain.documents.materials import Background

PHOTO_BYTES_MAX = 51_200
WHITE = (252, 252, 252)


def portrait(
    size: tuple[int, int] = (413, 579), background: tuple[int, int, int] = WHITE, seed: int = 7
) -> Image.Image:
    """A drawn head and shoulders, with seeded noise, on one plain background."""
    width, height = size
    image = Image.new("RGB", size, background)
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.08, height * 0.62, width * 0.92, height * 1.4), fill=(40, 52, 96))
    draw.ellipse((width * 0.30, height * 0.14, width * 0.70, height * 0.60), fill=(40, 30, 28))
    draw.ellipse((width * 0.33, height * 0.22, width * 0.67, height * 0.66), fill=(226, 186, 160))
    chance = random.Random(seed)
    for _ in range(200):
        spot = (chance.randrange(width), chance.randrange(height))
        image.putpixel(spot, tuple(max(0, c - 6) for c in image.getpixel(spot)))
    return image


def jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **({"quality": 85} | options))
    return buffer.getvalue()


def png(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def exif(**tags: object) -> bytes:
    values = Image.Exif()
    if "orientation" in tags:
        values[0x0112] = tags["orientation"]
    if "taken" in tags:
        values.get_ifd(0x8769)[0x9003] = tags["taken"]
    return values.tobytes()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# --- photos ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "mm"), [((413, 579), (35, 49)), ((413, 626), (35, 53))])
@pytest.mark.parametrize("save", [jpeg, png])
def test_a_valid_two_inch_photo_is_measured(size, mm, save):
    data = save(portrait(size))
    facts = inspect_photo(data)
    assert (facts.width_px, facts.height_px) == size
    assert facts.format_mm == mm
    assert facts.background is Background.WHITE
    assert facts.in_colour
    assert facts.size_bytes == len(data) <= PHOTO_BYTES_MAX
    assert facts.media_type == ("image/jpeg" if save is jpeg else "image/png")


def test_the_day_a_photo_was_taken_is_read_from_its_exif():
    facts = inspect_photo(jpeg(portrait(), exif=exif(taken="2026:05:04 23:59:59")))
    assert facts.taken_on == date(2026, 5, 4)
    assert facts.fact(date(2020, 1, 1)).taken_on == date(2026, 5, 4)


@pytest.mark.parametrize("taken", ["0000:00:00 00:00:00", "yesterday", "2026:13:40 00:00:00", ""])
def test_an_invalid_exif_day_is_unknown_and_the_stated_day_is_used(taken: str):
    facts = inspect_photo(jpeg(portrait(), exif=exif(taken=taken)))
    assert facts.taken_on is None
    assert facts.fact(date(2026, 5, 4)).taken_on == date(2026, 5, 4)


def test_a_photo_is_measured_upright():
    lying = portrait().transpose(Image.Transpose.ROTATE_90)
    facts = inspect_photo(jpeg(lying, exif=exif(orientation=6)))
    assert (facts.width_px, facts.height_px) == (413, 579)
    assert facts.background is Background.WHITE


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_photo_with_damaged_exif_is_accepted():
    facts = inspect_photo(jpeg(portrait(), exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff\x00"))
    assert facts.taken_on is None
    assert facts.format_mm == (35, 49)


@pytest.mark.parametrize(
    ("background", "verdict"),
    [
        ((255, 255, 255), Background.WHITE),
        ((235, 238, 240), Background.WHITE),
        ((215, 215, 215), Background.NOT_WHITE),
        ((67, 142, 219), Background.NOT_WHITE),  # 蓝底
        ((217, 0, 27), Background.NOT_WHITE),  # 红底
        ((255, 255, 215), Background.NOT_WHITE),  # yellowed
        ((0, 0, 0), Background.NOT_WHITE),
    ],
)
def test_only_a_white_background_is_classified_white(background, verdict):
    assert inspect_photo(jpeg(portrait(background=background))).background is verdict


def test_a_shadow_across_a_light_background_is_uneven():
    shade = Image.linear_gradient("L").rotate(90).resize((413, 579))
    shade = shade.point(lambda value: 195 + value * 60 // 255)
    face = portrait()
    is_background = face.convert("L").point(lambda value: 255 if value > 240 else 0)
    face.paste(Image.merge("RGB", [shade] * 3), mask=is_background)
    assert inspect_photo(jpeg(face)).background is Background.UNEVEN


def test_hair_that_fills_one_corner_is_not_a_white_background():
    face = portrait()
    ImageDraw.Draw(face).rectangle((0, 0, 200, 60), fill=(40, 30, 28))
    assert inspect_photo(jpeg(face)).background is Background.NOT_WHITE


@pytest.mark.parametrize("as_rgb", [True, False])
def test_a_grey_photo_is_not_in_colour(as_rgb: bool):
    grey = portrait().convert("L")
    facts = inspect_photo(jpeg(grey.convert("RGB") if as_rgb else grey))
    assert not facts.in_colour
    assert facts.background is Background.WHITE


def test_a_sixteen_bit_grey_photo_is_grey_and_keeps_its_background():
    grey = portrait().convert("L").point(lambda value: value * 257, "I").convert("I;16")
    facts = inspect_photo(png(grey))
    assert not facts.in_colour
    assert facts.background is Background.WHITE


def test_a_palette_photo_is_measured_like_any_other():
    facts = inspect_photo(png(portrait().quantize(64)))
    assert facts.in_colour and facts.background is Background.WHITE


def test_a_photo_over_fifty_kilobytes_is_measured_for_the_rules_to_judge():
    chance = random.Random(3)
    noisy = Image.frombytes("RGB", (413, 579), chance.randbytes(413 * 579 * 3))
    data = jpeg(noisy, quality=95)
    assert inspect_photo(data).size_bytes == len(data) > PHOTO_BYTES_MAX


def test_a_cmyk_photo_is_refused():
    with pytest.raises(problems.PictureNotRgb):
        inspect_photo(jpeg(portrait().convert("CMYK")))


def test_a_photo_with_transparent_parts_is_refused_an_opaque_one_is_not():
    clear = portrait().convert("RGBA")
    assert inspect_photo(png(clear)).background is Background.WHITE
    clear.putpixel((0, 0), (255, 255, 255, 0))
    with pytest.raises(problems.PictureTransparent):
        inspect_photo(png(clear))


def test_an_animated_photo_is_refused():
    moving = png(portrait(), save_all=True, append_images=[portrait(seed=8)], duration=100)
    with pytest.raises(problems.PictureAnimated):
        inspect_photo(moving)
    with pytest.raises(problems.PictureAnimated):
        inspect_document(moving, "image/png")


def test_a_file_of_several_jpegs_is_refused_as_a_photo():
    buffer = io.BytesIO()
    portrait().save(buffer, "MPO", save_all=True, append_images=[portrait(seed=8)])
    with pytest.raises((problems.PictureAnimated, problems.UploadHasForeignContent)):
        inspect_photo(buffer.getvalue())
    assert inspect_document(buffer.getvalue(), "image/jpeg") == "image/jpeg"


@pytest.mark.parametrize("save", [jpeg, png])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_photo_cut_short_is_unreadable(save, share: float):
    whole = save(portrait())
    with pytest.raises(problems.PictureUnreadable):
        inspect_photo(whole[: int(len(whole) * share)])


@pytest.mark.parametrize(
    "data",
    [b"GIF89a" + b"\0" * 40, b"BM" + b"\0" * 40, b"RIFF....WEBPVP8 ", b"hello", b"PK\x03\x04zip"],
)
def test_a_file_with_the_wrong_magic_is_refused(data: bytes):
    with pytest.raises(problems.UploadTypeUnknown):
        inspect_photo(data)
    with pytest.raises(problems.UploadTypeUnknown):
        inspect_document(data, "image/jpeg")


def test_empty_and_oversized_uploads_are_refused_before_decoding():
    with pytest.raises(problems.UploadEmpty):
        inspect_photo(b"")
    with pytest.raises(problems.UploadTooLarge):
        inspect_document(b"%PDF-" + b"\0" * 10_485_760, "application/pdf")


def test_a_decompression_bomb_is_refused_without_decoding_it():
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 100_000)
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body)
    with pytest.raises(problems.PictureTooManyPixels):
        inspect_photo(bomb + png_chunk(b"IEND", b""))
    header = struct.pack(">IIBBBBB", 8_000, 8_000, 1, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body)
    with pytest.raises(problems.PictureTooManyPixels):
        inspect_document(bomb + png_chunk(b"IEND", b""), "image/png")


def test_a_progressive_jpeg_is_accepted_unless_it_has_too_many_scans():
    data = jpeg(portrait(), progressive=True)
    assert inspect_photo(data).format_mm == (35, 49)
    last_scan = data.rindex(b"\xff\xda")
    with pytest.raises(problems.PictureUnreadable):
        inspect_photo(data[:-2] + data[last_scan:-2] * 200 + b"\xff\xd9")


@pytest.mark.parametrize(
    "tail", [b"<script>alert(1)</script>", b"PK\x03\x04rest", b"%PDF-1.7 more", b"MZ\x90"]
)
@pytest.mark.parametrize("save", [jpeg, png])
def test_a_photo_with_trailing_data_is_refused(save, tail: bytes):
    with pytest.raises(problems.UploadHasForeignContent):
        inspect_photo(save(portrait()) + tail)


def test_a_picture_that_also_opens_as_pdf_is_refused():
    disguised = jpeg(portrait(), comment=b"%PDF-1.7\n1 0 obj")
    with pytest.raises(problems.UploadHasForeignContent):
        inspect_photo(disguised)
    with pytest.raises(problems.UploadHasForeignContent):
        inspect_document(disguised, "image/jpeg")


def test_a_picture_that_also_opens_as_zip_is_refused():
    end_record = b"PK\x05\x06" + b"\0" * 18
    with pytest.raises(problems.UploadHasForeignContent):
        inspect_document(jpeg(portrait()) + end_record, "image/jpeg")


def test_data_that_a_phone_appends_to_a_scan_is_accepted():
    assert inspect_document(jpeg(portrait()) + b"SEFH\0\1SEFT", "image/jpeg") == "image/jpeg"


def test_a_photo_for_printing_has_no_metadata():
    image = upright_photo(jpeg(portrait(), exif=exif(orientation=3, taken="2026:05:04 00:00:00")))
    assert image.mode == "RGB"
    assert not image.info
    assert b"Exif" not in jpeg(image)


# --- documents ------------------------------------------------------------------------------------


def test_scans_are_recognised_by_their_bytes():
    assert inspect_document(jpeg(portrait()), "image/jpg") == "image/jpeg"
    assert inspect_document(png(portrait()), "IMAGE/PNG; q=1") == "image/png"


def test_a_declared_type_that_differs_from_the_bytes_is_refused_and_not_repeated():
    with pytest.raises(problems.UploadTypeDiffers) as caught:
        inspect_document(jpeg(portrait()), "application/x-王小明")
    assert "王小明" not in str(caught.value)
    with pytest.raises(problems.UploadTypeDiffers, match="application/pdf"):
        inspect_document(png(portrait()), "application/pdf")


def test_a_randomly_damaged_photo_is_accepted_or_refused_with_a_file_problem():
    chance, refused = random.Random(11), 0
    originals = [
        (jpeg(portrait((120, 168))), "image/jpeg"),
        (png(portrait((120, 168))), "image/png"),
    ]
    for _ in range(300):
        original, declared = chance.choice(originals)
        damaged = bytearray(original)
        for _ in range(chance.randrange(1, 12)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        for inspect in (partial(inspect_document, declared_media_type=declared), inspect_photo):
            try:
                inspect(bytes(damaged))
            except problems.FileProblem:
                refused += 1
    assert refused > 100


def test_no_content_of_a_file_is_logged(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING), pytest.raises(problems.FileProblem):
        inspect_document(jpeg(portrait())[:900], "image/jpeg")
    assert caplog.records == []


@pytest.mark.timeout(20)
def test_bytes_with_quadratic_parsing_cost_are_refused_quickly():
    for filler in (b"\xff", b"\xff\xe0\0\2", b"\xff\x00"):
        with pytest.raises(problems.PictureUnreadable):
            inspect_document(b"\xff\xd8\xff\xe0\0\2" + filler * 2_000_000, "image/jpeg")
