"""What a handler works with: the ledger, the caller, and how to record or read.

`CommandContext` turns a command into a receipt under the request's Idempotency-Key; `QueryContext`
runs queries on the reader threads, waits for `min_position`, and answers 304 where nothing changed.
Reading order: the parameters, CommandContext, QueryContext.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, Header, Path, Query, Request
from starlette.responses import Response

from api.auth.tokens import Principal
from api.errors.request import (
    AsOfInvalid,
    BackfillNotAllowed,
    OccurredAtMalformed,
)
from api.http.canonical_request import canonical_request
from api.http.context import AppContext
from domain.actors import Role
from domain.decision import Command, NotFound, NotYourOwn
from domain.errors import LedgerError
from domain.events import PersonRegistered, RegistrationContested
from domain.service.files import Files, HeldKey, SealedFile
from domain.service.ledger import Ledger
from domain.service.receipt import Receipt
from domain.service.receipt_futures import LoopReceiptFuture
from domain.states.application import Candidacy
from domain.states.folds import Person, Registration
from domain.store.errors import FileKeyChanged, OutcomeUnknown
from domain.values.primitives import LEDGER_PATTERN, parse_instant

T = TypeVar("T")

SEALED_AGAIN_MAX = 3
"""How often a file is sealed because another process was the first to use the key."""

LedgerName = Annotated[
    str,
    Path(
        pattern=LEDGER_PATTERN,
        description="账本名 · name of the ledger",
        examples=["omc"],
    ),
]
ThingId = Annotated[str, Path(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$", examples=["A1"])]
"""An id in a path."""

IdempotencyKeyHeader = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        description="幂等键:同一请求重发时不变 · the caller's own key of this request, 1 to 200 "
        "printable ASCII characters; the same on every retry, kept for ever",
        examples=["5f0c2b1e-6f5a-4d0b-8a51-0c5a6c5e9b11"],
    ),
]
OccurredAtHeader = Annotated[
    str | None,
    Header(
        alias="Occurred-At",
        description="发生时间(仅限补录令牌)· when it happened, RFC 3339; only for tokens with "
        "the claim backfill",
    ),
]
MinPosition = Annotated[
    int | None,
    Query(
        ge=0,
        lt=2**53,
        description="读己之写:视图须已处理到此位置 · wait until the view has come to this position",
    ),
]
AsOf = Annotated[
    str | None,
    Query(
        max_length=40,
        description="时点查询:位置或 RFC 3339 时间 · the view as of a position, or as it was "
        "known at a time",
        examples=["128", "2026-11-20T09:00:00+08:00"],
    ),
]
Cursor = Annotated[
    str | None, Query(max_length=2000, description="上一页的 next · `next` of the page before")
]
Limit = Annotated[int, Query(ge=1, le=1000, description="每页行数 · rows of a page")]
After = Annotated[int, Query(ge=0, lt=2**53, description="自此位置之后 · after here")]
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", include_in_schema=False)]


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON response. body: JSON values; dates and times become ISO 8601 text."""
    data = orjson.dumps(body, default=str)
    return Response(data, status, dict(headers or {}), media_type="application/json")


_SHOWN_AS = {RegistrationContested.TOPIC: PersonRegistered.TOPIC}
"""Topics that no answer tells apart: else who registers learns whose numbers are known."""


def receipt_response(receipt: Receipt, location: str | None = None, status: int = 201) -> Response:
    """The receipt of a command: the same bytes whether it was recorded now or before."""
    if not _SHOWN_AS.keys().isdisjoint(receipt.topics):
        shown = tuple(_SHOWN_AS.get(topic, topic) for topic in receipt.topics)
        receipt = receipt._replace(topics=shown)
    headers = {"ETag": etag(receipt.version)}
    if location is not None:
        headers["Location"] = location
    if receipt.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(receipt.to_bytes(), status, headers, media_type="application/json")


def etag(version: int | str) -> str:
    """A strong entity tag."""
    return f'"{version}"'


@dataclass(frozen=True, slots=True)
class CommandContext:
    """One write: everything but the command itself.

    request: in one spelling; the handler of a form replaces it (`for_form`).
    """

    service: AppContext
    ledger: Ledger
    principal: Principal
    key: str
    request: bytes = field(repr=False)
    occurred_at: datetime | None
    base: str = field(repr=False)

    async def record(
        self, command: Command, part: str | None = None, files: Sequence[HeldKey] = ()
    ) -> Receipt:
        """Execute a command, or find the receipt of its first execution.

        part: distinguishes the commands of one request, each under a key derived from its key.
        files: the keys of the sealed files that it names.
        Raises: the LedgerError that refused it.
        """
        return await self.ledger.submit(
            command,
            self.principal.actor,
            key=self._key(part),
            request=self.request,
            occurred_at=self.occurred_at,
            actor_name=self.principal.name,
            timeout_seconds=self.service.settings.deadline_s,
            files=files,
            future=LoopReceiptFuture(loop=asyncio.get_running_loop()),
        )

    async def record_with_file(
        self, store: Callable[[Files], SealedFile], command: Callable[[str], Command]
    ) -> Receipt:
        """Store a sealed file, then record the command that names it; without it, remove it.

        store: seals and stores, blocking. command: of the file's name.
        Raises: the LedgerError that refused it.
        """
        files = self.service.files(self.ledger)
        for attempt in count(1):
            # The file is stored before the fact that names it: no fact names a missing file.
            sealed = await self.service.read(store, files)
            try:
                receipt = await self.record(command(sealed.sha256), files=sealed.keys)
            except OutcomeUnknown:
                raise  # a fact may name it
            except LedgerError as refusal:
                await self.service.read(files.discard, sealed.sha256)
                if not isinstance(refusal, FileKeyChanged) or attempt == SEALED_AGAIN_MAX:
                    raise
            else:
                if receipt.replayed:
                    await self.service.read(files.discard, sealed.sha256)
                return receipt
        raise AssertionError("count ends never")

    async def replayed_receipt(self, part: str | None = None) -> Receipt | None:
        """The receipt of this very request if it was recorded already; None if not.

        For requests that make something expensive before their command is recorded.
        Raises: IdempotencyKeyReused.
        """
        find, key = self.ledger.recorded_command, self._key(part)
        known = await self.service.read(find, self.principal.subject, key, self.request)
        if known is None:
            return None
        return Receipt.from_bytes(known.receipt, replayed=True)

    def _key(self, part: str | None) -> str:
        return self.key if part is None else f"{self.key}#{part}"

    def for_form(self, method: str, path: str, form: bytes) -> CommandContext:
        """The same write, with the canonical bytes of a form for its body."""
        return replace(self, request=canonical_request(method, path, "", form))

    def path(self, rest: str) -> str:
        """An address within the ledger, for Location."""
        return f"{self.base}{rest}"


def occurred_moment(header: str | None, principal: Principal) -> datetime | None:
    """When the event happened, by `Occurred-At`; None without the header.

    Raises: BackfillNotAllowed, OccurredAtMalformed.
    """
    if header is None:
        return None
    if not principal.backfill:
        raise BackfillNotAllowed()
    try:
        return parse_instant(header.strip())
    except ValueError:
        raise OccurredAtMalformed() from None


@dataclass(frozen=True, slots=True)
class QueryContext:
    """One read on a ledger. principal: None on public routes."""

    service: AppContext
    ledger: Ledger
    principal: Principal | None
    if_none_match: str | None

    async def run(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Blocking work on a reader thread."""
        return await self.service.read(work, *args, **kwargs)

    async def state(self, kind: str, key: str | None = None) -> Any:
        """The present state of one thing. Raises: NotFound."""
        return await self.run(self.ledger.state, kind, key)

    async def candidacy(self, application_id: str) -> Any:
        """An application that the caller may see. Raises: NotFound, NotYourOwn."""
        state = await self.state("application", application_id)
        if not self.may_see(state):
            raise NotYourOwn(what="application")
        await self._ensure_own(state.person_id, "application")
        return state

    def may_see(self, state: Candidacy) -> bool:
        """Whether an application is the caller's to see; of a candidate, their person says that."""
        agency = self.agency
        return agency is None or state.is_of_agency(agency)

    @property
    def agency(self) -> str | None:
        """The organisation of a caller in the role of an agency; None: another role, or nobody."""
        principal = self.principal
        is_agency = principal is not None and principal.role is Role.AGENCY
        return principal.organisation if principal is not None and is_agency else None

    async def ensure_own_person(self, person_id: str) -> None:
        """A candidate reads what is theirs, an agency whom its applications concern.

        Raises: NotFound, NotYourOwn.
        """
        await self._ensure_own(person_id, "person")
        agency = self.agency
        if agency is not None and not await self.run(self._is_concerned, person_id, agency):
            raise NotYourOwn(what="person")

    async def _ensure_own(self, person_id: str, what: str) -> None:
        principal = self.principal
        if principal is None or principal.role is not Role.CANDIDATE:
            return
        person = await self.state("person", person_id)
        if person.registration is Registration.OBJECTOR:
            raise NotFound(what="person", id=person_id)
        if not await self.run(self.is_own, person):
            raise NotYourOwn(what=what)

    def _is_concerned(self, person_id: str, agency: str) -> bool:
        """As `domain.steps.agency_rights.ensure_concerned`; blocking."""
        person: Person = self.ledger.state("person", person_id)
        if person.is_known_to(agency):
            return True
        for key in self.ledger.claims_under("person_application", f"{person_id}|"):
            state: Candidacy = self.ledger.state("application", key.partition("|")[2])
            if state.person_id == person_id and state.is_of_agency(agency):
                return True
        return False

    def is_own(self, person: Person) -> bool:
        """Whether the caller's login is this person's; blocking.

        Raises: SealBroken, Unavailable.
        """
        if self.principal is None or person.subject is None or person.erased:
            return False
        return person.subject == self.ledger.logins.find(self.principal.subject)

    def conditional_response(self, tag: str, body: Callable[[], Any]) -> Response:
        """A body under an entity tag, or 304 if the caller has it already."""
        # Another role sees other fields and another language reads other words.
        headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
        given = [part.strip() for part in (self.if_none_match or "").split(",")]
        if tag in given or f"W/{tag}" in given or "*" in given:
            return Response(status_code=304, headers=headers)
        return json_response(body(), headers=headers)

    async def wait_for_position(self, view: str, min_position: int | None) -> None:
        """Wait for a view to come to a position. Raises: ViewBehind."""
        timeout_s = self.service.settings.min_position_wait_s
        await self.service.views.wait_for(view, self.ledger.name, min_position, timeout_s)

    async def ask(self, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Rows of a view's query, which takes a cursor and then the ledger's name."""
        return await self.run(self.service.views.ask, query, self.ledger.name, *args, **kwargs)


async def reading(
    request: Request, ledger: LedgerName, if_none_match: IfNoneMatch = None
) -> QueryContext:
    """What a handler that reads is given. Raises: UnknownLedger, ErasuresMissing."""
    service: AppContext = request.app.state.service
    principal = getattr(request.state, "principal", None)
    found = await service.ledger(ledger)
    found.guard.check_read()
    return QueryContext(service, found, principal, if_none_match)


Read = Annotated[QueryContext, Depends(reading)]

_POSITION = re.compile(r"[0-9]{1,15}")


def as_of_moment(text: str | None) -> int | datetime | None:
    """A point in time of a view: a position, or an aware moment. Raises: AsOfInvalid."""
    if text is None:
        return None
    if _POSITION.fullmatch(text):
        return int(text)
    try:
        moment = parse_instant(text.replace(" ", "+"))  # a plus sign in a query reads as a space
    except ValueError:
        raise AsOfInvalid() from None
    if moment > datetime.now(UTC):
        raise AsOfInvalid()
    return moment


__all__ = [
    "AsOf",
    "CommandContext",
    "Cursor",
    "IfNoneMatch",
    "LedgerName",
    "Limit",
    "MinPosition",
    "QueryContext",
    "Read",
    "ThingId",
    "as_of_moment",
    "etag",
    "json_response",
    "receipt_response",
]  # fmt: skip
