"""Health and readiness.

`/health` answers from the last snapshot of a background task, so it never waits for a database that
does not respond. `/ready` is 200 only while commands can be recorded.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.errors.request import DatabaseUnreachable
from api.http.context import AppContext, HealthSnapshot
from api.http.dependencies import json_response
from api.http.routing import problems, router
from api.transparency.audit_state import AuditListener
from domain.store.errors import LogNotContinued
from domain.values.primitives import format_instant
from projections.engine.failures import SEAL_MISSING
from projections.engine.health import ViewState

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
        description="log_not_continued, seal_missing, wrong_key:<purpose>, head_place_silent, "
        "view_wrong:<view>, view_paused:<view>, database_unreachable, disk_full, clock_uncertain, "
        "clock_unwitnessed or work_overdue"
    )
    ledger: str | None
    view: str | None
    position: int | None = Field(description="the event it is about")
    since: str | None = Field(description="when it was found, RFC 3339; null if not known")


class AuditFindingHealth(BaseModel):
    """One thing that the audit found; the log of the service says what it is."""

    check: str = Field(
        description="events, heads, commands, claims, keys, snapshots, attachments, lawfulness, "
        "views"
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


async def watch_database(service: AppContext) -> None:
    """Take a snapshot of database and views every CHECK_EVERY_S seconds, until cancelled."""
    while True:
        try:
            states = await service.read(service.views.states)
            service.health = HealthSnapshot(
                True, time.monotonic(), [_view(state) for state in states]
            )
            service.problems.clear("database_unreachable")
        except Exception:
            # Any failure means that the database does not answer as it should; the next check
            # shows whether it does again.
            service.health = HealthSnapshot(False, time.monotonic(), service.health.views)
            service.problems.raise_("database_unreachable")
        await asyncio.sleep(CHECK_EVERY_S)


def _view(state: ViewState) -> dict[str, Any]:
    names = ("ledger", "view", "state", "position", "failing_position", "failing_topic")
    code = SEAL_MISSING if state.is_seal_missing else None
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
        }
    )


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
        }
        for view in service.health.views
        if view["state"] == "paused"
    )
    return found


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
    stopped = {p.ledger for p in service.problems if p.code == LogNotContinued.code and p.ledger}
    all_stopped = stopped and stopped >= {view["ledger"] for view in service.health.views}
    if all_stopped and not service.settings.write_unsigned:
        raise LogNotContinued(ledger=", ".join(sorted(stopped)))
    return json_response({"status": "ready", "problems": problems_of(service)})
