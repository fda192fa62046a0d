"""What two persons adopt in the operator's ledger is copied into every other one, once.

Covers: api/worker/works.py, projections/worklist/queries.py
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from api.worker.background_worker import BackgroundWorker
from domain.actors import service_actor
from domain.editions.edition import EditionKind
from domain.service.ledger import Ledger, Ledgers
from domain.steps.edition_adoption import ProposeEdition
from projections.worklist import queries
from projections.worklist.view import COPY_EDITION
from tests.projections.grammar import ProjectedLedger
from tests.support.actors import CERTIFIER, OPERATOR
from tests.support.background_workers import working as working_process
from tests.support.commands import adopt, open_ledger, open_service
from tests.support.editions import changed
from tests.support.ledgers import SECRETS, submit
from tests.support.waiting import wait_until

COPIED = "edition_copied.v1"
OTHERS = ("omc", "second")
KINDS = list(EditionKind)


@pytest.fixture
def ledgers(ledger: ProjectedLedger, dsn: str) -> Iterator[Ledgers]:
    """The operator's ledger and two others, all open; their views are followed."""
    found = Ledgers(dsn, SECRETS)
    submit(found.create_service(), open_service(), OPERATOR, key="open")
    for number, name in enumerate(OTHERS):
        open_one(found, name, number)
    yield found
    found.close()


def open_one(ledgers: Ledgers, name: str, number: int) -> Ledger:
    site = f"S00003300012{number}"
    opened = ledgers.create(name, site)
    command = open_ledger(site_code=site, log_origin=f"example.org/{name}")
    submit(opened, command, OPERATOR, key="open")
    return opened


def adopt_all(ledgers: Ledgers, kinds: list[EditionKind] = KINDS) -> dict[str, int]:
    """An edition of each kind is adopted by two persons. Returns: its name and position."""
    service, positions = ledgers.get("service"), {}
    for kind in kinds:
        proposal: ProposeEdition = changed(kind, f"{kind.value}-of-all")
        submit(service, proposal, OPERATOR, key=f"propose {kind}")
        receipt = submit(service, adopt(proposal), CERTIFIER, key=f"adopt {kind}")
        positions[proposal.edition] = receipt.first_position
    return positions


@contextmanager
def working(dsn: str, ledgers: Ledgers) -> Iterator[BackgroundWorker]:
    with BackgroundWorker(dsn, ledgers, poll_seconds=0.1) as worker:
        yield worker


def copies(ledgers: Ledgers, name: str) -> list[dict[str, Any]]:
    """The envelopes of a ledger's copies, in order."""
    found = ledgers.get(name).journal.read(0, 10_000)
    return [event.parsed for event in found if event.topic == COPIED]


def backlog(ledger: ProjectedLedger, names: tuple[str, ...] = OTHERS) -> list[dict[str, Any]]:
    later = datetime.now(UTC) + timedelta(hours=1)
    with ledger.cursor() as cursor:
        return queries.backlog(cursor, list(names), later, later)


def test_an_edition_of_every_kind_is_copied_into_every_ledger(
    ledger: ProjectedLedger, dsn: str, ledgers: Ledgers
) -> None:
    adopted = adopt_all(ledgers)
    with working(dsn, ledgers):
        wait_until(lambda: all(len(copies(ledgers, name)) == len(KINDS) for name in OTHERS))
        wait_until(lambda: all(row["due"] == 0 for row in backlog(ledger)))
    for name in OTHERS:
        found = copies(ledgers, name)
        positions = {each["data"]["edition"]: each["data"]["service_position"] for each in found}
        assert positions == adopted
        assert {each["actor"]["subject"] for each in found} == {"certledger/copy_edition"}
        for kind in KINDS:
            in_force = ledgers.get(name).editions(kind).in_force(date(2026, 12, 15))
            assert f"{kind.value}-of-all" in [each.edition for each in in_force]
    assert copies(ledgers, "service") == []
    assert found[0]["actor"] == service_actor(COPY_EDITION).to_envelope()


def test_a_ledger_that_opens_later_gets_what_was_adopted_before(
    ledger: ProjectedLedger, dsn: str, ledgers: Ledgers
) -> None:
    adopt_all(ledgers, [EditionKind.CALENDAR, EditionKind.FEES])
    with working(dsn, ledgers):
        wait_until(lambda: len(copies(ledgers, "omc")) == 2)
        open_one(ledgers, "third", 2)
        wait_until(lambda: len(copies(ledgers, "third")) == 2)
    names = [each["data"]["edition"] for each in copies(ledgers, "third")]
    assert names == ["calendar-of-all", "fees-of-all"], "in the order of their adoption"


def test_what_is_not_copied_yet_is_overdue_in_every_ledger_but_the_operators(
    ledger: ProjectedLedger, ledgers: Ledgers
) -> None:
    adopt_all(ledgers, [EditionKind.CALENDAR])
    names = ("omc", "second", "service")
    wait_until(lambda: len(backlog(ledger, names)) == len(OTHERS))
    rows = {row["ledger"]: row for row in backlog(ledger, names)}
    assert set(rows) == set(OTHERS)
    for row in rows.values():
        assert (row["work"], row["due"], row["overdue"]) == (COPY_EDITION, 1, 1)


def test_an_edition_that_nobody_adopted_is_not_copied_because_a_table_says_so(
    ledger: ProjectedLedger, dsn: str, ledgers: Ledgers
) -> None:
    ledger.execute(
        "INSERT INTO views.worklist_adopted (ledger, sha256, edition_kind, adopted_at, position) "
        "VALUES ('service', %s, 'calendar', now(), 1)",
        ("0" * 64,),
    )
    with working(dsn, ledgers) as worker:
        wait_until(lambda: worker.refused("omc", COPY_EDITION) == (1, "not_found"))
    assert copies(ledgers, "omc") == []


@pytest.mark.slow
def test_a_worker_that_is_killed_again_and_again_copies_everything_once(
    ledger: ProjectedLedger, dsn: str, ledgers: Ledgers
) -> None:
    rng = random.Random(5)
    adopt_all(ledgers)
    lives = 0
    while (count := sum(len(copies(ledgers, name)) for name in OTHERS)) < len(KINDS) * 2:
        wanted = min(len(KINDS) * 2, count + rng.randint(1, 3))
        worker = working_process(dsn, COPY_EDITION)
        try:
            wait_until(lambda n=wanted: sum(len(copies(ledgers, name)) for name in OTHERS) >= n)
        finally:
            os.kill(worker.process.pid, signal.SIGKILL)
            worker.kill()
        lives += 1
    assert lives > 1
    for name in OTHERS:
        found = Counter(each["data"]["edition"] for each in copies(ledgers, name))
        assert found == {f"{kind.value}-of-all": 1 for kind in KINDS}
