"""What a candidate states about themselves (报考条件), and how years of work are counted.

No assessment here: `rule_sets` says what is required, `assessment` compares the two. Every class
is frozen, refuses unknown fields, and takes days as `date` or as `YYYY-MM-DD`.
Reading order: the vocabulary, the statements (Qualifications last), then the calendar.
Source: source-document 1.1, 1.2(1)-(4), 3.1(2), 3.1(3), 3.1(5).
"""

import re
from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from domain.values.primitives import Level

# Within these days every fourth year is a leap year, so N years differ by at most one day
# wherever they begin, and another day of work never moves an anniversary out of reach.
EARLIEST_DAY = date(1901, 1, 1)
LATEST_DAY = date(2099, 12, 31)
ENTRIES_MAX = 200  # of one kind; more than any real career, few enough to bound an assessment

_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _calendar_day(value: Any) -> Any:
    """Refuse what pydantic would otherwise coerce into a day: numbers and moments."""
    if isinstance(value, str):
        if not _ISO_DAY.fullmatch(value):
            raise ValueError("a day is written YYYY-MM-DD")
    elif not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("a day is a date or a YYYY-MM-DD string, not a number or a moment")
    return value


def _whole_level(value: Any) -> Any:
    """Refuse True and 1.0, which an enumeration of integers would take for level 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a level is a whole number, 5 to 1")
    return value


CalendarDay = Annotated[date, BeforeValidator(_calendar_day), Field(ge=EARLIEST_DAY, le=LATEST_DAY)]
StatedLevel = Annotated[Level, BeforeValidator(_whole_level)]
Flag = Annotated[bool, Field(strict=True)]
Relation = Literal["own", "related", "other"]
"""own 本职业/本专业, related 相关职业/相关专业, other 其他."""
MAJORS: dict[str, str] = {"own": "本专业", "related": "相关专业", "other": "其他专业"}

CertificateKind = Literal["vocational_qualification", "skill_level", "prospective_technician"]
"""职业资格证书, 职业技能等级证书, 预备技师证书 (the last bears no level)."""

TitleRank = Literal["junior", "middle", "senior"]
"""职称(专业技术人员职业资格); 副高 and 正高 are both senior."""
RANKS: dict[str, str] = {"junior": "初级职称", "middle": "中级职称", "senior": "高级职称"}

SchoolKind = Literal[
    "technical_school", "senior_technical_school", "technician_college",
    "secondary_vocational", "higher_vocational", "college", "bachelor", "postgraduate",
]  # fmt: skip
SCHOOLS: dict[str, str] = {
    "technical_school": "技工学校",
    "senior_technical_school": "高级技工学校",
    "technician_college": "技师学院",
    "secondary_vocational": "中等职业学校",
    "higher_vocational": "高等职业学校",
    "college": "大专",
    "bachelor": "本科",
    "postgraduate": "研究生",
}

Programme = Literal["intermediate_worker", "senior_worker", "prospective_technician", "technician"]
"""班别 of a 技工院校."""
PROGRAMMES: dict[str, str] = {
    "intermediate_worker": "中级工班",
    "senior_worker": "高级工班",
    "prospective_technician": "预备技师班",
    "technician": "技师班",
}

Standing = Literal["graduated", "final_year", "enrolled"]
"""final_year is 在校应届毕业生, enrolled any earlier year."""
STANDINGS: dict[str, str] = {"graduated": "毕业", "final_year": "应届毕业生", "enrolled": "在读"}


class Text(BaseModel):
    """One sentence or phrase, in Chinese and in English."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    zh: str
    en: str


class Statement(BaseModel):
    """Base of everything a candidate states: frozen, no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkPeriod(Statement):
    """One stretch of work (工作经历); both ends are days worked. Source: source-document 3.1(3)."""

    started_on: CalendarDay = Field(description="first day worked")
    ended_on: CalendarDay | None = Field(
        default=None, description="last day worked; None = still working there (至今)"
    )
    relation: Relation = Field(description="of the work to the occupation applied for")
    employer: str = Field(default="", max_length=200, description="单位名称; never judged")

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.ended_on is not None and self.ended_on < self.started_on:
            raise ValueError(f"ended_on {self.ended_on} is before started_on {self.started_on}")
        return self


class HeldCertificate(Statement):
    """A certificate already held (相关职业技能证书). Source: source-document 3.1(5)."""

    kind: CertificateKind
    level: StatedLevel | None = Field(default=None, description="5..1; None only for 预备技师证书")
    relation: Relation = Field(description="of its occupation to the one applied for")
    issued_on: CalendarDay = Field(description="发证日期")
    number: str | None = Field(default=None, max_length=64, description="证书编号, if known")

    @model_validator(mode="after")
    def _level_fits_its_kind(self) -> Self:
        if (self.level is None) != (self.kind == "prospective_technician"):
            raise ValueError(f"level {self.level} does not fit a certificate of kind {self.kind}")
        return self


class Title(Statement):
    """A professional title (职称 or 专业技术人员职业资格)."""

    rank: TitleRank
    relation: Relation = Field(description="own or related = 符合专业对应关系")
    obtained_on: CalendarDay


class Training(Statement):
    """A finished course of regular training in this occupation (本职业正规培训).

    Source: source-document 1.2(3).
    """

    level: StatedLevel
    hours: int = Field(strict=True, ge=1, le=10_000, description="学时 attended")
    completed_on: CalendarDay
    certificate: Flag = Field(description="True once the 结业证书 was obtained")


class Education(Statement):
    """A school attended (学历). Source: source-document 1.2(4), 3.1(2)."""

    kind: SchoolKind
    relation: Relation = Field(description="of the major to the occupation: 本专业, 相关专业")
    graduated_on: CalendarDay | None = Field(default=None, description="None = still a student")
    final_year: Flag = Field(default=False, description="在校应届毕业生")
    evaluated: Flag = Field(default=False, description="经评估论证, 以相应级别技能为培养目标的学校")
    programme: Programme | None = Field(default=None, description="班别, if it was stated")

    @property
    def standing(self) -> Standing:
        """graduated, final_year or enrolled."""
        if self.graduated_on is not None:
            return "graduated"
        return "final_year" if self.final_year else "enrolled"

    @model_validator(mode="after")
    def _graduate_is_no_student(self) -> Self:
        if self.final_year and self.graduated_on is not None:
            raise ValueError("final_year is for students; this one graduated_on a day already")
        return self


class Apprenticeship(Statement):
    """A completed apprenticeship (学徒期满)."""

    relation: Relation
    completed_on: CalendarDay


class Qualifications(Statement):
    """All that a candidate states for 资质评估; nothing in it is proven yet.

    Order carries no meaning, and overlapping or split periods count as if joined.
    Raises (pydantic ValidationError): a day outside 1901-01-01..2099-12-31, a period ending
        before it starts, any stated day before birth_date, more than 200 entries of one kind.
    Source: source-document 1.1, 1.2.
    """

    birth_date: CalendarDay | None = None
    work_periods: tuple[WorkPeriod, ...] = Field(default=(), max_length=ENTRIES_MAX)
    certificates: tuple[HeldCertificate, ...] = Field(default=(), max_length=ENTRIES_MAX)
    titles: tuple[Title, ...] = Field(default=(), max_length=ENTRIES_MAX)
    trainings: tuple[Training, ...] = Field(default=(), max_length=ENTRIES_MAX)
    education: tuple[Education, ...] = Field(default=(), max_length=ENTRIES_MAX)
    apprenticeships: tuple[Apprenticeship, ...] = Field(default=(), max_length=ENTRIES_MAX)
    intends_to_work: Flag = Field(default=False, description="拟从事本职业或相关职业工作")

    def stated_days(self) -> list[tuple[str, date]]:
        """Every stated day with its path, such as `work_periods[0].ended_on`."""
        days = [] if self.birth_date is None else [("birth_date", self.birth_date)]
        for field, names in _DAYS.items():
            for index, entry in enumerate(getattr(self, field)):
                for name in names:
                    day = getattr(entry, name)
                    if day is not None:
                        days.append((f"{field}[{index}].{name}", day))
        return days

    @model_validator(mode="after")
    def _nothing_happens_before_birth(self) -> Self:
        if self.birth_date is None:
            return self
        for place, day in self.stated_days():
            if day < self.birth_date:
                raise ValueError(f"{place} {day} is before birth_date {self.birth_date}")
        return self


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """An annotation and, if it is a union, its members."""
    return annotation, *get_args(annotation)


def _days_of(entries: Any) -> tuple[str, ...]:
    """Names of the day fields of a tuple of statements."""
    statement = get_args(entries)[0]
    return tuple(
        name
        for name, field in statement.model_fields.items()
        if any(kind in (date, CalendarDay) for kind in _kinds(field.annotation))
    )


_DAYS = {
    name: _days_of(field.annotation)
    for name, field in Qualifications.model_fields.items()
    if get_origin(field.annotation) is tuple
}
"""Field of `Qualifications` -> names of the day fields of its entries."""


class Span(NamedTuple):
    """Days from `first` to `last`, both included."""

    first: date
    last: date


class Length(NamedTuple):
    """A length in calendar units: 0 <= months < 12, 0 <= days < 31."""

    years: int
    months: int
    days: int

    @property
    def text(self) -> Text:
        """`3年9个月`, `3 years 9 months`; `0天`, `0 days` when empty."""
        units = zip(self, ("年", "个月", "天"), ("year", "month", "day"), strict=True)
        counted = [(count, zh, en) for count, zh, en in units if count]
        return Text(
            zh="".join(f"{count}{zh}" for count, zh, _ in counted) or "0天",
            en=" ".join(f"{count} {en}{'s' * (count > 1)}" for count, _, en in counted) or "0 days",
        )


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same days as sorted spans that neither overlap nor touch."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.first <= joined[-1].last + timedelta(days=1):
            joined[-1] = Span(joined[-1].first, max(joined[-1].last, span.last))
        else:
            joined.append(span)
    return tuple(joined)


def worked_spans(
    periods: Iterable[WorkPeriod],
    relations: Collection[Relation],
    as_of: date,
    since: date | None = None,
) -> tuple[Span, ...]:
    """The days worked in an occupation of `relations`, on or after `since`, up to `as_of`.

    An ongoing period counts through `as_of`, that day included. Source: source-document 1.2.
    """
    spans = []
    for period in periods:
        if period.relation not in relations:
            continue
        first, last = period.started_on, period.ended_on
        if since is not None and since > first:
            first = since
        if last is None or last > as_of:
            last = as_of
        if first <= last:
            spans.append(Span(first, last))
    return union(spans) if len(spans) > 1 else tuple(spans)


def add_months(day: date, months: int) -> date:
    """The corresponding day `months` (>= 0) later; 1st of the next month where there is none.

    29 February + 12 months is 1 March: a year that began on 29 February has 28 February as its
    last day, the last of its month, as Civil Code (民法典) art. 202 ends a period of years.
    """
    years, month = divmod(day.month - 1 + months, 12)
    try:
        return date(day.year + years, month + 1, day.day)
    except ValueError:  # no such day; the month after always follows within the year
        return date(day.year + years, month + 2, 1)


def length_between(start: date, end: date) -> Length:
    """Whole years, months and days from `start` to `end` (not included); start <= end."""
    months = (end.year - start.year) * 12 + end.month - start.month
    while add_months(start, months) > end:
        months -= 1
    return Length(*divmod(months, 12), (end - add_months(start, months)).days)


class Worked(NamedTuple):
    """Counted days of work, laid end to end from the first counted day.

    N years are reached when the counted days are at least as many as the days from the first
    counted day to its Nth anniversary. An unbroken period therefore counts as in a labour
    contract (2021-03-01 to 2025-02-28 is 4年), leap years included; gaps neither add nor remove
    days; and no year length of 365 or 366 days has to be assumed.
    Source: source-document 1.2 ("累计", "(含)以上").
    """

    spans: tuple[Span, ...]

    @property
    def days(self) -> int:
        """Number of counted days, each once."""
        days = 0
        for first, last in self.spans:
            days += (last - first).days + 1
        return days

    @property
    def length(self) -> Length:
        """Counted days in calendar units."""
        if not self.spans:
            return Length(0, 0, 0)
        first = self.spans[0].first
        return length_between(first, first + timedelta(days=self.days))

    def days_needed(self, years: int) -> int:
        """Days from the first counted day to its anniversary; 0 while no day is counted."""
        if not self.spans:
            return 0
        first = self.spans[0].first
        return (add_months(first, 12 * years) - first).days

    def reaches(self, years: int) -> bool:
        """True from the last day of the Nth year on."""
        return bool(self.spans) and self.days >= self.days_needed(years)

    def lacking(self, years: int) -> Length:
        """Work still needed, if it continues without a break; zero once reached."""
        if not self.spans:
            return Length(years, 0, 0)
        first = self.spans[0].first
        end = first + timedelta(days=self.days)
        return length_between(end, max(end, add_months(first, 12 * years)))
