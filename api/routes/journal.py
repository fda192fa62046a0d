"""The journal for regulators: every event in order of position, personal fields encrypted."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from api.http.dependencies import After, Limit, Read, json_response
from api.http.routing import READING, router

routes = router("监管 · Oversight")


class EventShown(BaseModel):
    """One event of the journal."""

    position: int = Field(ge=1, description="1, 2, 3 … without gaps; position-1 is the leaf index")
    leaf_hash: str = Field(
        pattern="^[0-9a-f]{64}$", description="SHA-256 of 0x00 and the canonical envelope"
    )
    envelope: dict[str, Any] = Field(
        description='everything the event is; a sealed field reads {"key": …, "sealed": …}'
    )


class EventsBody(BaseModel):
    """A stretch of the journal."""

    data: list[EventShown]
    next_after: int = Field(description="give it as `after` to go on; also when data is empty")
    head: int = Field(description="last position of the ledger")


@routes.get(
    "/events",
    operation_id="list_events",
    summary="事件流 · The journal in order",
    responses={200: {"model": EventsBody}, **READING},
)
async def list_events(
    read: Read,
    after: After = 0,
    limit: Limit = 100,
) -> Response:
    """逐条、按位置、不可更改;个人信息保持密封。· Every event by position, as recorded, personal
    fields still sealed. Nothing ever appears behind a position that was read."""
    head = await read.run(read.ledger.journal.head)
    rows_max = min(limit, read.service.settings.page_rows_max)
    events = await read.run(read.ledger.journal.read, after, rows_max)
    return json_response(
        {
            "data": [_shown(event) for event in events],
            "next_after": events[-1].position if events else after,
            "head": max(head.position, events[-1].position if events else 0),
        }
    )


def _shown(event: Any) -> dict[str, Any]:
    return {
        "position": event.position,
        "leaf_hash": bytes(event.leaf_hash).hex(),
        "envelope": event.parsed,
    }
