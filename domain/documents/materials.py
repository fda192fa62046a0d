"""Application documents (报名资料) and their rules.

Nothing here opens a file: `api.files.upload_inspection` measures the bytes, and this module checks
the measures. A check returns every fault at once, because a candidate who corrects one fault only
to learn of the next gives up. Each fault has its own class and code. Texts are Chinese, because
candidates read them, and never contain a name or a document number.
Reading order: the kinds, what a file is, what is required, the photo, one file.
Source: source-document 3.1(1)-(5), 3.2(3).
"""

import unicodedata
from calendar import monthrange
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.documents.document_rules import FILE_BYTES_MAX as FILE_BYTES_MAX
from domain.documents.document_rules import DocumentRules
from domain.documents.errors import (
    DocumentProblem,
    FileEmpty,
    FileTooLarge,
    MediaTypeNotAllowed,
    MissingMaterial,
    PhotoBackgroundNotWhite,
    PhotoBackgroundUneven,
    PhotoDateUnknown,
    PhotoExtensionNotAllowed,
    PhotoNameMalformed,
    PhotoNameNumberDiffers,
    PhotoNamePersonDiffers,
    PhotoNotInColour,
    PhotoNotTwoInch,
    PhotoTakenLater,
    PhotoTooFewPixels,
    PhotoTooLarge,
    PhotoTooManyPixels,
    PhotoTooOld,
    UnknownMaterialKey,
)
from domain.documents.kinds import MaterialKind as MaterialKind
from domain.values.primitives import Sha256Hex
from domain.values.sealed_fields import DataClass

TWO_INCH_FORMATS_MM = ((35, 49), (35, 53))
"""Formats sold as 2-inch photos (小2寸 35x49, 大2寸 35x53), width x height."""
RATIO_TOLERANCE = 0.02
"""Relative tolerance of width/height: cropping to whole pixels needs 0.4 %, cropping by hand about
2 %. The formats differ by 8 %, so no picture matches both."""
PHOTO_WIDTH_PX_MIN = 276
"""35 mm at 200 dots per inch; with fewer, a printed face is coarse."""
PHOTO_WIDTH_PX_MAX = 1_654
"""35 mm at 1,200 dots per inch; print needs no more, and decoding stays cheap."""


PHOTO_EXTENSIONS = ("jpg", "jpeg", "png")


class Background(StrEnum):
    """Classification of a photo's background (白底)."""

    WHITE = "white"
    UNEVEN = "uneven"  # light, but shaded from one part to another
    NOT_WHITE = "not_white"


def data_class_of(kind: MaterialKind) -> DataClass:
    """Under which of the applicant's keys a file lies: the photo goes with the certificate."""
    return DataClass.CERTIFICATE if kind is MaterialKind.PHOTO else DataClass.STATEMENTS


class PhotoFact(BaseModel):
    """Measures of a photo, turned upright. Source: source-document 3.1(4)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width_px: int = Field(strict=True, ge=1, le=100_000, description="pixels, upright")
    height_px: int = Field(strict=True, ge=1, le=100_000, description="pixels, upright")
    background: Background
    in_colour: bool = Field(strict=True, description="彩色: False for a grey-scale picture")
    taken_on: date | None = Field(default=None, description="拍摄日期, China; None = not known")


class MaterialFact(BaseModel):
    """One submitted file: its digest and measures, never its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: MaterialKind
    sha256: Sha256Hex
    size_bytes: int = Field(strict=True, ge=0, description="bytes")
    media_type: str = Field(min_length=1, max_length=100, description="as found by its magic")
    photo: PhotoFact | None = Field(default=None, description="present exactly for a photo")

    @model_validator(mode="after")
    def _only_a_photo_is_measured(self) -> Self:
        if (self.photo is not None) != (self.kind is MaterialKind.PHOTO):
            raise ValueError("photo measures belong to a photo, and a photo has them")
        return self


ALWAYS_REQUIRED = (MaterialKind.IDENTITY_PROOF, MaterialKind.PHOTO)
"""Required for every alternative; the others follow from the alternative that was met. Clause
3.1(2) names no school below 技工院校/中职, so a candidate who qualifies by years of work alone
has no school certificate and is not asked for one."""

_KIND_OF_KEY = {
    "identity_document": MaterialKind.IDENTITY_PROOF,
    "graduation_certificate": MaterialKind.EDUCATION_CERTIFICATE,
    "enrolment_certificate": MaterialKind.ENROLMENT_PROOF,
    "work_experience": MaterialKind.WORK_HISTORY,
    # 学徒期满证明 is one of the 相关证明材料 of 3.1(3); 职称证书 belongs to those of 3.1(5).
    "apprenticeship_certificate": MaterialKind.WORK_HISTORY,
    "title_certificate": MaterialKind.SKILL_CERTIFICATE,
    "skill_certificate": MaterialKind.SKILL_CERTIFICATE,
    "training_certificate": MaterialKind.TRAINING_CERTIFICATE,
}


def required_materials(keys: Iterable[str]) -> tuple[MaterialKind, ...]:
    """Which documents must be present (必交材料) for the eligibility alternative that was met.

    keys: the alternative's material keys, as the keys of `_KIND_OF_KEY` or MaterialKind values;
        repeats are harmless.
    Returns: each kind once, in the order of MaterialKind, with ALWAYS_REQUIRED.
    Raises: UnknownMaterialKey.
    Source: source-document 3.1(1)-(5), 1.2(1)-(4).
    """
    return _required(tuple(keys))


@lru_cache(maxsize=256)
def _required(keys: tuple[str, ...]) -> tuple[MaterialKind, ...]:
    wanted = set(ALWAYS_REQUIRED)
    for key in keys:
        if key in _KIND_OF_KEY:
            wanted.add(_KIND_OF_KEY[key])
        elif key in set(MaterialKind):
            wanted.add(MaterialKind(key))
        else:
            raise UnknownMaterialKey(key=key)
    return tuple(kind for kind in MaterialKind if kind in wanted)


def check_completeness(
    submitted: Iterable[MaterialFact | MaterialKind], required: Iterable[MaterialKind]
) -> list[MissingMaterial]:
    """Which required documents are missing (缺少的材料); empty when the set is complete.

    A 毕业证书 satisfies a required 学籍证明 (the student has graduated since), but a 学籍证明
    never satisfies a 毕业证书.
    Source: source-document 3.1(2).
    """
    present = {item.kind if isinstance(item, MaterialFact) else item for item in submitted}
    if MaterialKind.EDUCATION_CERTIFICATE in present:
        present.add(MaterialKind.ENROLMENT_PROOF)
    wanted = set(required)
    return [
        MissingMaterial(kind=kind, label=kind.chinese_name)
        for kind in MaterialKind
        if kind in wanted and kind not in present
    ]


def earliest_photo_day(submitted_on: date, rules: DocumentRules) -> date:
    """The first day on which a photo may have been taken: by rule the same day six months before.

    rules: the edition that holds; it has the number of months.
    If that month is shorter, its last day, in the candidate's favour: a photo of 2026-02-28 is
    accepted on 2026-08-28 and up to 2026-08-31.
    Source: source-document 3.1(4).
    """
    age_months = rules.photo_age_months_max
    months = submitted_on.year * 12 + submitted_on.month - 1 - age_months
    year, month = divmod(months, 12)
    return date(year, month + 1, min(submitted_on.day, monthrange(year, month + 1)[1]))


def two_inch_format_mm(width_px: int, height_px: int) -> tuple[int, int] | None:
    """The 2-inch format (2寸) in mm that matches a picture's proportions; None if neither does."""
    for width_mm, height_mm in TWO_INCH_FORMATS_MM:
        if abs(width_px * height_mm / (height_px * width_mm) - 1) <= RATIO_TOLERANCE:
            return width_mm, height_mm
    return None


def check_photo_name(file_name: str, *, name: str, number: str) -> list[DocumentProblem]:
    """Whether a photo is named 姓名_证件号 after the person (文件名).

    file_name: with its extension, without a folder; compared in NFKC, number and
        extension case-insensitively (a check digit x is X). No other difference is tolerated.
    name, number: as in the application.
    Returns: every fault; the texts contain neither name nor number.
    Source: source-document 3.1(4).
    """
    problems: list[DocumentProblem] = []
    stem, _, extension = unicodedata.normalize("NFKC", file_name).rpartition(".")
    if extension.lower() not in PHOTO_EXTENSIONS:
        problems.append(PhotoExtensionNotAllowed())
    # Split at the last underscore: a name may contain one, a document number may not.
    given_name, underscore, given_number = stem.rpartition("_")
    if not (underscore and given_name and given_number):
        return [PhotoNameMalformed(), *problems]
    if _spelled(given_name) != _spelled(name):
        problems.append(PhotoNamePersonDiffers())
    if given_number.upper() != unicodedata.normalize("NFKC", number).upper():
        problems.append(PhotoNameNumberDiffers())
    return problems


_DOTS = str.maketrans(dict.fromkeys("•・∙⋅‧", "·"))


def _spelled(name: str) -> str:
    """A name with uniform width, case and middle dots, otherwise unchanged."""
    return unicodedata.normalize("NFKC", name).translate(_DOTS).upper()


def check_photo(
    photo: PhotoFact, *, submitted_on: date, rules: DocumentRules
) -> list[DocumentProblem]:
    """Every fault of a photo's measures: 近半年内, 2寸, 白底, 彩色.

    submitted_on: day of submission in China (UTC+8). rules: the edition that holds.
    Source: source-document 3.1(4).
    """
    problems: list[DocumentProblem] = []
    width, height = photo.width_px, photo.height_px
    if two_inch_format_mm(width, height) is None:
        problems.append(PhotoNotTwoInch(width_px=width, height_px=height))
    if width < PHOTO_WIDTH_PX_MIN:
        problems.append(PhotoTooFewPixels(width_px=width, limit_px=PHOTO_WIDTH_PX_MIN))
    if width > PHOTO_WIDTH_PX_MAX:
        problems.append(PhotoTooManyPixels(width_px=width, limit_px=PHOTO_WIDTH_PX_MAX))
    if photo.background is Background.NOT_WHITE:
        problems.append(PhotoBackgroundNotWhite())
    if photo.background is Background.UNEVEN:
        problems.append(PhotoBackgroundUneven())
    if not photo.in_colour:
        problems.append(PhotoNotInColour())
    earliest = earliest_photo_day(submitted_on, rules)
    if photo.taken_on is None:
        problems.append(PhotoDateUnknown())
    elif photo.taken_on < earliest:
        problems.append(PhotoTooOld(taken_on=photo.taken_on, earliest=earliest))
    elif photo.taken_on > submitted_on:
        problems.append(PhotoTakenLater(taken_on=photo.taken_on, submitted_on=submitted_on))
    return problems


def check_material(material: MaterialFact, rules: DocumentRules) -> list[DocumentProblem]:
    """Every fault of one file's type and size (格式, 大小).

    rules: the edition that holds. Source: source-document 3.1(4).
    """
    problems: list[DocumentProblem] = []
    label, size = material.kind.chinese_name, material.size_bytes
    rule = rules.material(material.kind)
    if material.media_type not in rule.media_types:
        problems.append(
            MediaTypeNotAllowed(
                label=label, media_type=material.media_type, allowed="、".join(rule.media_types)
            )
        )
    if size == 0:
        problems.append(FileEmpty(label=label))
    if size > rule.bytes_max:
        if material.kind is MaterialKind.PHOTO:
            problems.append(PhotoTooLarge(size_bytes=size, limit_bytes=rule.bytes_max))
        else:
            problems.append(FileTooLarge(label=label, size_bytes=size, limit_bytes=rule.bytes_max))
    return problems
