"""The notice period counts working days, and is provisional past the known calendar."""

import datetime as dt

import chinese_calendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.values.working_days import (
    NOTICE_WORKING_DAYS,
    CalendarDoesNotReach,
    NoticeEnd,
    add_working_days,
    closes_at,
    publication_deadline,
    publication_term,
    shanghai_date,
)
from tests.support.editions import packaged_calendar

DAY = dt.timedelta(days=1)
TABLE = packaged_calendar()
known_days = st.dates(min_value=TABLE.valid_from, max_value=dt.date(2026, 11, 30))
any_days = st.dates(min_value=TABLE.valid_from, max_value=dt.date(2060, 12, 31))


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def test_the_table_agrees_with_an_independent_calendar_on_every_day_2019_to_2026():
    current, differing = TABLE.valid_from, []
    while current <= TABLE.known_through:
        if TABLE.is_working_day(current) != chinese_calendar.is_workday(current):
            differing.append(current)
        current += DAY
    assert current == dt.date(2027, 1, 1)
    assert differing == []


def test_the_table_names_its_edition_and_its_span():
    assert TABLE.edition == "cn-2026.1"
    assert (TABLE.valid_from, TABLE.known_through) == (day("2019-01-01"), day("2026-12-31"))


def test_make_up_workdays_are_weekend_days_and_no_holidays():
    assert TABLE.makeup_workdays
    assert all(worked.weekday() >= 5 for worked in TABLE.makeup_workdays)
    assert not TABLE.makeup_workdays & TABLE.holidays


@pytest.mark.parametrize(
    ("published", "end"),
    [
        ("2026-09-30", "2026-10-13"),  # 国庆, and 10-10 a worked Saturday
        ("2026-02-13", "2026-02-27"),  # 春节, and 02-14 a worked Saturday
        ("2026-03-02", "2026-03-09"),
        ("2026-03-07", "2026-03-13"),  # published on a Saturday
        ("2025-01-24", "2025-02-07"),  # 01-26 a worked Sunday
    ],
)
def test_a_notice_of_five_working_days_ends_on_the_day_the_calendar_says(published, end):
    assert add_working_days(day(published), NOTICE_WORKING_DAYS, TABLE) == NoticeEnd(
        date=day(end), provisional=False, calendar_edition="cn-2026.1"
    )


@given(known_days, st.integers(1, 12))
def test_a_term_ends_on_a_working_day_after_exactly_that_many(published, days):
    end = add_working_days(published, days, TABLE)
    span = [published + n * DAY for n in range(1, (end.date - published).days + 1)]
    assert TABLE.is_working_day(end.date)
    assert sum(map(TABLE.is_working_day, span)) == days


@given(any_days, st.integers(1, 30))
def test_a_longer_term_never_ends_sooner(published, days):
    assert (
        add_working_days(published, days, TABLE).date
        < add_working_days(published, days + 1, TABLE).date
    )


@given(any_days, any_days, st.integers(1, 30))
def test_a_later_publication_never_ends_sooner(one, other, days):
    first, second = sorted((one, other))
    assert add_working_days(first, days, TABLE).date <= add_working_days(second, days, TABLE).date


@given(any_days, st.integers(1, 30))
def test_an_end_is_provisional_exactly_when_it_lies_past_the_table(published, days):
    end = add_working_days(published, days, TABLE)
    assert end.provisional == (end.date > TABLE.known_through)


def test_a_notice_into_an_unpublished_year_is_provisional_and_skips_new_years_day():
    end = add_working_days(day("2026-12-28"), 5, TABLE)
    assert end.date == day("2027-01-05")  # 29, 30, 31, then 4 and 5; 1 January is a holiday
    assert end.provisional


def test_a_notice_that_ends_on_the_last_known_day_is_not_provisional():
    assert not add_working_days(day("2026-12-24"), 5, TABLE).provisional
    assert add_working_days(day("2026-12-24"), 5, TABLE).date == day("2026-12-31")


@pytest.mark.parametrize(
    "holiday", ["2027-01-01", "2028-05-01", "2028-05-02", "2027-10-01", "2029-10-02", "2029-10-03"]
)
def test_fixed_statutory_holidays_are_no_working_days_in_unknown_years(holiday):
    assert not TABLE.is_working_day(day(holiday))


def test_days_before_the_table_are_refused():
    with pytest.raises(CalendarDoesNotReach) as refusal:
        add_working_days(day("2018-12-31"), 5, TABLE)
    assert refusal.value.fields["valid_from"] == day("2019-01-01")
    with pytest.raises(CalendarDoesNotReach):
        TABLE.is_working_day(day("2018-12-31"))


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_term_is_at_least_one_working_day_and_has_a_limit(count):
    with pytest.raises(ValueError):
        add_working_days(day("2026-03-02"), count, TABLE)


@pytest.mark.parametrize("count", [True, 5.0, "5"])
def test_a_term_is_a_whole_number_of_days(count):
    with pytest.raises(TypeError):
        add_working_days(day("2026-03-02"), count, TABLE)


def test_a_datetime_is_not_taken_for_a_date():
    moment = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
    for question in (TABLE.is_working_day, closes_at):
        with pytest.raises(TypeError):
            question(moment)
    with pytest.raises(TypeError):
        publication_deadline(moment, TABLE)
    with pytest.raises(TypeError):
        add_working_days(moment, 5, TABLE)


@pytest.mark.parametrize(
    ("exam_end", "deadline"),
    [
        ("2026-03-18", "2026-04-20"),  # 04-18 is a Saturday
        ("2026-05-13", "2026-06-15"),  # 06-13 is a Saturday
        ("2026-06-09", "2026-07-09"),
        ("2025-12-31", "2026-02-02"),  # 31 January is a Saturday
        ("2025-01-31", "2025-02-28"),  # no 31 February: the month's end
        ("2024-01-31", "2024-02-29"),  # leap year
        ("2026-09-01", "2026-10-08"),  # 国庆 rolls to the first day worked
        ("2026-01-14", "2026-02-14"),  # a Saturday, but worked
        ("2023-12-30", "2024-01-30"),
    ],
)
def test_results_are_due_on_the_corresponding_day_a_month_later(exam_end, deadline):
    assert publication_deadline(day(exam_end), TABLE) == day(deadline)


@given(any_days)
def test_the_deadline_is_a_working_day_and_never_within_the_month(exam_end):
    term = publication_term(exam_end, TABLE)
    assert TABLE.is_working_day(term.date)
    assert (term.date - exam_end).days >= 28
    assert term.date == publication_deadline(exam_end, TABLE)
    assert term.provisional == (term.date > TABLE.known_through)


def test_a_notice_is_open_until_midnight_in_shanghai():
    end = add_working_days(day("2026-09-30"), 5, TABLE)
    assert end.closes_at == dt.datetime(2026, 10, 13, 16, tzinfo=dt.UTC)
    assert shanghai_date(end.closes_at - dt.timedelta(microseconds=1)) == end.date
    assert shanghai_date(end.closes_at) == end.date + DAY


@given(known_days)
def test_the_close_of_a_day_is_the_start_of_the_next_in_shanghai(last_day):
    assert shanghai_date(closes_at(last_day)) == last_day + DAY
    assert shanghai_date(closes_at(last_day) - dt.timedelta(microseconds=1)) == last_day


def test_a_naive_time_has_no_date_in_shanghai():
    with pytest.raises(ValueError):
        shanghai_date(dt.datetime(2026, 3, 1))


def test_a_calendar_edition_can_be_passed_in():
    later = TABLE.model_copy(
        update={
            "edition": "cn-2027.1",
            "known_through": day("2027-12-31"),
            "holidays": TABLE.holidays | {day("2027-01-01"), day("2027-01-04")},
        }
    )
    end = add_working_days(day("2026-12-28"), 5, later)
    assert (end.date, end.provisional) == (day("2027-01-06"), False)
    assert end.calendar_edition == "cn-2027.1"
