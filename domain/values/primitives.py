"""Primitive values of facts: money, marks, levels, instants, names of ledgers.

Each has one canonical written form, because event bytes are hashed as stored: two spellings of
the same value would be two different histories. No value is a float.
Reading order: Fen, Marks, Level, Instant, then the two string types.
"""

import datetime as dt
import re
from enum import IntEnum
from functools import total_ordering
from typing import Annotated, Any, LiteralString

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

FEN_LIMIT = 2**53
"""Upper bound of amounts: the integers that every JSON reader represents exactly (RFC 8785)."""

Fen = Annotated[
    int,
    Field(
        strict=True, ge=0, lt=FEN_LIMIT, description="integer fen (分), 1/100 CNY, 0 <= x < 2^53"
    ),
]
"""Money. Strict: refuses a float, a bool or a string, so that no amount in yuan gets in."""

PASS_MARK_HALF_POINTS = 120

_MARKS_TEXT = re.compile(r"(0|[1-9][0-9]{0,2})(?:\.([0-9]{1,9}))?")
_MARKS_PATTERN = r"^(100|[1-9]?[0-9](\.5)?)$"


@total_ordering
class Marks:
    """Marks in one subject (科目成绩), 0 to 100 in half points.

    Stored as a count of half points, so that no float is involved; written "59.5" or "60".
    An absence (缺考) is not a mark and has no value here.
    Source: source-document 4.3(2)
    """

    __slots__ = ("_half_points",)
    _half_points: int

    def __init__(self, value: "int | str | Marks") -> None:
        """Parse marks from whole points or decimal text.

        value: int 0..100, or text such as "59.5", "60", "60.0"; ASCII digits, no sign.
        Raises: TypeError for a float, a bool or any other type; ValueError out of range or
            for a fraction other than a half.
        """
        object.__setattr__(self, "_half_points", _half_points(value))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("marks do not change; a correction is a new event")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("marks do not change; a correction is a new event")

    @classmethod
    def from_half_points(cls, half_points: int) -> "Marks":
        """Marks from their count of half points, 0..200. Raises: TypeError, ValueError."""
        if type(half_points) is not int:
            raise TypeError("half points are an int")
        if not 0 <= half_points <= 200:
            raise ValueError("half points lie between 0 and 200")
        whole, half = divmod(half_points, 2)
        return cls(f"{whole}.5" if half else whole)

    @property
    def half_points(self) -> int:
        """The marks counted in half points, 0..200: 59.5 marks are 119."""
        return self._half_points

    def __str__(self) -> str:
        whole, half = divmod(self._half_points, 2)
        return f"{whole}.5" if half else str(whole)

    def __repr__(self) -> str:
        return f"Marks('{self}')"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Marks):
            return NotImplemented
        return self._half_points == other._half_points

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Marks):
            return NotImplemented
        return self._half_points < other._half_points

    def __hash__(self) -> int:
        return hash((Marks, self._half_points))

    def __reduce__(self) -> tuple[Any, ...]:
        return Marks, (str(self),)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _marks_for_pydantic,
            serialization=core_schema.to_string_ser_schema(when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": _MARKS_PATTERN,
            "description": "marks 0..100 in half points, canonical text such as 59.5 or 60",
        }


def _half_points(value: object) -> int:
    """Half points of an external value. Raises: TypeError, ValueError."""
    if isinstance(value, Marks):
        return value.half_points
    if type(value) is int:
        half_points = 2 * value
    elif isinstance(value, str):
        half_points = _half_points_of_text(value)
    else:
        # Python counts bool as an int, and JSON a float as a number; neither is a mark.
        raise TypeError(f"marks are an int or decimal text, not {type(value).__name__}")
    if not 0 <= half_points <= 200:
        raise ValueError("marks lie between 0 and 100")
    return half_points


def _half_points_of_text(text: str) -> int:
    """Half points of decimal text. Raises: ValueError unless whole or half points."""
    match = _MARKS_TEXT.fullmatch(text)
    if match is None:
        raise ValueError("marks are written as decimal digits, such as 59.5 or 60")
    fraction = (match[2] or "").rstrip("0")
    if fraction not in ("", "5"):
        raise ValueError("marks carry whole or half points only")
    return 2 * int(match[1]) + (fraction == "5")


def _marks_for_pydantic(value: object) -> Marks:
    try:
        return Marks(value)  # type: ignore[arg-type]
    except TypeError as wrong:
        # pydantic reports ValueErrors by field, but lets TypeErrors propagate.
        raise ValueError(str(wrong)) from None


def passes(marks: Marks) -> bool:
    """Whether one subject is passed: 60 marks or more (60分(含)以上); 59.5 is not.

    A candidate passes only when both subjects do.
    Source: source-document 4.3(3)
    """
    return marks.half_points >= PASS_MARK_HALF_POINTS


class Level(IntEnum):
    """Skill level (职业技能等级), five to one. A smaller number is a higher level."""

    JUNIOR = 5
    INTERMEDIATE = 4
    SENIOR = 3
    TECHNICIAN = 2
    SENIOR_TECHNICIAN = 1

    @property
    def chinese_name(self) -> str:
        """The name a certificate prints, such as 四级/中级工."""
        return _LEVEL_NAMES[self]

    def is_above(self, other: "Level") -> bool:
        """Whether this is the higher level: the smaller number."""
        return int(self) < int(other)


_LEVEL_NAMES = {
    Level.JUNIOR: "五级/初级工",
    Level.INTERMEDIATE: "四级/中级工",
    Level.SENIOR: "三级/高级工",
    Level.TECHNICIAN: "二级/技师",
    Level.SENIOR_TECHNICIAN: "一级/高级技师",
}

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def parse_instant(value: object) -> dt.datetime:
    """Parse an external moment, in UTC.

    value: an aware datetime, or RFC 3339 text with an offset and at most 6 fraction digits.
    Returns: aware datetime whose tzinfo is datetime.timezone.utc.
    Raises: ValueError for a naive datetime, a number, or text of any other form. A seventh
        fraction digit is refused, not dropped: the stored text would differ from the given one.
    """
    if isinstance(value, str):
        if _RFC3339.fullmatch(value) is None:
            raise _not_an_instant("an instant is RFC 3339 text with an offset, to the microsecond")
        try:
            value = dt.datetime.fromisoformat(value.upper())
        except ValueError:
            raise _not_an_instant("an instant is on a day and at an hour that exist") from None
    if not isinstance(value, dt.datetime):
        raise _not_an_instant("an instant is an aware datetime or RFC 3339 text")
    if value.utcoffset() is None:
        raise _not_an_instant("an instant needs a time zone")
    try:
        return value.astimezone(dt.UTC)
    except OverflowError:
        raise _not_an_instant("an instant lies within the years 1 to 9999 in UTC") from None


def _not_an_instant(why: LiteralString) -> ValueError:
    """A ValueError with its own code, which selects the translated message."""
    return PydanticCustomError("not_an_instant", why)


def format_instant(moment: dt.datetime) -> str:
    """The canonical text of a moment: `2026-03-01T08:00:00.000000Z`, 27 characters.

    Fixed width, so that text sorts by time.
    Raises: ValueError if `moment` is naive.
    """
    text = parse_instant(moment).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


Instant = Annotated[
    dt.datetime,
    BeforeValidator(parse_instant),
    PlainSerializer(format_instant, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "UTC, RFC 3339 with Z and six fraction digits",
        }
    ),
]
"""A moment, always aware and in UTC, rendered by `format_instant`."""

LEDGER_PATTERN = r"^[a-z][a-z0-9-]{1,30}$"
"""The name of a ledger, as addresses and links have it."""

Slug = Annotated[
    str,
    StringConstraints(strict=True, pattern=LEDGER_PATTERN),
    Field(description="short name of a ledger: 2-31 of a-z, 0-9, hyphen; a letter first"),
]
"""Key of a ledger, that is of one evaluation organisation (评价机构备案), such as `omc`."""

SERVICE_LEDGER = "service"
"""The operator's own ledger: of what belongs to no evaluation organisation."""

RESERVED_LEDGERS = frozenset({SERVICE_LEDGER, "v", "t", "checks", "accounts", "verify"})
"""Names that no evaluation organisation's ledger has: they begin addresses, and `service` is the
ledger of the operator."""

Sha256Hex = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^[0-9a-f]{64}$"),
    Field(description="SHA-256 as 64 lower-case hexadecimal digits"),
]
"""Digest of an attachment; the journal never contains the attachment itself."""
