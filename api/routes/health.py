"""Health and readiness.

`/health` answers from the last snapshot of a background task, so it never waits for a database that
does not respond. `/ready` is 200 only while commands can be recorded.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.errors.request import DatabaseUnreachable, ViewBeingMade
from api.http.context import AppContext, HealthSnapshot
from api.http.dependencies import json_response
from api.http.routing import problems, router
from api.transparency.audit_state import AuditListener
from api.worker.background_worker import BackgroundWorker
from api.worker.key_renewal_job import count_overdue
from api.worker.works import WORKS
from domain.store.errors import ErasuresMissing, LogNotContinued
from domain.values.primitives import format_instant
from projections.engine.failures import SEAL_MISSING, VIEW_WRONG
from projections.engine.health import ViewState
from projections.worklist.queries import backlog

routes = router("服务 · Service", prefix="")

CHECK_EVERY_S = 2.0
"""Time between two snapshots, seconds."""


class ViewHealth(BaseModel):
    """One view of one ledger."""

    ledger: str
    view: str
    state: str = Field(description="following, paused, rebuilding, outdated")
    position: int
    lag: int = Field(description="events that are not folded yet")
    failing_position: int | None = Field(description="event at which it is paused")
    failing_topic: str | None
    failing_code: str | None = Field(description="seal_missing if that event has no right seal")


class ProblemHealth(BaseModel):
    """One thing that is wrong."""

    code: str = Field(
        description="log_not_continued, erasures_missing, seal_missing, wrong_key:<purpose>, "
        "head_place_silent, view_wrong:<view>, view_paused:<view>, database_unreachable, "
        "disk_full, clock_uncertain, clock_unwitnessed or work_overdue"
    )
    ledger: str | None
    view: str | None
    position: int | None = Field(description="the event it is about")
    since: str | None = Field(
        description="when it was found, RFC 3339; of work_overdue: since when the oldest is due; "
        "null if not known"
    )
    count: int | None = Field(
        description="of work_overdue: how much is overdue; without a "
        "ledger, how many epochs are over and still have a key"
    )


class AuditFindingHealth(BaseModel):
    """One thing that the audit found; the log of the service says what it is."""

    check: str = Field(
        description="events, heads, erasures, commands, claims, bucket keys, keys, person claims, "
        "logins, snapshots, attachments, lawfulness, views, definitions"
    )
    ledger: str | None
    position: int | None = Field(description="the event it is about")
    row: str | None = Field(description="the row or table it is about, without ids of persons")


class AuditHealth(BaseModel):
    """How far the background audit is."""

    running: bool = Field(description="whether a service of this database audits")
    round: int
    position: int = Field(description="events that this round has checked")
    of: int = Field(description="events there were at its start")
    started_at: str | None
    last_complete_at: str | None
    found: int
    findings: list[AuditFindingHealth] = Field(description="the first 20")


class WorkHealth(BaseModel):
    """One kind of work of one ledger that is due, or that the service did by itself."""

    ledger: str
    work: str = Field(description=" or ".join(work.name for work in WORKS))
    due: int = Field(ge=0, description="how much is due")
    overdue: int = Field(ge=0, description="how much is due for longer than work_overdue_s")
    oldest_due_s: float | None = Field(description="how long the oldest has been due, seconds")
    last_done_at: str | None = Field(description="when the service last did some, RFC 3339")
    refused: int = Field(ge=0, description="how much of it this service tried and could not do")
    refusal: str | None = Field(description="code of the last refusal")


class HealthBody(BaseModel):
    """How the service is, as of `seen_s_ago` seconds ago."""

    status: str = Field(
        description="ok, or degraded: the database, a view or what keeps them is not well"
    )
    database: str = Field(description="ok or unreachable")
    seen_s_ago: float | None = Field(description="age of this, null before the first check")
    reads_waiting: int
    writes_running: int
    view_process: str = Field(description="running, or restarting: what keeps the views here")
    lookup_processes: int = Field(description="lookup worker processes that are ready")
    views: list[ViewHealth]
    problems: list[ProblemHealth] = Field(description="what is wrong, by a closed list of codes")
    audit: AuditHealth
    worker: str = Field(
        description="whether this service does what is due by time alone: working, on some ledger; "
        "waiting, while others do; off"
    )
    work: list[WorkHealth]


async def watch_database(service: AppContext) -> None:
    """Take a snapshot of database and views every CHECK_EVERY_S seconds, until cancelled."""
    while True:
        try:
            states = await service.read(service.views.states)
            due = await _backlog(service, {state.ledger for state in states})
            epochs = await _overdue_epochs(service)
            service.health = HealthSnapshot(
                True, time.monotonic(), [_view(state) for state in states], due, epochs
            )
            service.problems.clear("database_unreachable")
        except Exception:
            # Any failure means that the database does not answer as it should; the next check
            # shows whether it does again.
            before = service.health
            service.health = HealthSnapshot(
                False, time.monotonic(), before.views, before.backlog, before.epochs_overdue
            )
            service.problems.raise_("database_unreachable")
        await asyncio.sleep(CHECK_EVERY_S)


async def _backlog(service: AppContext, ledgers: set[str]) -> list[dict[str, Any]]:
    """What is due, by ledger and work; the last known while the worklist is being made."""
    now = datetime.now(UTC)
    overdue_before = now - timedelta(seconds=service.settings.work_overdue_s)
    try:
        return await service.read(service.views.ask, backlog, sorted(ledgers), now, overdue_before)
    except ViewBeingMade:
        return service.health.backlog


async def _overdue_epochs(service: AppContext) -> int:
    """How many epochs are over for long and have a key all the same."""
    before = datetime.now(UTC) - timedelta(seconds=service.settings.work_overdue_s)
    return await service.read(service.views.ask, count_overdue, before)


def _view(state: ViewState) -> dict[str, Any]:
    names = ("ledger", "view", "state", "position", "failing_position", "failing_topic")
    code = SEAL_MISSING if state.is_seal_missing else None
    if state.is_wrong:
        code = f"{VIEW_WRONG}:{state.view}"
    shown = {name: getattr(state, name) for name in names}
    return shown | {"lag": state.lag, "failing_code": code}


@routes.get(
    "/health",
    operation_id="health",
    summary="健康状况 · Health",
    responses={200: {"model": HealthBody}, **problems(400, 500, 503)},
)
async def health(request: Request) -> Response:
    """数据库、各视图的滞后与暂停。· The database, and each view's lag or pause; never waits."""
    service: AppContext = request.app.state.service
    snapshot = service.health
    workers = request.app.state.lookup_workers
    running = service.views.runner_alive
    following = all(view["state"] == "following" for view in snapshot.views)
    found = problems_of(service)
    audited = service.audit.state
    well = snapshot.database_ok and running and following and not found and not audited.found
    age = None if snapshot.at is None else time.monotonic() - snapshot.at
    return json_response(
        {
            "status": "ok" if well else "degraded",
            "database": "ok" if snapshot.database_ok else "unreachable",
            "seen_s_ago": None if age is None else round(age, 1),
            "reads_waiting": service.readers.pending,
            "writes_running": len(service.running),
            "view_process": "running" if running else "restarting",
            "lookup_processes": workers.ready if workers is not None else 0,
            "views": snapshot.views,
            "problems": found,
            "audit": _audit(service.audit),
            "worker": _worker(service.worker),
            "work": [_work(service.worker, row) for row in snapshot.backlog],
        }
    )


def _worker(worker: BackgroundWorker | None) -> str:
    if worker is None:
        return "off"
    return "working" if worker.locked_ledgers else "waiting"


def _work(worker: BackgroundWorker | None, row: dict[str, Any]) -> dict[str, Any]:
    refused, refusal = (0, None) if worker is None else worker.refused(row["ledger"], row["work"])
    oldest, done = row["oldest_due_at"], row["last_done_at"]
    age = None if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds())
    return {
        **{name: row[name] for name in ("ledger", "work", "due", "overdue")},
        "oldest_due_s": None if age is None else round(age, 1),
        "last_done_at": None if done is None else format_instant(done),
        "refused": min(refused, row["due"]),
        "refusal": refusal if row["due"] else None,
    }


def _audit(audit: AuditListener) -> dict[str, Any]:
    state = audit.state
    names = ("round", "position", "of", "started_at", "last_complete_at", "found")
    return {
        "running": audit.is_running,
        **{name: getattr(state, name) for name in names},
        "findings": [
            {
                "check": each.check,
                "ledger": each.ledger,
                "position": each.position,
                "row": each.shown_row,
            }
            for each in state.findings
        ],
    }


def problems_of(service: AppContext) -> list[dict[str, Any]]:
    """The rows of `problems`: what the parts of the service reported, database and views."""
    found: list[dict[str, Any]] = [
        {
            "code": problem.code,
            "ledger": problem.ledger,
            "view": problem.view,
            "position": problem.position,
            "since": format_instant(problem.since),
            "count": None,
        }
        for problem in service.problems
    ]
    found.extend(
        {
            "code": view["failing_code"] or f"view_paused:{view['view']}",
            "ledger": view["ledger"],
            "view": view["view"],
            "position": view["failing_position"],
            "since": None,
            "count": None,
        }
        for view in service.health.views
        if view["state"] == "paused"
    )
    if service.settings.background_audit and service.audit.is_silent:
        blank = dict.fromkeys(("ledger", "view", "position", "since", "count"))
        found.append({"code": "work_overdue", **blank})
    if count := service.health.epochs_overdue:
        blank = dict.fromkeys(("ledger", "view", "position", "since"))
        found.append({"code": "work_overdue", **blank, "count": count})
    return found + _overdue(service.health.backlog)


def _overdue(due: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One problem for each ledger with overdue work, whichever service should do it."""
    by_ledger: dict[str, list[dict[str, Any]]] = {}
    for row in due:
        if row["overdue"]:
            by_ledger.setdefault(row["ledger"], []).append(row)
    return [
        {
            "code": "work_overdue",
            "ledger": ledger,
            "view": None,
            "position": None,
            "since": format_instant(min(row["oldest_due_at"] for row in rows)),
            "count": sum(row["overdue"] for row in rows),
        }
        for ledger, rows in by_ledger.items()
    ]


def _with_problem(service: AppContext, code: str) -> set[str]:
    """The ledgers with a problem."""
    return {each.ledger for each in service.problems if each.code == code and each.ledger}


class ReadyBody(BaseModel):
    """Ready for requests."""

    status: str
    problems: list[ProblemHealth] = Field(description="what is wrong, as in /health")


@routes.get(
    "/ready",
    operation_id="ready",
    summary="是否就绪 · Readiness",
    responses={200: {"model": ReadyBody}, **problems(400, 500, 503)},
)
async def ready(request: Request) -> Response:
    """可受理请求为200,否则503。· 200 while commands can be recorded, else 503.

    503 if no ledger takes commands.
    """
    service: AppContext = request.app.state.service
    if not service.health.database_ok:
        raise DatabaseUnreachable()
    lacking = _with_problem(service, ErasuresMissing.code)
    stopped = _with_problem(service, LogNotContinued.code)
    if service.settings.write_unsigned:
        stopped = set()
    known = {view["ledger"] for view in service.health.views}
    if lacking and lacking >= known:
        raise ErasuresMissing(ledger=", ".join(sorted(lacking)))
    if stopped | lacking and stopped | lacking >= known:
        raise LogNotContinued(ledger=", ".join(sorted(stopped)))
    return json_response({"status": "ready", "problems": problems_of(service)})
