"""Whether the service lives, and whether it should get requests.

`/health` answers from what a background task last saw, so that it never waits for a database that
does not answer. `/ready` is 200 only while commands can be recorded.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from fastapi import Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.errors.request import DatabaseUnreachable
from api.http.context import AppContext
from api.http.dependencies import answer
from api.http.routing import problems, router

routes = router("服务 · Service", prefix="")

LOOK_EVERY_S = 2.0
"""How old what `/health` says may be, seconds."""


class ViewHealth(BaseModel):
    """One view of one ledger."""

    ledger: str
    view: str
    state: str = Field(description="following, paused, rebuilding, outdated")
    position: int
    lag: int = Field(description="events that are not folded yet")
    failing_position: int | None = Field(description="event at which it is paused")
    failing_topic: str | None


class HealthBody(BaseModel):
    """How the service is, as of `seen_s_ago` seconds ago."""

    status: str = Field(
        description="ok, or degraded: the database, a view or what keeps them is not well"
    )
    database: str = Field(description="ok or unreachable")
    seen_s_ago: float | None = Field(description="age of this, null before the first look")
    reads_waiting: int
    writes_running: int
    view_process: str = Field(description="running, or restarting: what keeps the views here")
    lookup_processes: int = Field(description="beside this one, ready to answer lookups")
    views: list[ViewHealth]


@dataclass
class HealthSnapshot:
    """What the background task saw last."""

    database_ok: bool = False
    at: float | None = None
    views: list[dict[str, Any]] = field(default_factory=list)


async def watch_database(service: AppContext) -> None:
    """Look at the database and the views, for ever."""
    while True:
        try:
            states = await service.read(service.views.states)
            service.seen = HealthSnapshot(
                True, time.monotonic(), [_view(state) for state in states]
            )
        except Exception:
            # Whatever it was, the database did not answer as it should; the next look tells.
            service.seen = HealthSnapshot(False, time.monotonic(), service.seen.views)
        await asyncio.sleep(LOOK_EVERY_S)


def _view(state: Any) -> dict[str, Any]:
    wanted = ("ledger", "view", "state", "position", "failing_position", "failing_topic")
    told = asdict(state)
    return {name: told[name] for name in wanted} | {"lag": state.lag}


@routes.get(
    "/health",
    operation_id="health",
    summary="健康状况 · Health",
    responses={200: {"model": HealthBody}, **problems(400, 500, 503)},
)
async def health(request: Request) -> Response:
    """数据库、各视图的滞后与暂停。· The database, and each view's lag or pause; never waits."""
    service: AppContext = request.app.state.service
    seen: HealthSnapshot = service.seen
    workers = request.app.state.elsewhere
    kept = service.views.are_kept
    well = seen.database_ok and kept and all(v["state"] == "following" for v in seen.views)
    return answer(
        {
            "status": "ok" if well else "degraded",
            "database": "ok" if seen.database_ok else "unreachable",
            "seen_s_ago": None if seen.at is None else round(time.monotonic() - seen.at, 1),
            "reads_waiting": service.readers.asked,
            "writes_running": len(service.running),
            "view_process": "running" if kept else "restarting",
            "lookup_processes": workers.alive if workers is not None else 0,
            "views": seen.views,
        }
    )


class ReadyBody(BaseModel):
    """Ready for requests."""

    status: str


@routes.get(
    "/ready",
    operation_id="ready",
    summary="是否就绪 · Readiness",
    responses={200: {"model": ReadyBody}, **problems(400, 500, 503)},
)
async def ready(request: Request) -> Response:
    """可受理请求为200,否则503。· 200 while requests can be served, else 503."""
    service: AppContext = request.app.state.service
    if not service.seen.database_ok:
        raise DatabaseUnreachable()
    return answer({"status": "ready"})
