"""The background worker does what is due, once, and what is refused holds nothing else up.

Covers: api/worker/outcomes.py
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from api.worker.background_worker import BackgroundWorker
from api.worker.outcomes import LONGEST_PAUSE_S, Outcomes
from api.worker.works import WORKS
from domain.actors import service_actor
from domain.decision import NotFound
from domain.eligibility.qualifications import Qualifications
from domain.service.ledger import Ledgers, LedgerSecrets
from domain.steps.public_notice import ExtendNotice
from domain.store.keys.command_hashes import CommandHasher
from projections.worklist.queries import WorkItem
from tests.projections.grammar import ProjectedLedger
from tests.support.actors import ASSISTANT, CERTIFIER, OPERATOR, candidate
from tests.support.commands import adopt, apply_for, erase, open_ledger, register
from tests.support.editions import calendar_2027
from tests.support.keys import COMMAND_KEY, IDEMPOTENCY_KEY
from tests.support.ledgers import SECRETS, PostgresWorld, submit
from tests.support.provisional_notices import (
    BEYOND_EVERY_CALENDAR,
    CLOSES_AT,
    LAST_DAY,
    closed,
    opened,
)
from tests.support.waiting import wait_until

EXTENDED, CONTINUED = "public_notice_extended.v1", "erasure_continued.v1"
CALENDAR = calendar_2027(valid_from=date(2026, 11, 1))


@contextmanager
def working(dsn: str, **given: Any) -> Iterator[BackgroundWorker]:
    ledgers = Ledgers(dsn, SECRETS)
    with BackgroundWorker(dsn, ledgers, **({"poll_seconds": 0.1} | given)) as worker:
        yield worker
    ledgers.close()


def corrections(ledger: ProjectedLedger) -> list[tuple[str, dict[str, Any]]]:
    """(notice, envelope) of every correction of an end."""
    return [
        (event.stream.removeprefix("notice-"), event.parsed)
        for event in ledger.journal.read(0, 10_000)
        if event.topic == EXTENDED
    ]


def test_a_provisional_end_is_corrected_by_the_service(ledger: ProjectedLedger, dsn: str) -> None:
    ledger.write(opened("N1"))
    with working(dsn):
        wait_until(lambda: corrections(ledger))
    [(notice, envelope)] = corrections(ledger)
    assert notice == "N1"
    assert envelope["data"]["ends_on"] == str(LAST_DAY)
    assert envelope["actor"] == service_actor("extend_notice").to_envelope()


def test_a_notice_is_corrected_when_the_calendar_is_adopted(
    ledger: ProjectedLedger, dsn: str
) -> None:
    """Long before its provisional end. Source: source-document 5.1."""
    published, provisional = date(2027, 9, 30), date(2027, 10, 8)
    ledger.write(opened("N1", published, ends_on=provisional))
    ledgers = Ledgers(dsn, SECRETS)
    omc = ledgers.get("omc")
    submit(omc, open_ledger(), OPERATOR, key="open")
    with working(dsn) as worker:
        wait_until(lambda: worker.locked_ledgers == {"omc"})
        submit(omc, CALENDAR, OPERATOR, key="propose")
        assert corrections(ledger) == []
        submit(omc, adopt(CALENDAR), CERTIFIER, key="adopt")
        wait_until(lambda: corrections(ledger))
    ledgers.close()
    [(notice, envelope)] = corrections(ledger)
    assert (notice, envelope["data"]["calendar_edition"]) == ("N1", "cn-2027.1")
    assert envelope["data"]["ends_on"] == "2027-10-14"
    assert envelope["actor"] == service_actor("extend_notice").to_envelope()


def test_what_was_kept_of_an_erased_person_goes_on_its_day_and_once(
    ledger: ProjectedLedger, dsn: str
) -> None:
    """The application was refused in 2019, so its records were kept until 2024."""
    ledgers = Ledgers(dsn, SECRETS)
    world = PostgresWorld(ledgers.get("omc"))
    world.now = datetime(2019, 5, 6, 1, 0, tzinfo=UTC)
    for command, by in (
        (open_ledger(), OPERATOR),
        (register(), ASSISTANT),
        (apply_for(qualifications=Qualifications()), candidate(1)),
    ):
        world.do(command, by=by)
    erase(world)
    assert world.ledger.identity("P1")
    with working(dsn) as worker:
        wait_until(lambda: world.ledger.state("person", "P1").is_unknown)
        wait_until(lambda: worker.refused("omc", "continue_erasure") == (0, None))
    continued = [e.parsed for e in ledger.journal.read(0, 100) if e.topic == CONTINUED]
    [only] = continued
    assert only["actor"] == service_actor("continue_erasure").to_envelope()
    assert only["data"]["destroyed"] == ["identity", "statements"]
    with pytest.raises(NotFound):
        world.ledger.identity("P1")
    ledgers.close()


def test_what_becomes_due_while_it_works_is_done_too(ledger: ProjectedLedger, dsn: str) -> None:
    with working(dsn) as worker:
        wait_until(lambda: worker.locked_ledgers == {"omc"})
        ledger.write(*(opened(f"N{number}") for number in range(1, 251)))
        wait_until(lambda: len(corrections(ledger)) == 250)
    assert len({notice for notice, _ in corrections(ledger)}) == 250


def test_a_ledger_that_is_opened_later_is_worked_on_too(ledger: ProjectedLedger, dsn: str) -> None:
    with working(dsn) as worker:
        wait_until(lambda: worker.locked_ledgers == {"omc"})
        other = ProjectedLedger(dsn, "other")
        other.write(opened("N1"))
        wait_until(lambda: corrections(other))
    other.close()


def test_nothing_is_done_twice_while_the_worklist_does_not_follow(dsn: str) -> None:
    """Without a runner the item stays due; it is not submitted again and again."""
    ledger = ProjectedLedger(dsn)
    ledger.write(opened("N1"), opened("N2"))
    ledger.fold()
    with working(dsn) as worker:
        wait_until(lambda: len(corrections(ledger)) == 2)
        other = ProjectedLedger(dsn, "other")
        other.write(opened("N9"))
        other.fold()
        wait_until(lambda: corrections(other))  # rounds go on
        assert worker.refused("omc", "extend_notice") == (0, None)
    assert len(corrections(ledger)) == 2
    other.close()
    ledger.close()


ROTATED = replace(
    SECRETS, hasher=CommandHasher(bytes(range(7, 39)), IDEMPOTENCY_KEY, (COMMAND_KEY,))
)
"""The keys of the tests after the one for request hashes was replaced."""


@pytest.mark.parametrize("secrets", [SECRETS, ROTATED], ids=["same keys", "rotated keys"])
def test_another_process_that_comes_second_gets_the_first_receipt(
    ledger: ProjectedLedger, dsn: str, secrets: LedgerSecrets
) -> None:
    """As after a kill between the commit and whatever the first process does next."""
    ledger.write(opened("N1"))
    with working(dsn):
        wait_until(lambda: corrections(ledger))
    item = WorkItem("omc", "N1", 1, CLOSES_AT, 0)
    ledgers = Ledgers(dsn, secrets)
    second = BackgroundWorker(dsn, ledgers)
    receipt = second.submit(WORKS[0], item).result(20)
    ledgers.close()
    assert receipt.replayed
    assert len(corrections(ledger)) == 1


# --- what is refused ------------------------------------------------------------------------------


def test_a_refused_item_is_reported_and_holds_nothing_else_up(
    ledger: ProjectedLedger, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.write(opened("N1", published_on=BEYOND_EVERY_CALENDAR))
    with caplog.at_level(logging.WARNING, "certledger.work"), working(dsn, batch=1) as worker:
        wait_until(lambda: worker.refused("omc", "extend_notice")[0] == 1)
        ledger.write(opened("N2"), opened("N3"))
        wait_until(lambda: len(corrections(ledger)) == 2)
        assert worker.refused("omc", "extend_notice") == (1, "notice_end_provisional")
    assert {notice for notice, _ in corrections(ledger)} == {"N2", "N3"}
    assert "extend_notice of N1" in caplog.text
    assert "notice_end_provisional" in caplog.text


def test_a_refused_item_is_forgotten_once_it_is_not_due_any_more(
    ledger: ProjectedLedger, dsn: str
) -> None:
    ledger.write(opened("N1", published_on=BEYOND_EVERY_CALENDAR))
    with working(dsn) as worker:
        wait_until(lambda: worker.refused("omc", "extend_notice")[0] == 1)
        ledger.write(closed("N1"))
        wait_until(lambda: worker.refused("omc", "extend_notice") == (0, None))
    assert corrections(ledger) == []


def test_an_end_that_a_person_corrected_meanwhile_is_left_alone(
    ledger: ProjectedLedger, dsn: str
) -> None:
    ledger.write(opened("N1"))
    ledgers = Ledgers(dsn, SECRETS)
    submit(ledgers.get("omc"), ExtendNotice(notice_id="N1"), by=CERTIFIER, key="k1")
    ledgers.close()
    with working(dsn) as worker:
        wait_until(lambda: worker.locked_ledgers == {"omc"})
        ledger.write(opened("N2"))
        wait_until(lambda: len(corrections(ledger)) == 2)
    actors = {notice: envelope["actor"]["role"] for notice, envelope in corrections(ledger)}
    assert actors == {"N1": "certifier", "N2": "service"}


# --- what it remembers ----------------------------------------------------------------------------

N1 = WorkItem("omc", "N1", 1, CLOSES_AT, 5)


def test_the_pause_doubles_with_each_refusal_up_to_a_limit() -> None:
    outcomes = Outcomes()
    pauses = [outcomes.refuse("w", N1.key, "no") for _ in range(12)]
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert outcomes.resting("w") == [N1.key]
    assert outcomes.resting("another work") == []
    assert outcomes.refused("omc", "w") == (1, "no")


def test_what_is_done_rests_until_the_worklist_has_come_that_far() -> None:
    outcomes = Outcomes()
    outcomes.refuse("w", N1.key, "no")
    outcomes.done("w", N1.key, position=9)
    omc = frozenset({"omc"})
    assert outcomes.refused("omc", "w") == (0, None)
    assert outcomes.open("w", [N1], omc) == []
    assert outcomes.open("w", [N1._replace(folded=9)], omc) == [N1._replace(folded=9)]


def test_what_the_worklist_does_not_list_any_more_is_forgotten() -> None:
    outcomes = Outcomes()
    outcomes.done("w", N1.key, position=9)
    assert outcomes.open("w", [], frozenset({"other"})) == []
    assert outcomes.open("w", [N1], frozenset({"omc"})) == []
    assert outcomes.open("w", [], frozenset({"omc"})) == []
    assert outcomes.open("w", [N1], frozenset({"omc"})) == [N1]
