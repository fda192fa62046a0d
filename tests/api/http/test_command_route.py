"""The admission of a command: one order of refusals, for FastAPI and the fast path alike.

Covers: api/http/command_route.py, api/http/routing.py, api/http/dependencies.py,
api/http/body_models.py, api/http/context.py
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from api.auth.tokens import Principal, TokenInvalid, TokenMissing
from api.errors.request import (
    BackfillNotAllowed,
    IdempotencyKeyMissing,
    InvalidRequest,
    LedgerNotInToken,
    MalformedJson,
    MediaTypeUnsupported,
    RequestInProgress,
    RoleNotAllowed,
    UnknownParameter,
)
from api.http.command_route import CommandRequest, CommandRoute
from domain.actors import Role
from domain.errors import LedgerError
from domain.service.receipt import Receipt
from domain.steps.exam import ASSIGN_SEAT, AssignSeat
from domain.steps.refund import DECLINE_REFUND, DeclineRefund
from domain.store.errors import UnknownLedger

RECEIPT = Receipt.from_bytes(
    json.dumps(
        {
            "command_id": "0d3c2a64-1f9d-5b36-8f0e-2f2a5f6a9e10",
            "ledger": "omc",
            "stream": "application-A1",
            "version": 3,
            "first_position": 8,
            "last_position": 8,
            "topics": ["refund_declined.v1"],
            "recorded_at": "2026-11-23T02:00:00.000000Z",
            "outcome": {},
        }
    ).encode(),
    replayed=False,
)


@dataclass
class Ledger:
    """A ledger that accepts everything, and keeps what it was given."""

    name: str = "omc"
    submitted: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    guard: Any = field(default_factory=lambda: SimpleNamespace(check_read=lambda: None))

    async def submit(self, command: Any, actor: Any, **given: Any) -> Receipt:
        self.submitted.append((command, given))
        return RECEIPT


@dataclass
class Service:
    """As much of a running service as the admission uses."""

    ledger_: Ledger = field(default_factory=Ledger)
    running: set[Any] = field(default_factory=set)
    settings: Any = field(default_factory=lambda: SimpleNamespace(deadline_s=1.0))

    @property
    def tokens(self) -> Service:
        return self

    async def check(self, token: str) -> Principal:
        if token not in ("finance", "examiner", "another-ledger"):
            raise TokenInvalid(reason="malformed")
        role = Role.EXAMINER if token == "examiner" else Role.FINANCE
        ledgers = frozenset({"another"} if token == "another-ledger" else {"*"})
        return Principal("who", role, "org", ledgers, expires_at=2**40)

    async def ledger(self, name: str) -> Ledger:
        if name != self.ledger_.name:
            raise UnknownLedger(ledger=name)
        return self.ledger_


DECLINE = CommandRoute(
    DECLINE_REFUND,
    "POST /applications/{application_id}/refunds/{refund_no}/decline",
    "decline_refund",
    tag="x",
    summary="x",
    docs="x",
    example={"reason": "x"},
    location="/applications/{application_id}",
)
SEAT = CommandRoute(
    ASSIGN_SEAT,
    "POST /sessions/{session_id}/seats",
    "assign_seat",
    tag="x",
    summary="x",
    docs="x",
    example={},
    location="/applications/{application_id}/ticket",
)
GOOD = {
    "authorization": "Bearer finance",
    "content-type": "application/json",
    "idempotency-key": "k1",
}
PLACE = {"ledger": "omc", "application_id": "A1", "refund_no": "R1"}


def request(service: Service, **given: Any) -> CommandRequest:
    headers = {**GOOD, **given.get("headers", {})}
    return CommandRequest(
        service,  # type: ignore[arg-type]  # a stub
        "POST",
        "/ledgers/omc/applications/A1/refunds/R1/decline",
        given.get("place", PLACE),
        {name: value for name, value in headers.items() if value is not None},
        given.get("body", b'{"reason": "x"}'),
        given.get("query", ""),
    )


def respond(route: CommandRoute, made: CommandRequest) -> Any:
    return asyncio.run(route.respond(made))


def test_a_command_is_built_from_path_and_body_and_answered_with_its_place() -> None:
    service = Service()
    response = respond(DECLINE, request(service))
    [(command, given)] = service.ledger_.submitted
    assert command == DeclineRefund(application_id="A1", refund_no="R1", reason="x")
    assert given["key"] == "k1"
    assert (response.status_code, response.headers["location"]) == (
        201,
        "/ledgers/omc/applications/A1",
    )
    assert not service.running


def steps() -> Iterator[tuple[type[LedgerError], dict[str, Any]]]:
    """Refusals in their documented order, each with what makes the request right in this one."""
    yield TokenMissing, {"headers": {"authorization": "Bearer none"}}
    yield TokenInvalid, {"headers": {"authorization": "Bearer examiner"}}
    yield RoleNotAllowed, {"headers": {"authorization": "Bearer another-ledger"}}
    yield LedgerNotInToken, {"headers": {"authorization": "Bearer finance"}}
    yield UnknownParameter, {"query": ""}
    yield MediaTypeUnsupported, {"headers": {"content-type": "application/json"}}
    yield MalformedJson, {"body": b'{"reason": "\\ud800"}'}
    yield IdempotencyKeyMissing, {"headers": {"idempotency-key": "busy"}}
    yield RequestInProgress, {"headers": {"idempotency-key": "k1"}}
    yield InvalidRequest, {"place": {**PLACE, "ledger": "unknown", "refund_no": ".R"}}
    yield UnknownLedger, {"place": {**PLACE, "refund_no": ".R"}}
    yield MalformedJson, {"body": b'{"reason": ""}'}  # half a surrogate pair has no digest
    yield BackfillNotAllowed, {"headers": {"occurred-at": None}}
    yield InvalidRequest, {"place": PLACE, "body": b'{"reason": "x"}'}


def test_refusals_come_in_the_documented_order() -> None:
    given: dict[str, Any] = {
        "headers": {
            "authorization": None,
            "content-type": "text/plain",
            "idempotency-key": None,
            "occurred-at": "2026-01-01T00:00:00Z",
        },
        "query": "x=1",
        "body": b"{",
        "place": {**PLACE, "ledger": "-", "refund_no": ".R"},
    }
    for expected, cure in steps():
        service = Service()
        place = given["place"]["ledger"]
        service.running = {(place, "who", "busy")}
        with pytest.raises(expected):
            respond(DECLINE, request(service, **given))
        assert service.running == {(place, "who", "busy")}, "the key of a refused request is free"
        given |= {name: value for name, value in cure.items() if name != "headers"}
        given["headers"] |= cure.get("headers", {})
    assert respond(DECLINE, request(Service(), **given)).status_code == 201


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b"", ["#"]),
        (b"null", ["#"]),
        (b"[1]", ["#"]),
        (b'{"reason": "", "x": 1}', ["#/reason", "#/x"]),
        (b'{"reason": "x", "refund_no": "R1"}', ["#/refund_no"]),
    ],
)
def test_every_fault_of_path_and_body_is_named_at_once(body: bytes, pointers: list[str]) -> None:
    place = {**PLACE, "application_id": ".A"}
    with pytest.raises(InvalidRequest) as refused:
        respond(DECLINE, request(Service(), body=body, place=place))
    named = [problem["pointer"] for problem in refused.value.fields["problems"]]
    assert named == ["path/application_id", *pointers]


def test_a_combination_that_the_command_forbids_is_a_fault_of_the_body() -> None:
    service = Service()
    made = request(
        service,
        headers={"authorization": "Bearer finance"},
        place={"ledger": "omc", "session_id": "S1"},
        body=b'{"application_id": "A1", "seat": 3}',
    )
    made.value = json.loads(made.body)
    with pytest.raises(InvalidRequest) as refused:
        SEAT.command(made)
    assert [p["pointer"] for p in refused.value.fields["problems"]] == ["#"]
    made.value = {"application_id": "A1"}
    assert SEAT.command(made) == AssignSeat(application_id="A1", session_id="S1")


def test_what_is_compared_ignores_the_spelling_of_the_body_and_nothing_else() -> None:
    service = Service()
    for body in (b'{"reason": "x"}', b'{ "reason":"\\u0078" }', b'{"reason": "y"}'):
        respond(DECLINE, request(service, body=body))
    first, again, other = (given["request"] for _, given in service.ledger_.submitted)
    assert first == again != other
