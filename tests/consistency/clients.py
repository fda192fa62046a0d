"""Endpoints for the clients: a ledger in this process, or a service over HTTP."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx

from domain.decision import NotFound
from domain.errors import LedgerError
from domain.service.ledger import Ledger
from domain.service.receipt import Receipt
from domain.store.errors import (
    Closed,
    DeadlineExceeded,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from tests.consistency.concurrent_clients import actor_of
from tests.consistency.domain_reads import GONE, LEDGER, PAGE, SHOWN
from tests.consistency.domain_spec import Read, Request
from tests.consistency.history import (
    Answer,
    NotDone,
    Refused,
    Replayed,
    Saw,
    Shown,
    Unknown,
    Wrote,
)
from tests.support.actors import FINANCE, REGISTRAR, staff
from tests.support.ledgers import request_of
from tests.support.over_http import Route
from tests.support.service import Caller, token

NOTHING_RECORDED = (Closed, DeadlineExceeded, Overloaded, Unavailable)
NOT_NOW = frozenset(
    {
        *("database_unreachable", "deadline_exceeded", "journal_closed", "journal_unavailable"),
        *("overloaded", "read_timeout", "request_in_progress", "server_busy", "view_behind"),
        "record_outdated",
    }
)
"""Codes unrelated to the state: nothing was recorded."""

# --- a ledger -------------------------------------------------------------------------------------


class LedgerEndpoint:
    """A ledger in this process."""

    views = False

    def __init__(self, ledger: Ledger, timeout_s: float = 30.0) -> None:
        self._ledger = ledger
        self._timeout_s = timeout_s

    def ask(self, request: Request) -> Future[Answer]:
        """Submit a command."""
        answer: Future[Answer] = Future()
        command = request.command
        try:
            submitted = self._ledger.submit(
                command,
                actor_of(request),
                key=request.key,
                request=request_of(command),
                timeout_seconds=self._timeout_s,
            )
        except LedgerError as error:
            answer.set_result(_of_error(error))
            return answer
        submitted.add_done_callback(lambda done: answer.set_result(_of_future(done)))
        return answer

    def read(self, read: Read, min_position: int) -> Answer:
        """The ledger itself; it has no views."""
        try:
            return Saw(self._read(read))
        except NotFound:
            return Saw(None)
        except LedgerError as error:
            return NotDone(error.code)

    def _read(self, read: Read) -> Any:
        if read.what == "application":
            state = self._ledger.state("application", read.of)
            return state.status.value, state.version
        if read.what == "person":
            state = self._ledger.state("person", read.of)
            return GONE if state.is_unknown else state.version
        if read.what == "history":
            found = self._ledger.history(f"application-{read.of}")
            return [(one.originator_version, type(one.fact).TOPIC) for one in found] or None
        page = self._ledger.journal.read(read.after, PAGE)
        return [(event.position, event.leaf_hash.hex()) for event in page]


def _of_error(error: BaseException | None) -> Answer:
    if isinstance(error, OutcomeUnknown):
        return Unknown(error.code)
    if isinstance(error, NOTHING_RECORDED):
        return NotDone(error.code)
    # The checker reports any other error as a wrong answer.
    return Refused(error.code if isinstance(error, LedgerError) else repr(error))


def _of_future(done: Future[Receipt]) -> Answer:
    error = done.exception()
    if error is not None:
        return _of_error(error)
    fields = done.result()._asdict() | {"topics": list(done.result().topics)}
    return Replayed(fields) if fields.pop("replayed") else Wrote(fields)


# --- a service ------------------------------------------------------------------------------------

REGULATOR = staff("regulator-1", "regulator", "zhejiang")
PATHS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "application": (REGISTRAR, "applications/{of}", {}),
    "person": (REGISTRAR, "persons/{of}", {}),
    "history": (REGISTRAR, "applications/{of}/history", {}),
    "events": (REGULATOR, "events", {"limit": PAGE}),
    "refunds": (FINANCE, "refunds?application_id={of}", {"limit": 200}),
    "steps": (FINANCE, "refunds/{of}/steps", {}),
    "totals": (FINANCE, "refunds/totals", {}),
    "payments": (FINANCE, "postings?application_id={of}", {"limit": 200}),
    "rows": (REGISTRAR, "notices/{of}/rows", {}),
    "notices": (REGISTRAR, "notices", {}),
    "objections": (REGISTRAR, "notices/{of}/objections", {}),
    "certificates": (REGISTRAR, "applications/{of}/certificates", {}),
    "statistics": (REGISTRAR, "statistics/talent", {}),
}
"""Actor, path and parameters of each read."""

NOTHING_THERE: dict[str, Any] = {"certificates": set()}
"""Meaning of 404 where it is not None."""


class ServiceEndpoint:
    """A service at an address. Every thread has its own connections."""

    views = True

    def __init__(self, address: str, ledger: str, routes: dict[Any, Route], crew: Any) -> None:
        """crew: threads that wait for responses."""
        self._address = address
        self._ledger = ledger
        self._routes = routes
        self._crew: ThreadPoolExecutor = crew
        self._threads = threading.local()
        self._clients: list[httpx.Client] = []
        self._tokens: dict[Any, str] = {}

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.close()

    def ask(self, request: Request) -> Future[Answer]:
        """Send the request on another thread."""
        return self._crew.submit(self._ask, request)

    def _ask(self, request: Request) -> Answer:
        command = request.command
        try:
            answer = self._routes[type(command)].ask(
                self._caller(actor_of(request)), command, request.key
            )
        except httpx.ConnectError:
            return NotDone("connection refused")
        except httpx.TransportError as error:
            return Unknown(type(error).__name__)
        body = answer.json()
        if answer.status_code in (200, 201, 202):
            again = answer.headers.get("idempotency-replayed") == "true"
            return Replayed(body) if again else Wrote(body)
        return _of_code(body["code"])

    def read(self, read: Read, min_position: int) -> Answer:
        """Read; of a view, at least up to a position."""
        actor, path, params = PATHS[read.what]
        path, _, query = path.format(of=read.of).partition("?")
        asked = dict(params) | dict([query.split("=")] if query else [])
        if read.what == "events":
            asked["after"] = read.after
        if min_position:
            asked["min_position"] = min_position
        try:
            answer = self._caller(actor).get(path, **asked)
        except httpx.TransportError as error:
            return NotDone(type(error).__name__)
        if answer.status_code == 404:
            what = NOTHING_THERE.get(read.what)
        elif answer.status_code == 410:
            what = GONE
        elif answer.status_code == 200:
            what = SHOWN[read.what](answer.json())
        else:
            return _of_code(answer.json()["code"])
        return Saw(what) if read.what in LEDGER else Shown(what, min_position)

    def _caller(self, actor: Any) -> Caller:
        if actor not in self._tokens:
            self._tokens[actor] = token(actor.role, actor.subject, organisation=actor.organisation)
        return Caller(self._client(), self._ledger, self._tokens[actor])

    def _client(self) -> httpx.Client:
        client: httpx.Client | None = getattr(self._threads, "client", None)
        if client is None:
            client = httpx.Client(base_url=self._address, timeout=30, trust_env=False)
            self._threads.client = client
            self._clients.append(client)
        return client


def _of_code(code: str) -> Answer:
    if code == "outcome_unknown":
        return Unknown(code)
    return NotDone(code) if code in NOT_NOW else Refused(code)
