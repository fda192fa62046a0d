"""Rows that belong to the last events, altered while two services run on the database.

One service signs; the other has no log key. Both compare the commands and logins of the last events
every second, and stop. What is found of earlier events is in `test_tampering_live.py`.
Covers: domain/service/tail_check.py, api/transparency/checkpoint_signing.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.consistency.live_ledger import (
    FEES_PATH,
    PATIENCE_S,
    LiveLedger,
    another_on,
)
from tests.support.rolled_back import fees_from, problems, refusal
from tests.support.service import LedgerClient
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SET, DROP = "UPDATE", "DELETE FROM"  # apart, because no file may change the journal


@pytest.fixture
def other(live: LiveLedger, tmp_path: Path) -> Iterator[LedgerClient]:
    """A second service, which has compared the ledger once."""
    with another_on(live, tmp_path / "other") as client:
        yield client


class Case(NamedTuple):
    """One tampering. statement: of the last command, and of {actor} who sent it."""

    who: str
    statement: str
    named_by: str


LAST = "last_position = (SELECT max(last_position) FROM certledger.commands)"
COPIED = "request_hash, command_id, first_position, last_position, receipt, seal, seal_key"
CANDIDATE = (
    "(SELECT min(pseudonym) FROM certledger.logins WHERE pseudonym IN (SELECT "
    "convert_from(envelope, 'UTF8')::json -> 'actor' ->> 'subject' FROM certledger.journal "
    "WHERE position > (SELECT max(position) - 2000 FROM certledger.journal) AND "
    "convert_from(envelope, 'UTF8')::json -> 'actor' ->> 'role' = 'candidate'))"
)
CASES = {
    "a command deleted": Case("superuser", f"{DROP} certledger.commands WHERE {LAST}", "commands"),
    "a receipt rewritten": Case(
        "superuser",
        f"{SET} certledger.commands SET receipt = convert_to(replace(convert_from(receipt, "
        f"'UTF8'), '\"version\":', '\"version\":1'), 'UTF8') WHERE {LAST}",
        "commands",
    ),
    "a command for events of another": Case(
        "superuser",
        f"{SET} certledger.commands SET first_position = first_position - 1 WHERE {LAST}",
        "commands",
    ),
    "a command planted": Case(
        "application",
        "INSERT INTO certledger.commands (ledger, principal, key, " + COPIED + ") SELECT ledger, "
        f"principal, reverse(key), {COPIED} FROM certledger.commands WHERE {LAST}",
        "commands",
    ),
    "a login of staff deleted": Case(
        "superuser", f"{DROP} certledger.logins WHERE pseudonym = '{{actor}}'", "logins"
    ),
    "a login of staff given to another": Case(
        "superuser",
        f"{SET} certledger.logins SET mac = sha256(mac) WHERE pseudonym = '{{actor}}'",
        "logins",
    ),
    "a login of staff planted": Case(
        "application",
        "INSERT INTO certledger.logins SELECT ledger, '00000000.1', sha256(mac), pseudonym, "
        "seal, seal_key FROM certledger.logins WHERE pseudonym = '{actor}'",
        "logins",
    ),
    "a candidate's login deleted": Case(
        "superuser", f"{DROP} certledger.logins WHERE pseudonym = {CANDIDATE}", "logins"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_row_of_the_last_events_stops_the_ledger_in_every_service(
    live: LiveLedger, other: LedgerClient, case: Case
) -> None:
    assert live.refusal() is None
    assert refusal(other) is None
    live.refusal(2)
    live.wait_for_head()
    assert live.problems() == problems(other) == set()
    before = live.heads()
    [last] = live.reader.journal.read(len(live.leaves) - 1, 1)
    run = live.copy.as_superuser if case.who == "superuser" else live.copy.as_application
    run(case.statement.format(actor=last.parsed["actor"]["subject"]))
    for service in (live.api, other):
        wait_until(lambda at=service: problems(at) == {"log_not_continued"}, PATIENCE_S)
        assert refusal(service) == "log_not_continued"
    assert live.heads() == before
    assert live.code("events?limit=1", "regulator") == (200, None), "reads go on"
    assert case.named_by in {each.check for each in live.audit().findings}
    live.restart()
    assert live.refusal(3) == "log_not_continued"
    assert live.heads() == before


def test_a_request_whose_command_was_deleted_is_not_recorded_again(live: LiveLedger) -> None:
    operator = live.api.caller("operator")
    body = fees_from("2027-02-01")
    assert operator.send(FEES_PATH, body, key="the-same").status_code == 201
    size = live.reader.journal.head().position
    live.copy.as_superuser(f"{DROP} certledger.commands WHERE {LAST}")
    live.wait_for_problem("log_not_continued")
    again = operator.send(FEES_PATH, body, key="the-same")
    assert (again.status_code, again.json()["code"]) == (503, "log_not_continued")
    assert live.reader.journal.head().position == size


def test_rows_that_are_put_back_from_a_backup_are_good_again(live: LiveLedger) -> None:
    """Their seals say so; the service has to be started again."""
    assert live.refusal() is None
    live.wait_for_head()
    live.copy.as_superuser(
        f"CREATE TABLE backup AS SELECT * FROM certledger.commands WHERE {LAST}",
        f"{DROP} certledger.commands WHERE {LAST}",
    )
    live.wait_for_problem("log_not_continued")
    live.copy.as_superuser("INSERT INTO certledger.commands SELECT * FROM backup")
    live.restart()
    assert live.refusal(2) is None
    live.wait_for_head()
    assert live.problems() == set()
    assert live.audit().is_good
