"""Identity documents (身份证明文件): normalises, validates and masks their numbers.

Lenient about typing (full-width digits, spaces, a lower-case x), strict about content (check
digit, birth date). Counties are advisory: any county list is soon out of date, and refusing
330113 临平 would refuse real people.
Numbers and names are personal data: errors carry reasons, never the number itself.
Reading order: DocumentType, validate_document, mask_number; the rules by kind come last.
"""

import datetime as dt
import re
import unicodedata
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict
from stdnum.iso7064 import mod_11_2

from domain.errors import LedgerError
from domain.values.countries import COUNTRIES
from domain.values.person_names import InvalidName as InvalidName
from domain.values.person_names import mask_name as mask_name
from domain.values.person_names import normalise_name as normalise_name
from domain.values.provinces import provinces

EARLIEST_BIRTH = dt.date(1900, 1, 1)


class DocumentType(StrEnum):
    """Kinds of identity document a candidate may show. Source: source-document 3.1(1)"""

    RESIDENT_ID = "resident_id"  # 居民身份证, GB 11643
    HMT_RESIDENCE_PERMIT = "hmt_residence_permit"  # 港澳台居民居住证, 81/82/83
    FOREIGN_PERMANENT_RESIDENT_ID = "foreign_permanent_resident_id"  # 永居证, 2017 and 2023
    HOME_RETURN_PERMIT = "home_return_permit"  # 回乡证, 港澳居民来往内地通行证
    TAIWAN_PERMIT = "taiwan_permit"  # 台胞证, 台湾居民来往大陆通行证
    HONG_KONG_ID = "hong_kong_id"  # 香港居民身份证
    MACAO_ID = "macao_id"  # 澳门居民身份证
    TAIWAN_ID = "taiwan_id"  # 台湾地区身份证
    PASSPORT = "passport"  # 护照
    MILITARY_ID = "military_id"  # 军官证/士兵证
    HANGZHOU_SOCIAL_CARD = "hangzhou_social_card"  # 杭州市社保卡
    RESIDENCE_PERMIT = "residence_permit"  # 居住证


class Sex(StrEnum):
    """Sex (性别) as a document number encodes it."""

    MALE = "male"
    FEMALE = "female"


class Refusal(StrEnum):
    """Reasons to refuse a document number; stable words, in order of precedence."""

    LEGACY_FIFTEEN_DIGITS = "legacy_fifteen_digits"  # first-generation number, not for new people
    WRONG_SHAPE = "wrong_shape"
    BELONGS_TO_OTHER_TYPE = "belongs_to_other_type"  # valid number of another kind of document
    UNKNOWN_REGION = "unknown_region"
    WRONG_CHECK_CHARACTER = "wrong_check_character"
    IMPOSSIBLE_BIRTH_DATE = "impossible_birth_date"
    BIRTH_DATE_IN_FUTURE = "birth_date_in_future"
    COUNTRY_MISSING = "country_missing"  # a passport without the country that issued it
    COUNTRY_NOT_EXPECTED = "country_not_expected"  # only passports name one


class InvalidIdentityDocument(LedgerError):
    """The {document_type} number was refused: {reason}."""

    code = "invalid_identity_document"


class ReportCodeUnknown(LedgerError):
    """No edition of documents has the national reporting code of {document_type}."""

    code = "report_code_unknown"


class IdentityDocument(BaseModel):
    """A document number that passed every check of its kind.

    number: normalised. birth_date, sex: as the number encodes them, None where it does not.
    region: advisory; the region digits, or for permits and passports the issuing region.
    country: that issued a passport, ISO 3166 alpha-3; None for others, and where none was given.
    same_person_key: equal for two documents of one person (a renewed 回乡证, a social card
        with the citizen number); `<class of the number>:<compared part>`, personal data. The
        classes: `cn18` for every 18-character number, `passport`, and the document type.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    document_type: DocumentType
    number: str
    birth_date: dt.date | None = None
    sex: Sex | None = None
    region: str | None = None
    country: str | None = None
    same_person_key: str

    def __repr__(self) -> str:
        # Logs and tracebacks contain the repr; neither may contain the number.
        return f"IdentityDocument({self.document_type}, {self.masked})"

    __str__ = __repr__

    @property
    def masked(self) -> str:
        """The number as it may be published."""
        return mask_number(self.document_type, self.number)


def normalise(document_type: DocumentType, raw: str) -> str:
    """The form in which document numbers are compared, indexed and stored.

    Full-width becomes half-width (NFKC), letters upper-case; spaces and invisible characters are
    removed, as are hyphens, dots and brackets except in a 军官证 number, which is free text.
    Never raises: `validate_document` decides whether the result is a number.
    """
    if raw.isascii() and raw.isalnum():
        return raw.upper()  # fast path: already in normal form
    half_width = unicodedata.normalize("NFKC", raw).upper()
    characters = [c for c in half_width if not c.isspace() and unicodedata.category(c) != "Cf"]
    if document_type != DocumentType.MILITARY_ID:
        characters = [
            c for c in characters if unicodedata.category(c) != "Pd" and c not in "()[].·"
        ]
    # Removing a character can leave a letter next to its accent: compose it again.
    return unicodedata.normalize("NFKC", "".join(characters))


def validate_document(
    document_type: DocumentType,
    number: str,
    today: dt.date,
    *,
    country: str | None = None,
) -> IdentityDocument:
    """Validate a document number.

    number: as typed. today: date in Asia/Shanghai; upper limit of birth dates.
    country: ISO 3166 alpha-3 country that issued a passport, such as "CHN"; other kinds have
        none. Without it, equal passport numbers of two countries are one.
    Returns: the document with the details that its number encodes.
    Raises: InvalidIdentityDocument with document_type and reason (see Refusal).
    Source: source-document 3.1(1)
    """
    document_type = DocumentType(document_type)
    normal = normalise(document_type, number)
    details = _RULES[document_type](normal, today)
    if country is not None:
        details |= _issuer_details(document_type, normal, country)
    if "same_person_key" not in details:
        # One class for every 18-character number, whichever document shows it, and with whatever
        # hyphens: a 军官证 number may have some.
        plain = normal.replace("-", "")
        is_eighteen = _CITIZEN.fullmatch(plain) and mod_11_2.is_valid(plain)
        key = f"cn18:{plain}" if is_eighteen else f"{document_type}:{normal}"
        details["same_person_key"] = key
    return IdentityDocument(document_type=document_type, number=normal, **details)


def same_person_key(kind: DocumentType, number: str, country: str | None) -> str:
    """The `same_person_key` of a number that was validated when it was stored.

    A number that no rule accepts any more has a key of its own.
    """
    try:
        return validate_document(kind, number, dt.date.max, country=country).same_person_key
    except InvalidIdentityDocument:
        return f"{kind}:{number}"


def matches_legacy(number18: str, number15: str) -> bool:
    """Whether an old 15-digit number is the same citizen's as an 18-character one.

    Old certificates bear 15 digits: the same number without century and check character,
    assigned to people born 1900-1999. A wrong check character matches nothing.
    """
    long = normalise(DocumentType.RESIDENT_ID, number18)
    short = normalise(DocumentType.RESIDENT_ID, number15)
    if not _CITIZEN.fullmatch(long) or not _FIFTEEN_DIGITS.fullmatch(short):
        return False
    same = long[:6] + long[8:17] == short
    return same and long[6:8] == "19" and mod_11_2.is_valid(long)


def mask_number(document_type: DocumentType, number: str) -> str:
    """The published form of a document number: one fixed mask, the same on every page.

    First 3 + stars + last 2, one star a character; of 5 to 8 characters only the first and
    last; of fewer, none. The birth date is therefore always masked, and at least 3 characters
    are. One mask only: two different masks of a number could be combined.
    Source: source-document 5.1
    """
    text = normalise(document_type, number)
    head, tail = (3, 2) if len(text) >= 9 else (1, 1) if len(text) >= 5 else (0, 0)
    return text[:head] + "*" * (len(text) - head - tail) + text[len(text) - tail :]


# One rule per kind of document: it takes the normalised number and today, and returns the details
# that the number encodes.

_CITIZEN = re.compile(r"[0-9]{17}[0-9X]")
_FIFTEEN_DIGITS = re.compile(r"[0-9]{15}")
_PERMANENT_2017 = re.compile(r"[A-Z]{3}[0-9]{12}")
_HMT_PREFIXES = ("810000", "820000", "830000")
_CHINESE_PASSPORT = re.compile(r"E[0-9]{8}|E[A-HJ-NP-Z][0-9]{7}|[DGPS]E?[0-9]{7,8}|1[45][0-9]{7}")
# Each letter's two-digit number in a Taiwan identity number; the order is historical.
_TAIWAN_LETTERS = "ABCDEFGHJKLMNPQRSTUVXYWZIO"

_Rule = Callable[[str, dt.date], dict[str, Any]]


def _refuse(document_type: DocumentType, reason: Refusal) -> InvalidIdentityDocument:
    return InvalidIdentityDocument(document_type=document_type, reason=reason)


def _eighteen(document_type: DocumentType, number: str, today: dt.date) -> dict[str, Any]:
    """Details of the 18-character layout, after verifying check character and birth date."""
    if not mod_11_2.is_valid(number):
        raise _refuse(document_type, Refusal.WRONG_CHECK_CHARACTER)
    birth_date = _birth_date(document_type, number[6:14], today)
    return {
        "birth_date": birth_date,
        "sex": Sex.MALE if int(number[16]) % 2 else Sex.FEMALE,
        "region": number[:6],
    }


def _birth_date(document_type: DocumentType, yyyymmdd: str, today: dt.date) -> dt.date:
    try:
        born = dt.date(int(yyyymmdd[:4]), int(yyyymmdd[4:6]), int(yyyymmdd[6:]))
    except ValueError:
        raise _refuse(document_type, Refusal.IMPOSSIBLE_BIRTH_DATE) from None
    if born < EARLIEST_BIRTH:
        raise _refuse(document_type, Refusal.IMPOSSIBLE_BIRTH_DATE)
    if born > today:
        raise _refuse(document_type, Refusal.BIRTH_DATE_IN_FUTURE)
    return born


def _citizen(kind: DocumentType, number: str, today: dt.date) -> dict[str, Any]:
    if _FIFTEEN_DIGITS.fullmatch(number):
        raise _refuse(kind, Refusal.LEGACY_FIFTEEN_DIGITS)
    if not _CITIZEN.fullmatch(number):
        raise _refuse(kind, Refusal.WRONG_SHAPE)
    if number.startswith((*_HMT_PREFIXES, "9")):
        # Accepted as the wrong kind, one person would have two identities in the ledger.
        raise _refuse(kind, Refusal.BELONGS_TO_OTHER_TYPE)
    province = provinces().get(number[:2])
    if province is None or not province.resident_id:
        raise _refuse(kind, Refusal.UNKNOWN_REGION)
    details = _eighteen(kind, number, today)
    return details


def _hmt_residence_permit(number: str, today: dt.date) -> dict[str, Any]:
    kind = DocumentType.HMT_RESIDENCE_PERMIT
    if not _CITIZEN.fullmatch(number):
        raise _refuse(kind, Refusal.WRONG_SHAPE)
    if not number.startswith(_HMT_PREFIXES):
        raise _refuse(kind, Refusal.BELONGS_TO_OTHER_TYPE)
    return _eighteen(kind, number, today)


def _permanent_resident(number: str, today: dt.date) -> dict[str, Any]:
    kind = DocumentType.FOREIGN_PERMANENT_RESIDENT_ID
    if _PERMANENT_2017.fullmatch(number):
        return _permanent_resident_2017(number, today)
    if not _CITIZEN.fullmatch(number):
        raise _refuse(kind, Refusal.WRONG_SHAPE)
    if not number.startswith("9"):
        raise _refuse(kind, Refusal.BELONGS_TO_OTHER_TYPE)
    return _permanent_resident_2023(kind, number, today)


def _permanent_resident_2023(kind: DocumentType, number: str, today: dt.date) -> dict[str, Any]:
    # 9 + province 2 + nationality 3 (ISO 3166 numeric). Whether the order number encodes the
    # sex is not confirmed for this kind, so the sex is left open.
    return _eighteen(kind, number, today) | {"sex": None, "region": number[1:3]}


def _permanent_resident_2017(number: str, today: dt.date) -> dict[str, Any]:
    """Nationality 3 letters, region 4, birth YYMMDD, order 1, check 1 (ICAO 9303, 7-3-1)."""
    kind = DocumentType.FOREIGN_PERMANENT_RESIDENT_ID
    values = (int(c, 36) for c in number[:14])  # A is 10 … Z is 35, as in a passport's MRZ
    total = sum(value * (7, 3, 1)[place % 3] for place, value in enumerate(values))
    if total % 10 != int(number[14]):
        raise _refuse(kind, Refusal.WRONG_CHECK_CHARACTER)
    try:
        # Two-digit year: the later century, unless that is impossible or in the future.
        born = _birth_date(kind, "20" + number[7:13], today)
    except InvalidIdentityDocument:
        born = _birth_date(kind, "19" + number[7:13], today)
    return {"birth_date": born, "region": number[3:7]}


def _home_return_permit(number: str, today: dt.date) -> dict[str, Any]:
    _require_shape(DocumentType.HOME_RETURN_PERMIT, r"[HM]([0-9]{8}|[0-9]{10})", number)
    # The last two of the 1999-2012 form count re-issues; the first nine identify the person.
    region = "HKG" if number[0] == "H" else "MAC"
    return {"region": region, "same_person_key": f"home_return_permit:{number[:9]}"}


def _taiwan_permit(number: str, today: dt.date) -> dict[str, Any]:
    _require_shape(DocumentType.TAIWAN_PERMIT, r"[0-9]{8}|[0-9]{10}[A-Z]?", number)
    # Whether a renewal keeps the first eight digits is unconfirmed: remove the letter only.
    key = number.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return {"region": "TWN", "same_person_key": f"taiwan_permit:{key}"}


def _hong_kong_id(number: str, today: dt.date) -> dict[str, Any]:
    """One or two letters, 6 digits, check; weights 9..2, total divisible by 11."""
    kind = DocumentType.HONG_KONG_ID
    _require_shape(kind, r"[A-Z]{1,2}[0-9]{6}[0-9A]", number)
    # A missing second letter counts as 36, one past Z.
    values = [36] * (9 - len(number)) + [int(c, 36) for c in number]
    if sum(v * w for v, w in zip(values, (9, 8, 7, 6, 5, 4, 3, 2, 1), strict=True)) % 11:
        raise _refuse(kind, Refusal.WRONG_CHECK_CHARACTER)
    return {"region": "HKG"}


def _macao_id(number: str, today: dt.date) -> dict[str, Any]:
    # The check rule of the last digit is not public.
    _require_shape(DocumentType.MACAO_ID, r"[157][0-9]{7}", number)
    return {"region": "MAC"}


def _taiwan_id(number: str, today: dt.date) -> dict[str, Any]:
    """A letter worth two digits, sex, 7 digits, check; total divisible by 10."""
    kind = DocumentType.TAIWAN_ID
    _require_shape(kind, r"[A-Z][1289][0-9]{8}", number)
    tens, units = divmod(_TAIWAN_LETTERS.index(number[0]) + 10, 10)
    digits = (tens, units, *map(int, number[1:]))
    weights = (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1)
    if sum(d * w for d, w in zip(digits, weights, strict=True)) % 10:
        raise _refuse(kind, Refusal.WRONG_CHECK_CHARACTER)
    return {"sex": Sex.MALE if number[1] in "18" else Sex.FEMALE, "region": "TWN"}


def _passport(number: str, today: dt.date) -> dict[str, Any]:
    _require_shape(DocumentType.PASSPORT, r"[A-Z0-9]{5,17}", number, digits_min=1)
    return {"same_person_key": passport_key(number)}


def passport_key(number: str) -> str:
    """The key of a passport whose country is not known, by its normalised number."""
    return f"passport:{number}"


def _issuer_details(kind: DocumentType, number: str, country: str) -> dict[str, Any]:
    """Details that the issuing country adds; checks the country's own pattern if known."""
    if kind is not DocumentType.PASSPORT:
        raise _refuse(kind, Refusal.COUNTRY_NOT_EXPECTED)
    issuer = normalise(kind, country)
    if issuer not in COUNTRIES:
        raise _refuse(kind, Refusal.UNKNOWN_REGION)
    if issuer == "CHN":
        _require_shape(kind, _CHINESE_PASSPORT, number)
    key = f"passport:{issuer}:{number}"
    return {"region": issuer, "country": issuer, "same_person_key": key}


def _military_id(number: str, today: dt.date) -> dict[str, Any]:
    # 南字第1234号: free text by unit, so only length, alphabet and four digits are required.
    shape = r"[\u4e00-\u9fffA-Z0-9-]{6,20}"
    _require_shape(DocumentType.MILITARY_ID, shape, number, digits_min=4)
    return {}


def _local_card(kind: DocumentType, number: str, today: dt.date) -> dict[str, Any]:
    """A card with its holder's 18-character number, or with a local number."""
    if not _CITIZEN.fullmatch(number) and not _FIFTEEN_DIGITS.fullmatch(number):
        _require_shape(kind, r"[A-Z0-9]{8,20}", number, digits_min=6)
        return {}
    if number.startswith(_HMT_PREFIXES) and len(number) == 18:
        return _eighteen(kind, number, today)
    if number.startswith("9") and len(number) == 18:
        return _permanent_resident_2023(kind, number, today)
    return _citizen(kind, number, today)


def _require_shape(
    kind: DocumentType, shape: str | re.Pattern[str], number: str, digits_min: int = 0
) -> None:
    # Count digits instead of using look-ahead: such a pattern can backtrack catastrophically.
    if not re.fullmatch(shape, number) or sum(c.isdigit() for c in number) < digits_min:
        raise _refuse(kind, Refusal.WRONG_SHAPE)


_RULES: dict[DocumentType, _Rule] = {
    DocumentType.RESIDENT_ID: partial(_citizen, DocumentType.RESIDENT_ID),
    DocumentType.HMT_RESIDENCE_PERMIT: _hmt_residence_permit,
    DocumentType.FOREIGN_PERMANENT_RESIDENT_ID: _permanent_resident,
    DocumentType.HOME_RETURN_PERMIT: _home_return_permit,
    DocumentType.TAIWAN_PERMIT: _taiwan_permit,
    DocumentType.HONG_KONG_ID: _hong_kong_id,
    DocumentType.MACAO_ID: _macao_id,
    DocumentType.TAIWAN_ID: _taiwan_id,
    DocumentType.PASSPORT: _passport,
    DocumentType.MILITARY_ID: _military_id,
    DocumentType.HANGZHOU_SOCIAL_CARD: partial(_local_card, DocumentType.HANGZHOU_SOCIAL_CARD),
    DocumentType.RESIDENCE_PERMIT: partial(_local_card, DocumentType.RESIDENCE_PERMIT),
}
