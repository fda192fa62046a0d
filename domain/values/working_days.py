"""Working days (工作日) in China, and the terms of the public notice.

The State Council's yearly notice defines working days: some weekends are worked to make up for
holidays (调休), and no rule predicts which. The days therefore come from a dated table; past its
end, an answer is marked provisional.

Dates are calendar dates in Asia/Shanghai; a term ends at 24:00 of its last day.
The decision that opens a notice stores the start, the end and the calendar edition in the event;
nothing recomputes them later but the extension of a provisional end.
"""

import calendar as gregorian
import datetime as dt
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.errors import LedgerError

# China has kept UTC+8 without summer time since 1992; a fixed offset needs no zone files.
SHANGHAI = dt.timezone(dt.timedelta(hours=8), "Asia/Shanghai")

NOTICE_WORKING_DAYS = 5
"""Length of a results notice (公示期), in working days. Source: source-document 5.1"""

_ONE_DAY = dt.timedelta(days=1)
_DAYS_WORKING_MAX = 1000
_HOLIDAY_DAYS_MAX = 31
_TABLE_DAYS_MAX = 36_525


class CalendarDoesNotReach(LedgerError):
    """The working-day calendar begins on {valid_from} and cannot answer for {day}."""

    code = "calendar_does_not_reach"


class NoticeEnd(BaseModel):
    """The last day of a term counted in working days.

    date: last day, in Asia/Shanghai; the term ends at 24:00 of it.
    provisional: True if part of the count lies past the calendar's `known_through`; the day may
        still move when the next holiday notice is published.
    calendar_edition: the table used, stored with the date.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: dt.date
    provisional: bool
    calendar_edition: str

    @property
    def closes_at(self) -> dt.datetime:
        """The first instant after the term, aware UTC: 16:00 UTC of the last day."""
        return closes_at(self.date)


MonthDay = Annotated[str, Field(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
"""A day of every year, `MM-DD`."""


class Holiday(BaseModel):
    """Days off in a row, as the State Council's notice announces them (放假).

    first, last: inclusive, weekends among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(min_length=1, max_length=100)
    first: dt.date
    last: dt.date

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 <= (self.last - self.first).days < _HOLIDAY_DAYS_MAX:
            raise ValueError(f"lasts from 1 to {_HOLIDAY_DAYS_MAX} days, from first to last")
        return self

    def days(self) -> list[dt.date]:
        """Every day of it."""
        return [self.first + n * _ONE_DAY for n in range((self.last - self.first).days + 1)]


class HolidayTable(BaseModel):
    """Holidays and make-up workdays (放假与调休), the content of an edition of the calendar.

    begins_on, known_through: first and last day that the table covers.
    fixed_statutory_days: statutory holidays that never move. The table names each within its
        reach as a day off, so that a year that was left out is found before it counts.
    Source: source-document 5.1
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    source: str = Field(min_length=1, max_length=2000, description="the notices it is taken from")
    begins_on: dt.date
    known_through: dt.date
    fixed_statutory_days: tuple[MonthDay, ...] = Field(max_length=100)
    holidays: tuple[Holiday, ...] = Field(max_length=1000)
    makeup_workdays: tuple[dt.date, ...] = Field(
        max_length=1000, description="Saturdays and Sundays that are worked"
    )

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        if not 0 <= (self.known_through - self.begins_on).days < _TABLE_DAYS_MAX:
            raise ValueError("known_through lies before begins_on, or a hundred years after it")
        off = self._days_off()
        for day in self.makeup_workdays:
            if day.weekday() < 5:
                raise ValueError(f"make-up workday {day} is no Saturday and no Sunday")
            if day in off:
                raise ValueError(f"{day} is a holiday and a make-up workday")
            self._ensure_reach(day)
        if len(set(self.makeup_workdays)) != len(self.makeup_workdays):
            raise ValueError("a make-up workday appears twice")
        for day in self._statutory_days():
            if day not in off:
                raise ValueError(f"no holiday covers the statutory day {day}")
        return self

    def _statutory_days(self) -> list[dt.date]:
        """The fixed statutory days within the table."""
        years = range(self.begins_on.year, self.known_through.year + 1)
        found = (_day_in(year, text) for year in years for text in self.fixed_statutory_days)
        return [day for day in found if day and self.begins_on <= day <= self.known_through]

    def _days_off(self) -> set[dt.date]:
        """Raises: ValueError for a day that two holidays cover, or outside the table."""
        off: set[dt.date] = set()
        for holiday in self.holidays:
            for day in holiday.days():
                if day in off:
                    raise ValueError(f"two holidays cover {day}")
                self._ensure_reach(day)
                off.add(day)
        return off

    def _ensure_reach(self, day: dt.date) -> None:
        if not self.begins_on <= day <= self.known_through:
            raise ValueError(f"{day} lies outside the table")

    def calendar(self, edition: str) -> "WorkingCalendar":
        """The table as a calendar. edition: its name, stored with every date computed from it."""
        return WorkingCalendar(
            edition=edition,
            valid_from=self.begins_on,
            known_through=self.known_through,
            holidays=frozenset(day for holiday in self.holidays for day in holiday.days()),
            makeup_workdays=frozenset(self.makeup_workdays),
            fixed_statutory_days=frozenset(
                (int(text[:2]), int(text[3:])) for text in self.fixed_statutory_days
            ),
        )


def _day_in(year: int, month_day: str) -> dt.date | None:
    """The day `MM-DD` in a year; None for 02-29 in a common year, and for 02-30."""
    try:
        return dt.date(year, int(month_day[:2]), int(month_day[3:]))
    except ValueError:
        return None


class WorkingCalendar(BaseModel):
    """One edition of the table of holidays and make-up workdays.

    edition: its name, stored with every date computed from it.
    valid_from, known_through: first and last day it covers, inclusive.
    holidays: days off, weekends inside a holiday included.
    makeup_workdays: Saturdays and Sundays that are worked.
    fixed_statutory_days: (month, day) of statutory holidays that never move; used only past
        `known_through`, where the moving ones (春节, 清明, 端午, 中秋) cannot be known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    edition: str
    valid_from: dt.date
    known_through: dt.date
    holidays: frozenset[dt.date]
    makeup_workdays: frozenset[dt.date]
    fixed_statutory_days: frozenset[tuple[int, int]]

    def knows(self, day: dt.date) -> bool:
        """Whether the table covers this day."""
        return self.valid_from <= day <= self.known_through

    def is_working_day(self, day: dt.date) -> bool:
        """Whether this is a working day.

        Past `known_through`: Monday to Friday except the fixed statutory days; see `knows`.
        Raises: CalendarDoesNotReach before `valid_from`; TypeError for a datetime.
        """
        _refuse_datetime(day)
        if day < self.valid_from:
            raise CalendarDoesNotReach(valid_from=self.valid_from, day=day)
        if day in self.makeup_workdays:
            return True
        if day in self.holidays:
            return False
        if day > self.known_through and (day.month, day.day) in self.fixed_statutory_days:
            return False
        return day.weekday() < 5

    def end_on(self, day: dt.date) -> NoticeEnd:
        """A term that ends on this day, provisional if the table does not cover it."""
        return NoticeEnd(date=day, provisional=not self.knows(day), calendar_edition=self.edition)


def add_working_days(published: dt.date, days: int, calendar: WorkingCalendar) -> NoticeEnd:
    """The last day of a term of working days that starts with a publication.

    published: date in Asia/Shanghai; not counted itself (Civil Code 201), working day or not.
    days: working days, 1..1000.
    Raises: ValueError for a count out of range, TypeError for a datetime or a count that is
        not an int, CalendarDoesNotReach if `published` is before the table.
    Source: source-document 5.1
    """
    _refuse_datetime(published)
    if type(days) is not int:
        raise TypeError("days is an int")
    if not 1 <= days <= _DAYS_WORKING_MAX:
        raise ValueError(f"days lies between 1 and {_DAYS_WORKING_MAX}")
    if published < calendar.valid_from:
        raise CalendarDoesNotReach(valid_from=calendar.valid_from, day=published)
    day, left = published, days
    while left:
        day += _ONE_DAY
        left -= calendar.is_working_day(day)
    return calendar.end_on(day)


def publication_term(exam_end: dt.date, calendar: WorkingCalendar) -> NoticeEnd:
    """The last day on which results may be published, marked provisional where uncertain.

    exam_end: date in Asia/Shanghai on which the exam ended.
    One month runs to the corresponding day, or to the month's end if there is none
    (Civil Code 202); if the last day is no working day, the term ends on the next one (203).
    Raises: CalendarDoesNotReach before the table, TypeError for a datetime.
    Source: source-document 5.1
    """
    _refuse_datetime(exam_end)
    day = _one_month_after(exam_end)
    while not calendar.is_working_day(day):
        day += _ONE_DAY
    return calendar.end_on(day)


def publication_deadline(exam_end: dt.date, calendar: WorkingCalendar) -> dt.date:
    """The last day on which results may be published; see `publication_term`.

    Source: source-document 5.1
    """
    return publication_term(exam_end, calendar).date


def closes_at(last_day: dt.date) -> dt.datetime:
    """The first instant after a term, aware UTC: 24:00 of its last day in Asia/Shanghai.

    The term covers every moment strictly before it.
    """
    _refuse_datetime(last_day)
    return dt.datetime.combine(last_day + _ONE_DAY, dt.time(), SHANGHAI).astimezone(dt.UTC)


def shanghai_date(moment: dt.datetime) -> dt.date:
    """The calendar date in Asia/Shanghai at a moment. Raises: ValueError if it is naive."""
    if moment.utcoffset() is None:
        raise ValueError("a moment needs a time zone")
    return moment.astimezone(SHANGHAI).date()


def _one_month_after(day: dt.date) -> dt.date:
    """The corresponding day of the next month, or that month's last day."""
    year, month = (day.year, day.month + 1) if day.month < 12 else (day.year + 1, 1)
    return dt.date(year, month, min(day.day, gregorian.monthrange(year, month)[1]))


def _refuse_datetime(day: dt.date) -> None:
    # A datetime is a date to Python but never equals one, so every holiday would be missed.
    if isinstance(day, dt.datetime) or not isinstance(day, dt.date):
        raise TypeError("a calendar date in Asia/Shanghai is needed, not a datetime")
