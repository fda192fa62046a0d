"""The contested registrations (存疑登记) that wait for somebody to settle them.

Not for agencies: who registers learns nothing about the numbers of others, and an agency could
register any number and read here whether it is known. An agency learns of a contested registration
when its review is refused, with the document in hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from api.http.dependencies import Cursor, Limit, QueryContext, Read, json_response
from api.http.routing import READING, router
from api.routes.stream_listing import key_of, newest_page, newest_streams
from domain import events as e
from domain.states.folds import Person, Registration

TAG = "人员 · People"
routes = router(TAG)


class ContestedRow(BaseModel):
    """One registration whose document is another person's so far."""

    person_id: str
    held_by: str = Field(description="the person whose document it is")
    agency: str | None = Field(description="who registered them; null: they did so themselves")
    applications: list[str] = Field(description="no review of which passes until it is settled")
    version: int = Field(description="of the person's own stream")


class ContestedListBody(BaseModel):
    """A page. It may be shorter than asked for, even empty, while `next` says there is more."""

    data: list[ContestedRow]
    next: str | None = Field(description="cursor of the next page")


_BEGINS = (e.RegistrationContested.TOPIC, e.PersonCorrected.TOPIC)
_ENDS = tuple(fact.TOPIC for fact in (e.RegistrationJoined, e.RegistrationRejected, *e.FORGETTING))
_CONTESTED = partial(newest_streams, topics=_BEGINS, ending=(*_BEGINS, *_ENDS))


@routes.get(
    "/contested-registrations",
    operation_id="list_contested_registrations",
    summary="存疑登记列表 · List contested registrations",
    responses={200: {"model": ContestedListBody}, **READING},
)
async def list_contested_registrations(
    read: Read, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """待核对证件的登记,最新在前;由认证方并入或驳回,由证书管理更正。· Registrations whose document
    has to be seen, the newest first: the certifier joins or rejects them, the registrar puts a
    number right. Agencies learn of one when a review of theirs is refused. Source: 3.1(1)."""
    listed, following = await newest_page(read, "contested", cursor, limit, _CONTESTED)
    rows = await read.run(_rows, read, listed.streams)
    return json_response({"data": rows, "next": following})


def _rows(read: QueryContext, streams: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of the list; blocking."""
    persons: list[Person] = [
        read.ledger.state("person", key_of(stream, "person")) for stream in streams
    ]
    return [
        {
            "person_id": person.id,
            "held_by": person.held_by,
            "agency": person.agency,
            "applications": _applications(read, person.id),
            "version": person.version,
        }
        for person in persons
        if person.registration is Registration.CONTESTED and not person.erased
    ]


def _applications(read: QueryContext, person_id: str) -> list[str]:
    keys = read.ledger.claims_under("person_application", f"{person_id}|")
    return [key.partition("|")[2] for key in keys]
