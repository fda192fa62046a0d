"""Validates and measures uploaded photos, scans and PDF files.

The name and the declared type of a file are not trusted; only its bytes count. Pictures are decoded
completely; PDF files are read far enough to know that they are complete, not encrypted, and free of
programs. An unacceptable file is refused here with an error. A valid file that breaks a rule (too
small, not white) is measured here and judged in `domain.documents.materials`, so that the candidate
gets every fault at once. File names are never logged.
Reading order: photos, documents, pictures, PDF.
Source: source-document 3.1(1)-(5).
"""

import hashlib
import io
import re
import zlib
from datetime import date, datetime
from typing import cast

from PIL import Image, ImageChops, ImageOps, ImageStat
from pydantic import BaseModel, ConfigDict, Field

from api.files.upload_errors import (
    FileProblem,
    PdfActive,
    PdfEncrypted,
    PdfMalformed,
    PictureAnimated,
    PictureNotRgb,
    PictureTooManyPixels,
    PictureTransparent,
    PictureUnreadable,
    UploadEmpty,
    UploadHasForeignContent,
    UploadTooLarge,
    UploadTypeDiffers,
    UploadTypeUnknown,
)
from domain.documents.materials import FILE_BYTES_MAX, Background, PhotoFact, two_inch_format_mm
from domain.values.primitives import Sha256Hex

PIXELS_MAX = 40_000_000
"""An A4 page at 600 dots per inch has 35 million; 40 million decode to 160 MB at most."""
JPEG_SCANS_MAX = 100
"""A progressive picture has about 10 scans; thousands exhaust the processor."""
PDF_STREAMS_MAX = 50_000
PDF_INFLATED_BYTES_MAX = 50_000_000

# A pixel is near white when its darkest channel is at least 225 and its channels differ by at
# most 25; light when it is at least 190. 95 % of the sampled border must be near white, and the
# mean luminance of its five cells may differ by 12 of 255: beyond that there is a shadow.
WHITE_MIN, LIGHT_MIN, TINT_MAX, NEAR_WHITE_SHARE, SPREAD_MAX = 225, 190, 25, 0.95, 12
# Skin alone colours more than 5 % of a portrait; JPEG noise in grey stays below a tint of 24.
COLOUR_TINT_MIN, COLOUR_SHARE_MIN = 24, 0.01


class PhotoFacts(BaseModel):
    """Measurements of an uploaded photo (证件照), turned upright by its EXIF orientation."""

    model_config = ConfigDict(frozen=True)

    sha256: Sha256Hex
    size_bytes: int = Field(ge=1)
    media_type: str = Field(description="image/jpeg or image/png, by magic")
    width_px: int
    height_px: int
    format_mm: tuple[int, int] | None = Field(description="(35, 49), (35, 53) or no 2-inch")
    background: Background
    in_colour: bool
    taken_on: date | None = Field(description="EXIF DateTimeOriginal; None when absent")

    def fact(self, taken_on: date | None = None) -> PhotoFact:
        """The value that the rules judge. taken_on: stated day, used if EXIF has none."""
        return PhotoFact(
            width_px=self.width_px,
            height_px=self.height_px,
            background=self.background,
            in_colour=self.in_colour,
            taken_on=self.taken_on or taken_on,
        )


def inspect_photo(data: bytes) -> PhotoFacts:
    """Decode and measure a photo (2寸白底彩色证件照).

    data: the whole file, at most FILE_BYTES_MAX; the 50 KB rule is judged in the domain.
    Raises: UploadEmpty, UploadTooLarge, UploadTypeUnknown (also for PDF),
        UploadHasForeignContent, PictureUnreadable, PictureTooManyPixels, PictureAnimated,
        PictureNotRgb, PictureTransparent.
    Source: source-document 3.1(4).
    """
    media_type = _media_type(data)
    if media_type == "application/pdf":
        raise UploadTypeUnknown()
    image, taken_on = _portrait(data, media_type)
    return PhotoFacts(
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        media_type=media_type,
        width_px=image.width,
        height_px=image.height,
        format_mm=two_inch_format_mm(image.width, image.height),
        background=_background(image),
        in_colour=_is_in_colour(image),
        taken_on=taken_on,
    )


def upright_photo(data: bytes) -> Image.Image:
    """The decoded photo in RGB, upright, without its metadata; for printing.

    Raises: as inspect_photo.
    """
    media_type = _media_type(data)
    if media_type == "application/pdf":
        raise UploadTypeUnknown()
    return _portrait(data, media_type)[0]


def inspect_document(data: bytes, declared_media_type: str) -> str:
    """The media type of an uploaded document by its bytes: PDF, JPEG or PNG.

    declared_media_type: what the sender says; parameters and case are ignored.
    Raises: UploadEmpty, UploadTooLarge, UploadTypeUnknown, UploadTypeDiffers,
        UploadHasForeignContent, PictureUnreadable, PictureTooManyPixels, PictureAnimated,
        PdfMalformed, PdfEncrypted, PdfActive.
    Source: source-document 3.1(1)-(5).
    """
    found = _media_type(data)
    declared = declared_media_type.partition(";")[0].strip().lower()
    if declared == "image/jpg":  # not a registered type, but what many browsers send
        declared = "image/jpeg"
    if declared != found:
        # Only known types are repeated: arbitrary text of a client must not enter the logs.
        known = declared if declared in _MAGIC.values() else "（其他）"
        raise UploadTypeDiffers(found=found, declared=known)
    if found == "application/pdf":
        _check_pdf(data)
    else:
        _check_picture_bytes(data, found, trailing_allowed=True)
        _decode(data)
    return found


_MAGIC = {
    b"%PDF-": "application/pdf",
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
}


def _media_type(data: bytes) -> str:
    """The type by magic. Raises: UploadEmpty, UploadTooLarge, UploadTypeUnknown."""
    if not data:
        raise UploadEmpty()
    if len(data) > FILE_BYTES_MAX:
        raise UploadTooLarge(size_bytes=len(data), limit_bytes=FILE_BYTES_MAX)
    for magic, media_type in _MAGIC.items():
        if data.startswith(magic):
            return media_type
    raise UploadTypeUnknown()


def _decode(data: bytes) -> Image.Image:
    """Every pixel of a picture; at most PIXELS_MAX of them.

    Raises: PictureTooManyPixels, PictureAnimated, PictureUnreadable.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        if image.width * image.height > PIXELS_MAX:
            raise PictureTooManyPixels(limit_px=PIXELS_MAX)
        # Phones store depth maps as further pictures of a JPEG; only the first one is read.
        if image.format == "PNG" and getattr(image, "is_animated", False):
            raise PictureAnimated()
        image.load()
    except FileProblem:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureTooManyPixels(limit_px=PIXELS_MAX) from None
    except Exception:  # a damaged file can make decoders raise anything
        raise PictureUnreadable() from None
    return image


def _portrait(data: bytes, media_type: str) -> tuple[Image.Image, date | None]:
    """An upright RGB picture and the day it was taken. Raises: see inspect_photo."""
    _check_picture_bytes(data, media_type, trailing_allowed=False)
    image = _decode(data)
    if getattr(image, "n_frames", 1) > 1:
        raise PictureAnimated()
    if image.mode in ("CMYK", "YCCK"):
        raise PictureNotRgb(mode="CMYK")
    if image.has_transparency_data:
        # One (min, max) for each of the four bands.
        bands = cast("tuple[tuple[int, int], ...]", image.convert("RGBA").getextrema())
        if bands[3][0] < 255:
            raise PictureTransparent()
    taken_on = _taken_on(image)
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF: the pixels are valid and stay as they are
        image.getexif().clear()
    if image.mode.startswith("I"):  # 16-bit grey, 0..65535; convert() would clip all to white
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    image = image.convert("RGB")
    image.info.clear()
    return image, taken_on


def _taken_on(image: Image.Image) -> date | None:
    """The day of EXIF DateTimeOriginal, in the camera's time zone; None if unusable."""
    try:
        text = image.getexif().get_ifd(0x8769).get(0x9003)
        return datetime.strptime(str(text)[:19], "%Y:%m:%d %H:%M:%S").date()
    except Exception:  # absent, all zeros, or damaged: the candidate states the day instead
        return None


def _channel_bounds(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Per pixel: the darkest channel, and how far the channels differ (the tint)."""
    red, green, blue = image.split()
    darkest = ImageChops.darker(red, ImageChops.darker(green, blue))
    brightest = ImageChops.lighter(red, ImageChops.lighter(green, blue))
    return darkest, ImageChops.subtract(brightest, darkest)


def _is_in_colour(image: Image.Image) -> bool:
    """彩色: at least COLOUR_SHARE_MIN of the pixels are tinted, after averaging out noise."""
    small = image.resize((105, 147), Image.Resampling.BOX)
    counts = _channel_bounds(small)[1].histogram()
    return sum(counts[COLOUR_TINT_MIN:]) >= COLOUR_SHARE_MIN * sum(counts)


def _background(image: Image.Image) -> Background:
    """白底: judged on the top 6 % and on the outer 6 % at both sides down to 40 % of the height.

    A head does not reach the top, and shoulders begin below 40 %, so these five cells (top left,
    middle, right, left side, right side) show nothing but background.
    """
    width, height = 210, 294
    small = image.resize((width, height), Image.Resampling.BOX)
    top, side, low = round(height * 0.06), round(width * 0.06), round(height * 0.40)
    third = width // 3
    boxes = [(start, 0, start + third, top) for start in (0, third, 2 * third)]
    boxes += [(0, top, side, low), (width - side, top, width, low)]
    means, white, light, pixels = [], 0, 0, 0
    for box in boxes:
        cell = small.crop(box)
        darkest, tint = _channel_bounds(cell)
        plain = tint.point(lambda value: 255 if value <= TINT_MAX else 0)
        counts = ImageChops.darker(darkest, plain).histogram()
        white += sum(counts[WHITE_MIN:])
        light += sum(counts[LIGHT_MIN:])
        pixels += cell.width * cell.height
        means.append(ImageStat.Stat(cell.convert("L")).mean[0])
    even = max(means) - min(means) <= SPREAD_MAX
    if white >= NEAR_WHITE_SHARE * pixels and even:
        return Background.WHITE
    if light >= NEAR_WHITE_SHARE * pixels and not even:
        return Background.UNEVEN
    return Background.NOT_WHITE


_FOREIGN = re.compile(rb"%PDF-|PK\x03\x04|\x7fELF|<html|<script|<\?php|<svg|Rar!", re.IGNORECASE)


def _check_picture_bytes(data: bytes, media_type: str, *, trailing_allowed: bool) -> None:
    """Refuse a picture with a second format in its first 1,024 bytes or after its end.

    trailing_allowed: accept other trailing data, which phones append to photos.
    Raises: UploadHasForeignContent, PictureUnreadable.
    """
    end = _jpeg_end(data) if media_type == "image/jpeg" else _png_end(data)
    tail = data[end:]
    # PDF readers search the first 1,024 bytes for their header, ZIP readers the end of the file.
    if b"%PDF-" in data[:1024] or _ends_as_zip(data) or _FOREIGN.search(tail):
        raise UploadHasForeignContent()
    if tail.strip(b"\x00\r\n\t ") and not trailing_allowed:
        raise UploadHasForeignContent()


def _ends_as_zip(data: bytes) -> bool:
    """Whether a ZIP reader would find its end record: its comment must reach the last byte."""
    at = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if at < 0 or at + 22 > len(data):
        return False
    return at + 22 + int.from_bytes(data[at + 20 : at + 22], "little") <= len(data)


def _png_end(data: bytes) -> int:
    """Where the IEND chunk ends. Raises: PictureUnreadable."""
    at = 8
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND" and at <= len(data):
            return at
    raise PictureUnreadable()


# Fill bytes (FF FF …) need no pattern of their own; a repetition here would take quadratic time.
_NEXT_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)


def _jpeg_end(data: bytes) -> int:
    """Where the end-of-image marker ends. Raises: PictureUnreadable, also for too many scans."""
    at, scans = 2, 0
    while (found := _NEXT_MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == 0xD9:
            return at
        scans += marker == 0xDA
        if scans > JPEG_SCANS_MAX:
            raise PictureUnreadable()
        at += int.from_bytes(data[at : at + 2], "big")
    raise PictureUnreadable()


_PDF_ACTIVE = re.compile(
    rb"/(?:JavaScript|Launch|EmbeddedFiles?|RichMedia|XFA|SubmitForm|ImportData|GoToE|Movie)"
    rb"(?=[\s()<>\[\]{}/%]|$)"
)
_PDF_XREF = re.compile(rb"\s*(?:xref\s|\d+\s+\d+\s+obj\b)")
_PDF_STREAM = re.compile(rb"\bstream(?:\r\n|\n|\r)")
_PDF_OTHER_FILTER = re.compile(
    rb"/(?:ASCII|AHx|A85|LZW|RunLength|RL\b|Crypt|F\b)|/Predictor\s+(?:[2-9]|1\d)"
)


def _check_pdf(data: bytes) -> None:
    """Refuse a PDF that is incomplete, encrypted, or holds programs or attachments.

    Scripts may hide in compressed object streams and in names spelt with #xx; both are decoded
    before the search. Raises: PdfMalformed, PdfEncrypted, PdfActive,
    UploadHasForeignContent.
    """
    if _ends_as_zip(data):
        raise UploadHasForeignContent()
    trailer = re.search(rb"startxref\s+(\d{1,8})\s+%%EOF\s*\Z", data[-1024:])
    version = re.match(rb"%PDF-[12]\.\d", data)
    if not (version and trailer and _PDF_XREF.match(data, int(trailer[1]))):
        raise PdfMalformed()
    names = _plain_names(data)
    if re.search(rb"/Encrypt(?=[\s<(/]|$)", names):
        raise PdfEncrypted()
    if not re.search(rb"/Root\s+\d+\s+\d+\s+R", names):
        raise PdfMalformed()
    if _PDF_ACTIVE.search(names) or any(
        _PDF_ACTIVE.search(_plain_names(objects)) for objects in _object_streams(data)
    ):
        raise PdfActive()


def _plain_names(data: bytes) -> bytes:
    """The same bytes with #xx in names decoded."""
    return re.sub(rb"#([0-9A-Fa-f]{2})", lambda found: bytes.fromhex(found[1].decode()), data)


def _object_streams(data: bytes) -> list[bytes]:
    """The inflated object streams (/ObjStm), which hold further objects.

    Raises: PdfMalformed if one can't be inflated within the limits.
    """
    found, begun, left = [], 0, PDF_INFLATED_BYTES_MAX
    for count, start in enumerate(_PDF_STREAM.finditer(data)):
        if count > PDF_STREAMS_MAX:
            raise PdfMalformed()
        # Everything since the last stream: wider than the dictionary, so nothing is missed.
        head, begun = _plain_names(data[begun : start.start()]), start.end()
        if b"/ObjStm" not in head or b"/Filter" not in head:
            continue  # an unfiltered one is searched with the rest of the file
        inflater = zlib.decompressobj()
        try:
            end = data.find(b"endstream", begun)
            found.append(inflater.decompress(data[begun : max(end, begun)], left))
        except zlib.error:
            raise PdfMalformed() from None
        left -= len(found[-1])
        if not inflater.eof or left <= 0 or _PDF_OTHER_FILTER.search(head):
            raise PdfMalformed()
    return found
