"""Certificate numbers: the national one, that of our second certificate, and older kinds.

The national number has no check digit (all 22 places are used), so a typo yields another
well-formed number: a lookup must always match a second factor, and a link must carry its own
proof. The OMC number is ours and has a check character.
Reading order: classify_number, NationalNumber, format_national, OmcNumber.
"""

import re
import unicodedata
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from stdnum.iso7064 import mod_37_36

from domain.errors import LedgerError
from domain.values.primitives import Level
from domain.values.provinces import provinces

SERIAL_MAX = 999_999
OMC_SERIAL_MAX = 9_999_999
# The national rule writes two digits for the year and dates from 2018-2019.
_CENTURY = 2000

_SITE = re.compile(r"[SY][0-9]{12}")
_NATIONAL = re.compile(r"([SY])([0-9]{4})([0-9]{2})([0-9]{6})([0-9]{2})([1-5A-Z])([0-9]{6})")
_SENIOR = re.compile(r"[A-Z]{2}[0-9]{20}")
_OBSOLETE_DRAFT = re.compile(r"R[GSCX][NW][0-9]{17}")
_QUALIFICATION = re.compile(r"[0-9]{16}")
_QUALIFICATION_SHANGHAI = re.compile(r"[0-9]{13}")
_OMC = re.compile(r"OMC([0-9]{4})([1-5])([0-9]{7})([0-9A-Z])")
_OMC_SHAPE = re.compile(r"OMC[0-9A-Z]*")


class NumberKind(StrEnum):
    """Kind of a certificate number by its shape alone, before any lookup."""

    NATIONAL = "national"  # 职业技能等级证书, 22 characters
    NATIONAL_SENIOR = "national_senior"  # 特级技师, 2 letters + 20 digits, rule of its own
    OMC = "omc"  # 巨量认证(OMC)证书, our own number space
    QUALIFICATION = "qualification"  # 职业资格证书, 16 digits, the system before this one
    QUALIFICATION_SHANGHAI = (
        "qualification_shanghai"  # its 13-digit form, otherwise padded with 000
    )
    OBSOLETE_DRAFT = "obsolete_draft"  # 20 characters, a draft that never came into force
    UNKNOWN = "unknown"


class InvalidCertificateNumber(LedgerError):
    """This is not a certificate number of the kind asked for: {reason}."""

    code = "invalid_certificate_number"


class ObsoleteDraftNumber(InvalidCertificateNumber):
    """This 20-character number follows a draft rule that never came into force: {reason}."""

    code = "obsolete_draft_number"


class OldQualificationNumber(InvalidCertificateNumber):
    """This is a number of the older 职业资格证书, kept in another registry: {reason}."""

    code = "old_qualification_number"


class SerialExhausted(LedgerError):
    """Every serial number of {scope} is used; the last one is {serial_max}."""

    code = "serial_exhausted"


def normalise_number(text: str) -> str:
    """The form in which certificate numbers are compared.

    Full-width becomes half-width, letters upper-case; spaces, hyphens and invisible characters
    are removed. Nothing else is corrected: reading an O as a 0 could yield another person's number.
    """
    if text.isascii():  # fast path: NFKC changes nothing, and there is one kind of hyphen
        return "".join(text.upper().replace("-", "").split())
    half_width = unicodedata.normalize("NFKC", text).upper()
    return "".join(
        character
        for character in half_width
        if not character.isspace() and unicodedata.category(character) not in ("Cf", "Pd")
    )


_SHAPES = (
    (_OMC, NumberKind.OMC),
    (_NATIONAL, NumberKind.NATIONAL),
    (_SENIOR, NumberKind.NATIONAL_SENIOR),
    (_OBSOLETE_DRAFT, NumberKind.OBSOLETE_DRAFT),
    (_QUALIFICATION, NumberKind.QUALIFICATION),
    (_QUALIFICATION_SHANGHAI, NumberKind.QUALIFICATION_SHANGHAI),
)


def classify_number(text: str) -> NumberKind:
    """The kind of a number, by shape alone; the shapes never overlap."""
    number = normalise_number(text)
    for shape, kind in _SHAPES:
        if shape.fullmatch(number):
            return kind
    return NumberKind.UNKNOWN


class NationalNumber(BaseModel):
    """Number of a 职业技能等级证书: 22 characters in seven parts, no check digit.

    category: S 社会培训评价组织 or Y 用人单位 (评价机构类别).
    organisation: 4 digits (评价机构代码); 0000 when first filed with a province.
    province: 2 digits (所在地省级代码). site: 6 digits (机构序列码), assigned by the province.
    year: year of issue (核发年份), 2000..2099; the number contains its last two digits.
    level: "1".."5" (等级); a letter occurs on old or special numbers and is never issued.
    serial: 1..999999 (证书序列码), per site, year and level.
    Source: source-document 5.3
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    category: Literal["S", "Y"]
    organisation: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")]
    province: Annotated[str, StringConstraints(pattern=r"^[0-9]{2}$")]
    site: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
    year: Annotated[int, Field(strict=True, ge=2000, le=2099)]
    level: Annotated[str, StringConstraints(pattern=r"^[1-5A-Z]$")]
    serial: Annotated[int, Field(strict=True, ge=1, le=SERIAL_MAX)]

    @classmethod
    def parse(cls, text: str) -> "NationalNumber":
        """Parse a number for a lookup: lenient about typing, strict about shape.

        Raises: ObsoleteDraftNumber, OldQualificationNumber for numbers of those kinds;
            InvalidCertificateNumber otherwise. Precedence: kind, shape, province, serial.
        """
        kind = classify_number(text)
        if kind is NumberKind.OBSOLETE_DRAFT:
            raise ObsoleteDraftNumber(reason="obsolete_draft")
        if kind in (NumberKind.QUALIFICATION, NumberKind.QUALIFICATION_SHANGHAI):
            raise OldQualificationNumber(reason=str(kind))
        match = _NATIONAL.fullmatch(normalise_number(text))
        if match is None:
            # A recognised kind is a more precise reason than "wrong_shape".
            is_recognised = kind is not NumberKind.UNKNOWN
            raise InvalidCertificateNumber(reason=str(kind) if is_recognised else "wrong_shape")
        _, organisation, province, site, year, level, serial = match.groups()
        _require_province(province)
        if int(serial) == 0:
            raise InvalidCertificateNumber(reason="serial_zero")
        return cls(
            category=_category(match[1]),
            organisation=organisation,
            province=province,
            site=site,
            year=_CENTURY + int(year),
            level=level,
            serial=int(serial),
        )

    @property
    def site_code(self) -> str:
        """The first 13 characters (机构(站点)编码), the same on every certificate of a site."""
        return f"{self.category}{self.organisation}{self.province}{self.site}"

    @property
    def grade(self) -> Level | None:
        """The level; None if the number has a letter instead."""
        return Level(int(self.level)) if self.level.isdigit() else None

    def __str__(self) -> str:
        return f"{self.site_code}{self.year % 100:02d}{self.level}{self.serial:06d}"


def format_national(site_code: str, year: int, level: int, serial: int) -> NationalNumber:
    """Format a new national number from the site code and an allocated serial.

    site_code: 13 characters, S or Y then 12 digits, province known.
    year: year of issue, 2000..2099. level: 1..5 only. serial: 1..999999, unused in its scope.
    Raises: SerialExhausted past 999999 (the serial would overflow into the level);
        InvalidCertificateNumber for any other part out of range.
    Source: source-document 5.3
    """
    _require_site_code(site_code)
    _require_province(site_code[5:7])
    grade, year = _issued_level(level), _issued_year(year)
    _require_serial(serial, SERIAL_MAX, f"{site_code}, {year}, level {int(grade)}")
    return NationalNumber(
        category=_category(site_code),
        organisation=site_code[1:5],
        province=site_code[5:7],
        site=site_code[7:13],
        year=year,
        level=str(int(grade)),
        serial=serial,
    )


class OmcNumber(BaseModel):
    """Number of our second certificate (巨量认证(OMC)证书), never in the national registry.

    Written `OMC-<year>-<level>-<serial>-<check>`, such as OMC-2026-4-0000001-H, where the check
    character is ISO 7064 MOD 37,36 over everything before it: it detects every single wrong
    character and about 199 of 200 transpositions of neighbours. The number starts with OMC and
    has 16 characters without hyphens, so no shape of a national number matches it.
    year: 2000..2099. level: 1..5. serial: 1..9999999, per year and level.
    Source: source-document 0.3, 5.2
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    year: Annotated[int, Field(strict=True, ge=2000, le=2099)]
    level: Level
    serial: Annotated[int, Field(strict=True, ge=1, le=OMC_SERIAL_MAX)]

    @classmethod
    def parse(cls, text: str) -> "OmcNumber":
        """Parse a number, with or without its hyphens.

        Raises: InvalidCertificateNumber. Precedence: kind, shape, check character, ranges.
        """
        number = normalise_number(text)
        match = _OMC.fullmatch(number)
        if match is None:
            kind = classify_number(text)
            is_other_kind = kind is not NumberKind.UNKNOWN and not _OMC_SHAPE.fullmatch(number)
            raise InvalidCertificateNumber(reason=str(kind) if is_other_kind else "wrong_shape")
        if not mod_37_36.is_valid(number):
            raise InvalidCertificateNumber(reason="wrong_check_character")
        year, serial = int(match[1]), int(match[3])
        if serial == 0:
            raise InvalidCertificateNumber(reason="serial_zero")
        return cls(year=_issued_year(year), level=Level(int(match[2])), serial=serial)

    @property
    def check(self) -> str:
        """The check character, one of 0-9 A-Z."""
        return mod_37_36.calc_check_digit(f"OMC{self.year}{int(self.level)}{self.serial:07d}")

    def __str__(self) -> str:
        return f"OMC-{self.year}-{int(self.level)}-{self.serial:07d}-{self.check}"


def format_omc(year: int, level: int, serial: int) -> OmcNumber:
    """Format a new number of the second certificate.

    year: 2000..2099. level: 1..5. serial: 1..9999999, unused for that year and level.
    Raises: SerialExhausted past 9999999; InvalidCertificateNumber for any other part.
    Source: source-document 5.2
    """
    grade, year = _issued_level(level), _issued_year(year)
    _require_serial(serial, OMC_SERIAL_MAX, f"OMC, {year}, level {int(grade)}")
    return OmcNumber(year=year, level=grade, serial=serial)


def _category(site_code: str) -> Literal["S", "Y"]:
    """The category of a well-formed site code or number: its first character."""
    return "S" if site_code.startswith("S") else "Y"


def _require_site_code(site_code: object) -> None:
    """Raises: InvalidCertificateNumber unless it is S or Y and 12 digits."""
    if not isinstance(site_code, str) or _SITE.fullmatch(site_code) is None:
        raise InvalidCertificateNumber(reason="site_code")


def _require_province(code: str) -> None:
    """Raises: InvalidCertificateNumber unless the code may appear in a certificate number."""
    province = provinces().get(code)
    if province is None or not province.certificate:
        raise InvalidCertificateNumber(reason="unknown_province")


def _issued_level(level: object) -> Level:
    """Raises: InvalidCertificateNumber unless 1..5; letters are parsed but never issued."""
    if isinstance(level, bool) or not isinstance(level, int) or not 1 <= level <= 5:
        raise InvalidCertificateNumber(reason="level")
    return Level(level)


def _issued_year(year: object) -> int:
    """Raises: InvalidCertificateNumber unless 2000..2099, so that two digits denote one year."""
    if isinstance(year, bool) or not isinstance(year, int) or not 2000 <= year <= 2099:
        raise InvalidCertificateNumber(reason="year")
    return year


def _require_serial(serial: object, serial_max: int, scope: str) -> None:
    """Raises: SerialExhausted above the last serial, InvalidCertificateNumber below the first."""
    if isinstance(serial, bool) or not isinstance(serial, int) or serial < 1:
        raise InvalidCertificateNumber(reason="serial")
    if serial > serial_max:
        raise SerialExhausted(scope=scope, serial_max=serial_max)
