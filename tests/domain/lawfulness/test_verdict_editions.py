"""What was decided is judged under the edition of rules that held when it was decided."""

from __future__ import annotations

from datetime import date

import pytest

from domain import events as e
from domain.lawfulness.verdict import Unlawful
from tests.domain.lawfulness.test_verdict import altered, inserted, recorded, the_finding
from tests.support import journeys
from tests.support.actors import CERTIFIER, OPERATOR, staff
from tests.support.commands import PASSED, adopt, adopt_edition, publish, set_fees, when
from tests.support.editions import calendar_2027
from tests.support.recorded_histories import RecordingWorld, judged
from tests.support.world import World


@pytest.fixture(autouse=True)
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every journey keeps what its commands record."""
    monkeypatch.setattr(journeys, "World", RecordingWorld)


def a_notice_under_the_next_calendar() -> World:
    world = journeys.verified_scores(PASSED)
    adopt_edition(world, calendar_2027())
    world.do(publish(late_reason="考点改期"), at=when("2026-12-28 10:00"))
    return world


def found(world: World) -> list[Unlawful]:
    return list(judged(recorded(world).commands).unlawful)


def test_a_notice_is_judged_by_the_calendar_that_was_adopted_before_it():
    """Source: source-document 5.1."""
    assert found(a_notice_under_the_next_calendar()) == []


def test_an_edition_that_is_adopted_later_changes_no_verdict():
    world = journeys.a_paid_application()
    set_fees(world, edition="fees-2", certification_fee_fen=1)
    adopt_edition(world, calendar_2027(valid_from=date(2026, 1, 1)))
    assert found(world) == []


def test_a_notice_counted_by_a_calendar_that_did_not_hold_is_named():
    """Source: source-document 5.1."""
    world = a_notice_under_the_next_calendar()

    def older(event: dict) -> None:
        event["data"]["calendar_edition"] = "cn-2026.1"

    finding = the_finding(altered(world, e.PublicNoticeOpened.TOPIC, older))
    assert finding.topic == e.PublicNoticeOpened.TOPIC
    assert "calendar_edition was decided otherwise" in finding.reason


def adopted(proposal: e.EditionProposed) -> e.EditionAdopted:
    return e.EditionAdopted(**proposal.model_dump())


def test_an_edition_that_one_person_adopted_alone_is_named():
    world = journeys.an_open_ledger()
    world.do(calendar_2027(), by=OPERATOR)
    (_, proposal) = world.facts(e.EditionProposed)
    assert isinstance(proposal, e.EditionProposed)
    same = staff(OPERATOR.subject.upper(), CERTIFIER.role, "omc")
    finding = inserted(world, adopted(proposal), by=same)
    assert "second_person_needed" in finding.reason


def test_an_edition_that_nobody_proposed_is_named():
    world = journeys.an_open_ledger()
    command = calendar_2027()
    proposal = e.EditionProposed(**command.model_dump(), sha256=adopt(command).sha256)
    finding = inserted(world, adopted(proposal), by=CERTIFIER)
    assert "not_found" in finding.reason


def test_an_edition_whose_hash_is_not_that_of_its_content_is_named():
    world = journeys.an_open_ledger()
    command = calendar_2027()
    proposal = e.EditionProposed(**command.model_dump(), sha256="0" * 64)
    finding = inserted(world, proposal, by=OPERATOR)
    assert "sha256 was decided otherwise" in finding.reason
