"""Values as a reader sees them: money, days, moments, counts, in their language.

Moments are shown in Asia/Shanghai with the zone named, days as they were recorded.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from markupsafe import Markup, escape

from api.http.negotiation import Language
from api.web.i18n import text
from domain.values.working_days import SHANGHAI
from projections.engine.view import ERASED

NOTHING = "—"

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def yuan(fen: int) -> str:
    """An amount in yuan: 123456 fen is ¥1,234.56. Integer arithmetic only."""
    yuan, remainder = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}¥{yuan:,}.{remainder:02d}"


def grouped(number: int) -> str:
    """A count with thousands separators: 12,345."""
    return f"{number:,}"


def as_day(value: date | datetime | str) -> date:
    """A day from a row: a date, its text, or the day in Shanghai of a moment."""
    if isinstance(value, datetime):
        return as_moment(value).date()
    return value if isinstance(value, date) else date.fromisoformat(value)


def as_moment(value: datetime | str) -> datetime:
    """A moment from a row, in Shanghai's time. Raises: ValueError if it names no zone."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return moment.astimezone(SHANGHAI)


def format_long_date(language: Language, day: date) -> str:
    """A day in words: 2026年10月13日, 13 October 2026."""
    if language == "zh":
        return f"{day.year}年{day.month}月{day.day}日"
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def show_day(language: Language, value: date | str | None) -> Markup | str:
    """A day as a `time` element; a dash where there is none."""
    if value is None:
        return NOTHING
    day = as_day(value)
    return _time(day.isoformat(), format_long_date(language, day))


def show_short_day(value: date | str | None) -> Markup | str:
    """A day for a table: 2026-10-13."""
    if value is None:
        return NOTHING
    day = as_day(value).isoformat()
    return _time(day, day)


def show_moment(language: Language, value: datetime | str | None) -> Markup | str:
    """A moment to the minute with its zone, as a `time` element; a dash where there is none."""
    if value is None:
        return NOTHING
    moment = as_moment(value)
    shown = text(
        language,
        "value.moment",
        day=format_long_date(language, moment.date()),
        time=f"{moment:%H:%M}",
    )
    return _time(_utc(moment), shown)


def show_short_moment(value: datetime | str | None) -> Markup | str:
    """A moment for a table whose header names the zone: 2026-10-13 10:00."""
    if value is None:
        return NOTHING
    moment = as_moment(value)
    return _time(_utc(moment), f"{moment:%Y-%m-%d %H:%M}")


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(machine: str, shown: str) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(machine, shown)


def spaced_number(number: str) -> Markup:
    """A certificate number that may wrap between its parts, and only there."""
    if "-" in number or len(number) != 22:
        return escape(number)
    parts = (number[:5], number[5:7], number[7:13], number[13:16], number[16:])
    return Markup("<wbr>").join(parts)


def show_masked(language: Language, value: str | None) -> str:
    """A masked name or number from a view; its word for erased data in the page's language."""
    if value is None:
        return NOTHING
    return text(language, "value.erased") if value == ERASED else value


def level_name(language: Language, level: Any) -> str:
    """A level in words: 四级/中级工."""
    return text(language, f"level.{int(level)}")
