"""What a candidate states, and how years of work are counted (累计工作年限).

Source: source-document 1.2(1)-(3), 3.1(3).
"""

from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.eligibility.qualifications import (
    ENTRIES_MAX,
    Length,
    Qualifications,
    Span,
    Worked,
    WorkPeriod,
    add_months,
    length_between,
    union,
    worked_spans,
)

DAY = timedelta(days=1)
AS_OF = date(2026, 6, 30)


def period(started_on: Any, ended_on: Any = None, relation: str = "own") -> WorkPeriod:
    return WorkPeriod.model_validate(
        {"started_on": started_on, "ended_on": ended_on, "relation": relation}
    )


def days_of(spans: Any) -> set[date]:
    """The slow, obvious way: every day by itself."""
    return {
        span.first + timedelta(days=n)
        for span in spans
        for n in range((span.last - span.first).days + 1)
    }


# --- stating --------------------------------------------------------------------------------------

WORK = {"started_on": "2020-01-01", "relation": "own"}
CERTIFICATE = {"kind": "skill_level", "level": 5, "relation": "own", "issued_on": "2020-01-01"}
TRAINING = {"level": 4, "hours": 104, "completed_on": "2020-01-01", "certificate": True}
SCHOOL = {"kind": "college", "relation": "own"}


@pytest.mark.parametrize(
    ("field", "entry", "complaint"),
    [
        ("work_periods", {**WORK, "ended_on": "2019-12-31"}, "before started_on 2020-01-01"),
        ("work_periods", {**WORK, "started_on": 18262}, "not a number or a moment"),
        ("work_periods", {**WORK, "started_on": datetime(2020, 1, 1)}, "not a number or a moment"),
        ("work_periods", {**WORK, "started_on": "20200101"}, "written YYYY-MM-DD"),
        ("work_periods", {**WORK, "started_on": "2021-02-29"}, "day value is outside"),
        ("work_periods", {**WORK, "started_on": "1900-12-31"}, "greater than or equal"),
        ("work_periods", {**WORK, "ended_on": "2100-01-01"}, "less than or equal"),
        ("work_periods", {**WORK, "relation": "similar"}, "'own', 'related' or 'other'"),
        ("work_periods", {**WORK, "salary": 1}, "Extra inputs are not permitted"),
        ("certificates", {**CERTIFICATE, "level": 6}, "should be 5, 4, 3, 2 or 1"),
        ("certificates", {**CERTIFICATE, "level": True}, "a level is a whole number"),
        ("certificates", {**CERTIFICATE, "level": 5.0}, "a level is a whole number"),
        ("certificates", {**CERTIFICATE, "level": None}, "level None does not fit"),
        ("certificates", {**CERTIFICATE, "kind": "prospective_technician"}, "does not fit"),
        ("trainings", {**TRAINING, "hours": 0}, "greater than or equal to 1"),
        ("trainings", {**TRAINING, "hours": "104"}, "valid integer"),
        ("trainings", {**TRAINING, "certificate": "yes"}, "valid boolean"),
        (
            "education",
            {**SCHOOL, "final_year": True, "graduated_on": "2020-07-01"},
            "final_year is for students",
        ),
        ("titles", {"rank": "chief", "relation": "own", "obtained_on": "2020-01-01"}, "'senior'"),
    ],
)
def test_an_invalid_statement_is_refused_and_named(field: str, entry: dict, complaint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Qualifications.model_validate({field: [entry]})
    (error,) = caught.value.errors()
    assert error["loc"][:2] == (field, 0)
    assert complaint in error["msg"]


def test_a_day_before_birth_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"work_periods\[0\]\.started_on 2020-01-01 is befo"):
        Qualifications.model_validate({"birth_date": "2020-01-02", "work_periods": [WORK]})


def test_a_list_of_statements_has_a_limit() -> None:
    at_the_limit = Qualifications.model_validate({"work_periods": [WORK] * ENTRIES_MAX})
    assert len(at_the_limit.work_periods) == ENTRIES_MAX
    with pytest.raises(ValidationError, match="at most 200 items"):
        Qualifications.model_validate({"work_periods": [WORK] * (ENTRIES_MAX + 1)})


def test_statements_are_frozen_and_round_trip_through_json() -> None:
    stated = Qualifications.model_validate(
        {"birth_date": "2000-02-29", "work_periods": [WORK], "certificates": [CERTIFICATE]}
    )
    assert Qualifications.model_validate_json(stated.model_dump_json()) == stated
    with pytest.raises(ValidationError, match="frozen"):
        stated.birth_date = None


def test_every_stated_day_has_its_path() -> None:
    stated = Qualifications.model_validate(
        {
            "birth_date": "2000-02-29",
            "work_periods": [{**WORK, "ended_on": "2020-02-01"}],
            "certificates": [CERTIFICATE],
            "titles": [{"rank": "junior", "relation": "own", "obtained_on": "2021-01-01"}],
            "trainings": [TRAINING],
            "education": [SCHOOL, {**SCHOOL, "graduated_on": "2022-07-01"}],
            "apprenticeships": [{"relation": "own", "completed_on": "2023-01-01"}],
        }
    )
    assert [place for place, _ in stated.stated_days()] == [
        "birth_date",
        "work_periods[0].started_on",
        "work_periods[0].ended_on",
        "certificates[0].issued_on",
        "titles[0].obtained_on",
        "trainings[0].completed_on",
        "education[1].graduated_on",
        "apprenticeships[0].completed_on",
    ]


# --- counting -------------------------------------------------------------------------------------

SPANS = st.lists(
    st.builds(
        lambda first, days: Span(first, first + timedelta(days=days)),
        st.dates(date(2019, 1, 1), date(2021, 1, 1)),
        st.integers(0, 120),
    ),
    max_size=8,
)


@given(SPANS)
def test_a_union_contains_the_same_days_once_each(spans: list[Span]) -> None:
    joined = union(spans)
    assert days_of(joined) == days_of(spans)
    assert Worked(joined).days == len(days_of(spans))
    for before, after in pairwise(joined):
        assert before.last + DAY < after.first


@given(
    st.lists(st.tuples(SPANS, st.sampled_from(["own", "related", "other"])), max_size=3),
    st.dates(date(2019, 1, 1), date(2021, 6, 1)),
    st.none() | st.dates(date(2019, 1, 1), date(2021, 6, 1)),
)
def test_counted_days_agree_with_counting_day_by_day(
    groups: list, as_of: date, since: date | None
) -> None:
    periods = [period(*span, relation) for spans, relation in groups for span in spans]
    expected = {
        day
        for spans, relation in groups
        for day in days_of(spans)
        if relation != "other" and day <= as_of and (since is None or day >= since)
    }
    assert days_of(worked_spans(periods, ("own", "related"), as_of, since)) == expected


@given(SPANS, st.integers(1, 5))
def test_years_are_reached_when_the_days_fill_the_calendar_from_the_first_day(
    spans: list[Span], years: int
) -> None:
    days = sorted(days_of(spans))
    worked = Worked(union(spans))
    reached = False
    if days:
        anniversary = days[0]
        while not (
            anniversary.year == days[0].year + years
            and (anniversary.month, anniversary.day) >= (days[0].month, days[0].day)
        ):
            anniversary += DAY
        reached = len(days) >= (anniversary - days[0]).days
    assert worked.reaches(years) == reached
    assert (worked.lacking(years) == Length(0, 0, 0)) == reached
    assert (worked.length.years >= years) == reached


def test_a_year_is_reached_on_its_last_day() -> None:
    assert Worked((Span(date(2025, 1, 1), date(2025, 12, 31)),)).reaches(1)
    assert not Worked((Span(date(2025, 1, 1), date(2025, 12, 30)),)).reaches(1)
    assert not Worked(()).reaches(1)


@given(
    st.dates(date(1901, 1, 1), date(2060, 1, 1)), st.integers(0, 4000), st.integers(1, 10), SPANS
)
def test_another_day_of_work_never_undoes_a_year(
    first: date, days: int, years: int, more: list[Span]
) -> None:
    spans = [Span(first, first + timedelta(days=days))]
    if Worked(union(spans)).reaches(years):
        assert Worked(union(spans + more)).reaches(years)
        assert Worked(union([*spans, Span(first - DAY, first - DAY)])).reaches(years)


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2024, 2, 29), 12, date(2025, 3, 1)),
        (date(2024, 2, 29), 48, date(2028, 2, 29)),
        (date(2025, 1, 31), 1, date(2025, 3, 1)),
        (date(2025, 1, 28), 1, date(2025, 2, 28)),
        (date(2025, 8, 31), 1, date(2025, 10, 1)),
        (date(2025, 12, 31), 2, date(2026, 3, 1)),
        (date(2025, 12, 15), 1, date(2026, 1, 15)),
        (date(2025, 12, 15), 0, date(2025, 12, 15)),
    ],
)
def test_the_corresponding_day_or_the_first_of_the_next_month(
    day: date, months: int, expected: date
) -> None:
    assert add_months(day, months) == expected


@given(st.dates(date(1950, 1, 1), date(2050, 1, 1)), st.integers(0, 9000))
def test_a_length_added_to_its_start_is_its_end(start: date, days: int) -> None:
    end = start + timedelta(days=days)
    years, months, rest = length_between(start, end)
    assert 0 <= months < 12
    assert 0 <= rest < 31
    assert add_months(start, 12 * years + months) + timedelta(days=rest) == end


@pytest.mark.parametrize(
    ("length", "zh", "en"),
    [
        (Length(3, 9, 0), "3年9个月", "3 years 9 months"),
        (Length(1, 0, 1), "1年1天", "1 year 1 day"),
        (Length(0, 1, 30), "1个月30天", "1 month 30 days"),
        (Length(0, 0, 0), "0天", "0 days"),
    ],
)
def test_a_length_reads_as_people_say_it(length: Length, zh: str, en: str) -> None:
    assert (length.text.zh, length.text.en) == (zh, en)
