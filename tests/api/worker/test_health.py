"""What `/health` says about due work, by whichever service it should be done.

Covers: api/routes/health.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from api.routes.health import HealthBody
from api.worker.works import WORKS
from domain.actors import service_actor
from domain.store.journal.records import AppendRequest, CommandKey, NewEvent
from domain.values.working_days import shanghai_date
from tests.support.keys import journal_of
from tests.support.postgres import Database
from tests.support.provisional_notices import (
    BEYOND_EVERY_CALENDAR,
    LAST_DAY,
    opened,
)
from tests.support.service import LedgerClient, new_ledger, running, settings_for
from tests.support.source import ROOT
from tests.support.waiting import wait_until


@contextmanager
def served(database: Database, folder: Path, **given: Any) -> Iterator[httpx.Client]:
    settings = settings_for(database.dsn, folder, **given)
    with running(settings) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def write(database: Database, ledger: LedgerClient, *drafts: NewEvent) -> None:
    """Record facts as the service's own, each by a command."""
    actor = service_actor("extend_notice")
    journal = journal_of(database.dsn, ledger.name)
    with journal.transaction() as transaction:
        for each in drafts:
            key = CommandKey(actor.subject, str(each.event_id), bytes(40), each.command_id)
            event = replace(each, actor=actor.to_envelope())
            transaction.append([AppendRequest((event,), command=key, receipt=lambda _: b"{}")])
    journal.close()


def yesterday() -> date:
    return shanghai_date(datetime.now(UTC)) - timedelta(days=1)


def health(client: httpx.Client) -> dict[str, Any]:
    return dict(client.get("/health").json())


def overdue(client: httpx.Client) -> list[dict[str, Any]]:
    return [each for each in health(client)["problems"] if each["code"] == "work_overdue"]


def test_a_service_corrects_a_provisional_end_and_health_says_when(
    database: Database, tmp_path: Path
) -> None:
    with served(database, tmp_path) as client:
        ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
        wait_until(lambda: health(client)["worker"] == "working")
        assert health(client)["work"] == []
        write(database, ledger, opened("N1"))
        wait_until(lambda: any(row["last_done_at"] for row in health(client)["work"]))
        [row] = health(client)["work"]
        wait_until(lambda: health(client)["work"][0]["due"] == 0)
        assert (row["ledger"], row["work"]) == (ledger.name, "extend_notice")
        notice = ledger.stranger.read("notices/N1")["notice"]
        assert notice["ends_on"] == str(LAST_DAY)
        assert not notice["ends_on_is_provisional"]
        assert overdue(client) == []


def test_overdue_work_is_a_problem_until_some_service_does_it(
    database: Database, tmp_path: Path
) -> None:
    with served(database, tmp_path, work=False, work_overdue_s=1) as idle:
        ledger = new_ledger(idle, "2026-03-01T08:00:00+08:00")
        write(database, ledger, opened("N1"), opened("N2"))
        wait_until(lambda: overdue(idle))
        [problem] = overdue(idle)
        assert (problem["ledger"], problem["count"]) == (ledger.name, 2)
        assert problem["since"] == "2026-03-06T16:00:00.000000Z"
        body = health(idle)
        assert (body["status"], body["worker"]) == ("degraded", "off")
        [row] = body["work"]
        assert (row["due"], row["overdue"], row["refused"]) == (2, 2, 0)
        assert row["oldest_due_s"] > 86_400
        with served(database, tmp_path, work_overdue_s=1):
            wait_until(lambda: not overdue(idle))
        assert health(idle)["work"][0]["last_done_at"] is not None


def test_work_that_is_due_is_not_overdue_yet(database: Database, tmp_path: Path) -> None:
    with served(database, tmp_path, work=False, work_overdue_s=30 * 86_400) as client:
        ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
        write(database, ledger, opened("N1", ends_on=yesterday()))
        wait_until(lambda: health(client)["work"])
        [row] = health(client)["work"]
        assert (row["due"], row["overdue"]) == (1, 0)
        assert overdue(client) == []


def test_a_refusal_shows_with_its_code(database: Database, tmp_path: Path) -> None:
    with served(database, tmp_path, work_overdue_s=1) as client:
        ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
        write(database, ledger, opened("N1", published_on=BEYOND_EVERY_CALENDAR))
        wait_until(lambda: any(row["refused"] for row in health(client)["work"]))
        [row] = health(client)["work"]
        assert (row["due"], row["refused"]) == (1, 1)
        assert row["refusal"] == "notice_end_provisional"
        assert overdue(client)[0]["count"] == 1


def test_the_description_of_health_names_every_work_and_every_check() -> None:
    described = HealthBody.model_json_schema()["$defs"]
    work = described["WorkHealth"]["properties"]["work"]["description"]
    assert set(re.findall(r"\w+_\w+", work)) == {each.name for each in WORKS}
    check = described["AuditFindingHealth"]["properties"]["check"]["description"]
    source = "".join(path.read_text() for path in (ROOT / "domain" / "audit").glob("*_check.py"))
    assert set(re.findall(r'CheckResult\("([a-z ]+)"\)', source)) <= set(check.split(", "))
