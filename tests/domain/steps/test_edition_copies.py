"""What is adopted in the operator's ledger holds in the others too, from the copy on.

Covers: domain/steps/edition_adoption.py, domain/steps/ledger_setup.py, domain/commands.py
"""

from __future__ import annotations

from datetime import date

import pytest

from domain import events as e
from domain.actors import service_actor
from domain.commands import IN_SERVICE, SPECS, NotInThisLedger
from domain.decision import AlreadyExists, LedgerAlreadyOpen, LedgerNotOpen
from domain.editions.contents import check_edition
from domain.editions.edition import EditionKind, MalformedEdition
from domain.states.folds import NoOrganisation
from domain.steps.edition_adoption import ProposeEdition
from domain.steps.refund import SecondPersonNeeded
from tests.support.actors import CERTIFIER, OPERATOR
from tests.support.commands import (
    adopt,
    adopt_edition,
    copy_of,
    fees,
    open_ledger,
    open_service,
    register,
)
from tests.support.editions import calendar_2027, changed, packaged_content
from tests.support.journeys import an_open_ledger
from tests.support.world import World, given

SERVICE = service_actor("copy_edition")
DAY = date(2026, 12, 15)


def the_service_ledger() -> World:
    world = World(name="service")
    world.do(open_service())
    return world


def copied(world: World, proposal: ProposeEdition, position: int = 7) -> World:
    world.do(copy_of(proposal, position), by=SERVICE)
    return world


def in_force(world: World, kind: EditionKind, day: date = DAY) -> list[str]:
    return [each.edition for each in world.editions(kind).in_force(day)]


# --- the operator's ledger ------------------------------------------------------------------------


def test_the_operators_ledger_names_two_operators_and_opens_once() -> None:
    opened = e.ServiceOpened(
        organisation_name="运营方",
        log_origin="example.org/service",
        first="operator-1",
        second="operator-2",
    )
    world = given(World(name="service")).when(open_service(), by=OPERATOR).then(opened)
    given(world).when(open_service("operator-3"), by=OPERATOR).fails(LedgerAlreadyOpen)
    with pytest.raises(NoOrganisation):
        world.ledger().organisation  # noqa: B018


@pytest.mark.parametrize("second", ["operator-1", "OPERATOR-1 ", "ｏperator-1"])
def test_one_person_is_not_both_operators(second: str) -> None:
    given(World(name="service")).when(open_service(second)).fails(SecondPersonNeeded)


def test_nothing_of_an_organisation_is_done_in_the_operators_ledger() -> None:
    for command in (register(), open_ledger(), copy_of(fees())):
        given(the_service_ledger()).when(command).fails(NotInThisLedger, ledger="service")
    given(World()).when(open_service()).fails(NotInThisLedger, ledger="omc")
    assert len(IN_SERVICE) < len(SPECS) / 4


def test_two_persons_adopt_in_the_operators_ledger() -> None:
    world = the_service_ledger()
    world.do(fees(), by=OPERATOR)
    given(world).when(adopt(fees()), by=OPERATOR).fails(SecondPersonNeeded)
    given(world).when(adopt(fees()), by=CERTIFIER).then_kinds(e.EditionAdopted)


# --- copies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(EditionKind))
def test_an_edition_of_every_kind_is_copied_with_its_hash_and_place(kind: EditionKind) -> None:
    proposal = changed(kind, f"{kind.value}-of-all")
    expected = check_edition(kind, proposal.edition, proposal.valid_from, proposal.content)
    world = an_open_ledger()
    when = given(world).when(copy_of(proposal, 7), by=SERVICE)
    [fact] = when.then_kinds(e.EditionCopied).facts(e.EditionCopied)
    assert (fact.sha256, fact.service_position, fact.in_the_way) == (expected.sha256, 7, None)
    assert fact.content == expected.content
    assert f"{kind.value}-of-all" in in_force(copied(world, proposal), kind)


def test_of_a_copy_and_an_own_edition_the_one_that_begins_later_holds() -> None:
    own = calendar_2027("own", date(2026, 12, 10))
    for first, second in ((own, "copy"), ("copy", own)):
        world = an_open_ledger()
        for each in (first, second):
            if isinstance(each, str):
                copied(world, calendar_2027("copied", date(2026, 12, 5)))
            else:
                adopt_edition(world, each)
        assert in_force(world, EditionKind.CALENDAR, date(2026, 12, 8)) == ["copied"]
        assert in_force(world, EditionKind.CALENDAR, date(2026, 12, 15)) == ["own"]


def test_of_two_that_begin_on_one_day_the_later_adopted_or_copied_holds() -> None:
    first = an_open_ledger()
    adopt_edition(first, calendar_2027("own"))
    assert in_force(copied(first, calendar_2027("copied")), EditionKind.CALENDAR) == ["copied"]
    second = copied(an_open_ledger(), calendar_2027("copied"))
    adopt_edition(second, calendar_2027("own"))
    assert in_force(second, EditionKind.CALENDAR) == ["own"]


def test_a_copy_is_made_once() -> None:
    world = copied(an_open_ledger(), calendar_2027())
    again = copy_of(calendar_2027(), position=9)
    given(world).when(again, by=SERVICE).fails(AlreadyExists, what="copied edition")


def test_a_name_that_is_taken_here_sets_the_copy_aside() -> None:
    world = an_open_ledger()
    adopt_edition(world, calendar_2027("cn-2027.1", date(2026, 12, 10)))
    world = copied(world, calendar_2027("cn-2027.1", date(2026, 12, 12)))
    [fact] = world.facts(e.EditionCopied)
    assert fact.in_the_way == "cn-2027.1"
    editions = world.editions(EditionKind.CALENDAR)
    assert [each.valid_from.day for each in editions.adopted] == [10]
    assert [(each.valid_from.day, name) for each, name in editions.set_aside] == [(12, "cn-2027.1")]
    again = copy_of(calendar_2027("cn-2027.1", date(2026, 12, 12)))
    given(world).when(again, by=SERVICE).fails(AlreadyExists)


def test_a_code_that_is_taken_here_sets_the_copy_aside() -> None:
    alias = packaged_content(EditionKind.ELIGIBILITY)["aliases"][0]
    other = changed(EditionKind.ELIGIBILITY, "other", occupation="4-13-04-01", aliases=[alias])
    world = copied(an_open_ledger(), other)
    [fact] = world.facts(e.EditionCopied)
    assert fact.in_the_way is not None
    assert "other" not in in_force(world, EditionKind.ELIGIBILITY)


def test_a_name_that_was_copied_is_not_proposed_here_any_more() -> None:
    world = an_open_ledger()
    world.do(calendar_2027("taken", date(2026, 12, 20)), by=OPERATOR)
    world = copied(world, calendar_2027("taken"))
    assert world.editions(EditionKind.CALENDAR).proposals == {}
    given(world).when(calendar_2027("taken")).fails(AlreadyExists, what="edition")


def test_rules_that_cannot_be_applied_are_not_copied() -> None:
    faulty = changed(EditionKind.CALENDAR, "faulty", known_through="2027-12-31")
    given(an_open_ledger()).when(copy_of(faulty), by=SERVICE).fails(MalformedEdition)
    given(World()).when(copy_of(calendar_2027()), by=SERVICE).fails(LedgerNotOpen)
