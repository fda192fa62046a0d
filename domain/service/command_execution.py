"""One command under the head lock: what its decision sees, and what becomes of what it decides.

Reading order: CommandRun (from a wish to drafts), WorldView (what the decision looks at).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha1
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

from domain.actors import Actor
from domain.commands import decide
from domain.decision import Command, Context, Decision, Identity, NotFound, stream_of
from domain.errors import LedgerError
from domain.events import PersonCorrected, PersonRegistered
from domain.service.read_sets import ReadSet, look_of
from domain.service.receipt import Receipt
from domain.service.snapshots import kind_of
from domain.service.state_cache import CachedState, PendingEvent
from domain.states import folds as states
from domain.states.application import Candidacy
from domain.store.journal.envelope import rfc3339
from domain.store.journal.records import AppendRequest, NewEvent, RecordedEvent
from domain.store.mapper import Entry
from domain.store.privacy.vault import FieldEncryptor
from domain.store.writer.commands import Accepted, BatchView, Replayed

if TYPE_CHECKING:
    from domain.service.ledger import Ledger

_FREE_BITS = (1 << 128) - 1 & ~(0xF000 << 64) & ~(0xC000 << 48)
_VERSION_5 = 5 << 76 | 0x8000 << 48


class OccurredTooEarly(LedgerError):
    """This would have happened before what the {stream} has recorded already."""

    code = "occurred_too_early"


class CommandExecution:
    """One command's way from a wish to facts; may run again if the transaction is repeated."""

    def __init__(
        self,
        ledger: Ledger,
        command: Command,
        actor: Actor,
        command_id: UUID,
        occurred_at: datetime | None,
        correlation_id: UUID,
    ) -> None:
        self.ledger = ledger
        self.command = command
        self.actor = actor
        self.command_id = command_id
        self.occurred_at = occurred_at
        self.correlation_id = correlation_id
        self._indexes: dict[tuple[str, str], str] = {}
        self._given: tuple[bytes, Receipt] | None = None

    def look(self, now: datetime) -> ReadSet:
        """What its decision will look at, as far as it can be said at this moment."""
        context = self._context(self.occurred_at or now)
        return look_of(self.ledger.held.known, self.command, context)

    def __call__(self, view: BatchView) -> AppendRequest:
        """Decide, and turn the decision into what is appended. Raises: LedgerError."""
        context = self._context(self.occurred_at or view.recorded_at)
        world = StateReader(self.ledger, view)
        decision = decide(world, self.command, context)
        if self.occurred_at is not None:
            world.ensure_after(decision, self.occurred_at)
        sealer = FieldEncryptor(self.ledger.vault, view)
        drafts = tuple(self._drafts(decision, view, sealer, context.now))
        return AppendRequest(
            drafts=drafts,
            claims=decision.claims,
            releases=decision.releases,
            receipt=lambda recorded: self._receipt(recorded, decision),
            fresh_keys=sealer.fresh_keys,
            destroy_keys=decision.erases,
        )

    def _context(self, now: datetime) -> Context:
        numbers = count()
        return Context(
            now=now,
            actor=self.actor,
            new_id=lambda: named_id(self.command_id, f"id {next(numbers)}").hex,
            blind_index=self._blind_index,
        )

    def _blind_index(self, kind: str, text: str) -> str:
        """Worked out once, though it is asked for beforehand and again for the decision."""
        index = self._indexes.get((kind, text))
        if index is None:
            index = self._indexes[kind, text] = self.ledger.vault.blind_index(kind, text)
        return index

    def _drafts(
        self, decision: Decision, view: BatchView, sealer: FieldEncryptor, now: datetime
    ) -> Iterable[NewEvent]:
        actor = self.actor.stored()
        versions: dict[str, int] = {}
        for index, (stream, fact) in enumerate(decision.facts):
            if stream not in versions:
                versions[stream] = view.version(stream)
            versions[stream] += 1
            entry = Entry(
                originator_id=stream,
                originator_version=versions[stream],
                event_id=named_id(self.command_id, f"event {index}"),
                occurred_at=now,
                recorded_at=None,
                actor=actor,
                command_id=self.command_id,
                correlation_id=self.correlation_id,
                causation_id=None,
                fact=fact,
            )
            yield self.ledger.mapper.draft(entry, sealer, PendingEvent(entry))

    def receipt_of(self, said: Accepted | Replayed) -> Receipt:
        """The receipt that the writer's word stands for."""
        if self._given is not None and self._given[0] is said.receipt:
            return self._given[1]
        return Receipt.from_bytes(said.receipt, replayed=isinstance(said, Replayed))

    def _receipt(self, recorded: Sequence[RecordedEvent], decision: Decision) -> bytes:
        first, last = recorded[0], recorded[-1]
        versions = [r.version for r in recorded if r.stream == first.stream]
        receipt = Receipt(
            command_id=str(self.command_id),
            ledger=self.ledger.name,
            stream=first.stream,
            version=versions[-1],
            first_position=first.position,
            last_position=last.position,
            topics=tuple([r.topic for r in recorded]),
            recorded_at=rfc3339(first.recorded_at),
            outcome=decision.outcome,
        )
        self._given = receipt.to_bytes(), receipt
        return self._given[0]


class StateReader:
    """What a decision sees: committed state under the head lock, and earlier commands' facts."""

    def __init__(self, ledger: Ledger, view: BatchView) -> None:
        self._ledger = ledger
        self._view = view
        self._seen: dict[str, CachedState | None] = {}

    def ensure_after(self, decision: Decision, moment: datetime) -> None:
        """What is told afterwards still keeps each stream in order. Raises: OccurredTooEarly."""
        for stream in {stream for stream, _ in decision.facts}:
            last = self._kept(stream) if self.exists(stream) else None
            if last is not None and last.occurred_at > moment:
                raise OccurredTooEarly(stream=kind_of(stream))

    def _kept(self, stream: str) -> CachedState | None:
        if stream not in self._seen:
            self._seen[stream] = self._ledger.held.fold(stream, self._view)
        return self._seen[stream]

    def _find(self, stream: str) -> Any | None:
        kept = self._kept(stream)
        return None if kept is None else kept.state

    def _get(self, what: str, key: str) -> Any:
        state = self._find(stream_of(what, key))
        if state is None:
            raise NotFound(what=what, id=key)
        return state

    def book(self) -> states.LedgerState:
        state = self._find("ledger")
        if state is None:
            raise NotFound(what="book", id="ledger")
        return state

    def person(self, person_id: str) -> states.Person:
        return self._get("person", person_id)

    def identity(self, person_id: str) -> Identity:
        sealed = self._ledger.held.identity(stream_of("person", person_id), self._view)
        key = self._view.person_key(person_id)
        if sealed is None or key is None:
            raise NotFound(what="identity of person", id=person_id)
        self._ledger.vault.take(key)
        return identity_of(person_id, (self._ledger.mapper.entry_of(sealed),))

    def candidacy(self, application_id: str) -> Candidacy:
        return self._get("application", application_id)

    def session(self, session_id: str) -> states.ExamSession:
        return self._get("session", session_id)

    def notice(self, notice_id: str) -> states.Notice:
        return self._get("notice", notice_id)

    def report(self, report_id: str) -> states.Report:
        return self._get("report", report_id)

    def series(self, series_id: str) -> states.Series:
        # A series begins with its first number, so an unknown one is an empty one.
        return self._find(stream_of("series", series_id)) or states.Series(series_id)

    def exists(self, stream: str) -> bool:
        return self._view.version(stream) > 0

    def claimed(self, kind: str, key: str) -> bool:
        return self._view.claimed(kind, key) is not None


def identity_of(person_id: str, entries: Iterable[Any]) -> Identity:
    """A person's present name and document in clear. Raises: NotFound once erased."""
    known: PersonRegistered | PersonCorrected | None = None
    for entry in entries:
        if isinstance(entry.fact, PersonRegistered | PersonCorrected):
            known = entry.fact
    if known is None or known.name is None or known.document_number is None:
        raise NotFound(what="identity of person", id=person_id)
    return Identity(known.name, known.document_type, known.document_number)


def named_id(namespace: UUID, name: str) -> UUID:
    """The id of a name: a UUID of version 5, as `uuid.uuid5` makes it in twice the time.

    So a command that is sent or decided again has the same ids.
    """
    digest = sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()
    return UUID(int=int.from_bytes(digest[:16], "big") & _FREE_BITS | _VERSION_5)
