"""Which edition holds on a day."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.editions.edition import EditionKind, make_edition
from domain.editions.packaged import packaged_editions
from domain.eligibility.rule_sets import UnknownRuleSet, rule_set_for
from domain.states.editions import (
    Editions,
    calendar_on,
    document_rules_on,
    fees_on,
    occupations,
    rule_set_on,
)
from tests.support.commands import OCCUPATION
from tests.support.editions import packaged_content

DAY = date(2026, 6, 1)
days = st.dates(min_value=DAY, max_value=DAY + timedelta(days=6))


def edition(kind: EditionKind, called: str, day: date, **content):
    return make_edition(kind, called, day, packaged_content(kind) | content)


@given(st.lists(days, max_size=6), days)
def test_the_edition_with_the_latest_first_day_that_has_come_holds(first_days, asked):
    """Of two with the same first day, the one adopted later."""
    editions = Editions(
        EditionKind.FEES,
        tuple(edition(EditionKind.FEES, f"f{n}", day) for n, day in enumerate(first_days)),
    )
    begun = sorted((day, n) for n, day in enumerate(first_days) if day <= asked)
    expected = f"f{begun[-1][1]}" if begun else "fees-none"
    assert [each.edition for each in editions.in_force(asked)] == [expected]


@pytest.mark.parametrize("kind", list(EditionKind))
def test_without_any_adoption_the_packaged_editions_hold_on_every_day(kind):
    for day in (date.min, DAY, date.max):
        assert Editions(kind).in_force(day) == packaged_editions(kind)


def test_rules_of_one_occupation_leave_the_others_alone():
    """Source: source-document 1.2."""
    kind = EditionKind.ELIGIBILITY
    newer = edition(kind, "4-01-02-07-2021.2", DAY, version=2, name="互联网营销师(修订)")
    other = edition(kind, "4-13-04-01-2026.1", DAY, occupation="4-13-04-01", aliases=[])
    editions = Editions(kind, (newer, other))
    assert rule_set_on(editions, OCCUPATION, "2021", DAY).version == 2
    assert rule_set_on(editions, OCCUPATION, "2021", DAY - timedelta(days=1)).version == 1
    assert rule_set_on(editions, OCCUPATION, "2021", DAY).digest == newer.sha256
    assert rule_set_on(editions, "4-13-04-01", "2021", DAY).digest == other.sha256
    general = rule_set_on(editions, "general", "G2023", DAY)
    assert general.model_dump(exclude={"digest"}) == rule_set_for("general", "G2023").model_dump(
        exclude={"digest"}
    )
    assert occupations(editions) == (OCCUPATION, "general", "4-13-04-01")


def test_an_occupation_is_found_by_its_later_code_too():
    """Source: source-document 3.2(1)."""
    editions = Editions(EditionKind.ELIGIBILITY)
    found = rule_set_on(editions, "4-01-06-02", "2021", DAY)
    assert found is rule_set_on(editions, OCCUPATION, "2021", DAY)
    for unknown in (("4-01-06-02", "1999"), ("4-13-04-01", "2021")):
        with pytest.raises(UnknownRuleSet):
            rule_set_on(editions, *unknown, DAY)


def test_the_rules_of_a_day_are_read_from_the_edition_that_holds():
    posting = edition(EditionKind.CALENDAR, "cn-test.1", DAY, known_through="2026-12-31")
    calendars = Editions(EditionKind.CALENDAR, (posting,))
    assert calendar_on(calendars, DAY).edition == "cn-test.1"
    assert calendar_on(calendars, DAY - timedelta(days=1)).edition == "cn-2026.1"
    rules = document_rules_on(Editions(EditionKind.DOCUMENTS), DAY)
    assert rules.photo_age_months_max == 6
    assert fees_on(Editions(EditionKind.FEES), DAY).fees == ()
