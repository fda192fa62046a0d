"""Executes one command: reads states, decides, and makes the append of the decision.

`CommandExecution` is the unit of work of a command. The writer calls `execute` with the read view
of a batch, and again if the batch is retried; `StateReader` gives the decision its states.
Reading order: Environment, CommandExecution.execute, StateReader.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha1
from itertools import count
from typing import Any
from uuid import UUID

from domain.actors import Actor
from domain.command_spec import ReadSet
from domain.commands import decide, read_set_of
from domain.decision import (
    Command,
    Context,
    Decision,
    Identity,
    KeyInUse,
    LedgerNotOpen,
    Naming,
    NotFound,
    stream_of,
)
from domain.documents.materials import MaterialKind, data_class_of
from domain.editions.edition import EditionKind
from domain.errors import LedgerError
from domain.events import ERASURE, DocumentSubmitted
from domain.person_claims import (
    IDENTITY_FACTS,
    NAMED,
    IdentityFact,
    PersonClaims,
    PersonIndex,
    named_text,
)
from domain.service.logins import Logins, LoginsOfCommand, pseudonymous
from domain.service.receipt import Receipt
from domain.service.snapshots import kind_of
from domain.service.state_cache import IDENTITY, CachedState, PendingEvent, StateCache
from domain.states import folds as states
from domain.states.application import Candidacy
from domain.states.editions import Editions
from domain.store.errors import PersonClaimsWrong
from domain.store.journal.envelope import rfc3339
from domain.store.journal.records import AppendRequest, CommandKey, NewEvent, RecordedEvent
from domain.store.keys.key_signatures import is_signature
from domain.store.mapper import EntryMapper, JournalEntry
from domain.store.privacy.field_encryption import FieldEncryptor, HeldKey, Vault
from domain.store.privacy.index_ciphers import StoredIndexes
from domain.store.privacy.live_epochs import LiveEpochs
from domain.store.writer.commands import Accepted, BatchView, QueuedCommand, Replayed
from domain.values.certificate_cards import SALT_BYTES, card_sha256
from domain.values.identity_documents import same_person_key
from domain.values.sealed_fields import DataClass, blanked, person_owner

_FREE_BITS = (1 << 128) - 1 & ~(0xF000 << 64) & ~(0xC000 << 48)
_VERSION_5 = 5 << 76 | 0x8000 << 48


class OccurredTooEarly(LedgerError):
    """This would have happened before what the {stream} has recorded already."""

    code = "occurred_too_early"


@dataclass(frozen=True, slots=True)
class Environment:
    """The parts of a ledger that executing a command needs.

    name: of the ledger. keys: of the service, named when a ledger opens.
    """

    name: str
    vault: Vault
    indexes: StoredIndexes
    mapper: EntryMapper
    states: StateCache
    logins: Logins
    epochs: LiveEpochs
    keys: tuple[KeyInUse, ...] = ()


def _digest_card(card: bytes) -> tuple[str, str]:
    """The hash of a card under a random salt, and the salt in hex."""
    salt = os.urandom(SALT_BYTES)
    return card_sha256(card, salt), salt.hex()


class CommandExecution:
    """One command from its submission to its receipt."""

    def __init__(
        self,
        environment: Environment,
        command: Command,
        actor: Actor,
        logins: LoginsOfCommand,
        command_id: UUID,
        occurred_at: datetime | None,
        correlation_id: UUID,
        principal: str | None = None,
        actor_name: str | None = None,
        files: Sequence[HeldKey] = (),
    ) -> None:
        """actor: named by their login. logins: of this command, with the actor's guessed.

        command_id: random. occurred_at: when it happened, aware; None: the time of recording.
        principal: of the command's key; the actor's pseudonym if None.
        actor_name: of the person who acts, None if it is not known.
        files: the keys of the sealed files that it names.
        """
        self._environment = environment
        self._command = command
        self._actor = actor
        self._logins = logins
        self._principal = principal
        self._actor_name = actor_name
        self._command_id = command_id
        self._occurred_at = occurred_at
        self._correlation_id = correlation_id
        self._files = files
        self._indexes: dict[tuple[str, str], str] = {}
        self._receipt: tuple[bytes, Receipt] | None = None

    def queued(
        self, identified: Callable[[str], CommandKey], now: datetime, timeout_seconds: float
    ) -> QueuedCommand:
        """The command for the writer. identified: under what it is recorded, by its principal."""
        principal = self._principal or self._logins.guess_actor(self._actor)
        read_set = self._read_set(now)
        logins = self._logins.names
        return QueuedCommand(
            execute=self.execute,
            streams=read_set.streams,
            versions=read_set.versions,
            command=identified(principal),
            claims=read_set.claims,
            owners=read_set.owners,
            logins=logins,
            holders=tuple(self._forms(read_set.holders)),
            identify=(lambda view: identified(self.principal(view))) if logins else None,
            timeout_seconds=timeout_seconds,
        )

    def _read_set(self, now: datetime) -> ReadSet:
        """The read set of the command, as far as cached states tell it at this moment."""
        actor = pseudonymous(self._actor, self._logins.guess_actor(self._actor))
        naming = self._logins.guess_naming(self._actor, self._actor_name)
        context = self._context(self._occurred_at or now, actor, self._logins.guess, naming)
        found = read_set_of(self._environment.states.cached, self._command, context)
        return found._replace(files=tuple({held.name.owner for held in self._files}))

    def principal(self, view: BatchView) -> str:
        """Whose command it is in a batch: a pseudonym. Called before `execute`.

        Raises: SealBroken, WrongEpochKey, psycopg2.Error.
        """
        self._environment.epochs.ensure_known(view.newest_epoch)
        self._logins.begin(view)
        return self._principal or self._logins.find_actor(self._actor, view)

    def execute(self, view: BatchView) -> AppendRequest:
        """Decide; return the append of the decision. Raises: the LedgerError that refuses it.

        The writer's port `ExecuteCommand`: runs on the writer thread, once per attempt.
        """
        self._environment.epochs.ensure_known(view.newest_epoch)
        actor = pseudonymous(self._actor, self._logins.find_actor(self._actor, view))
        context = self._context(
            self._occurred_at or view.recorded_at,
            actor,
            lambda login: self._logins.find(login, view),
            self._logins.find_naming(self._actor, self._actor_name, view),
        )
        reader = StateReader(self._environment, view)
        decision = decide(reader, self._command, context)
        if self._occurred_at is not None:
            reader.ensure_after(decision, self._occurred_at)
        encryptor = self._environment.vault.encryptor(view)
        for held in self._files:
            encryptor.hold(held)
        events = tuple(self._events(decision, view, encryptor, context))
        return AppendRequest(
            events=events,
            claims=decision.claims,
            releases=decision.releases,
            person_claims=tuple(map(self._stored, decision.person_claims)),
            receipt=lambda recorded: self._encode_receipt(recorded, decision),
            fresh_keys=encryptor.fresh_keys,
            destroy_keys=decision.erases,
            fresh_logins=tuple(self._logins.rows),
            forget_logins=self._logins.forgettable(decision.forgets, actor, view),
        )

    def receipt_of(self, outcome: Accepted | Replayed) -> Receipt:
        """The receipt of an outcome. Raises: ValueError for a stored receipt it cannot decode."""
        self._logins.committed(is_replayed=isinstance(outcome, Replayed))
        if self._receipt is not None and self._receipt[0] is outcome.receipt:
            return self._receipt[1]
        return Receipt.from_bytes(outcome.receipt, replayed=isinstance(outcome, Replayed))

    def _context(
        self,
        now: datetime,
        actor: Actor,
        pseudonym: Callable[[str], str],
        naming: Naming | None,
    ) -> Context:
        numbers = count()
        return Context(
            now=now,
            actor=actor,
            new_id=lambda: named_id(self._command_id, f"id {next(numbers)}").hex,
            blind_index=self._blind_index,
            ledger=self._environment.name,
            is_signature=is_signature,
            digest_card=_digest_card,
            keys=self._environment.keys,
            pseudonym=pseudonym,
            naming=naming,
        )

    def _blind_index(self, kind: str, text: str) -> str:
        """Computed once, although the read set and every execution need it."""
        index = self._indexes.get((kind, text))
        if index is None:
            index = self._indexes[kind, text] = self._environment.vault.blind_index(kind, text)
        return index

    def _forms(self, indexes: Iterable[PersonIndex]) -> Iterable[PersonIndex]:
        """Every form in which blind indexes may be stored."""
        for kind, index in indexes:
            for form in self._environment.indexes.forms(index):
                yield kind, form

    def _stored(self, claims: PersonClaims) -> PersonClaims:
        """The claims of a person as they are stored from now on."""
        stored = self._environment.indexes.stored
        rows = tuple((kind, stored(index)) for kind, index in claims.indexes)
        return claims._replace(indexes=rows)

    def _events(
        self, decision: Decision, view: BatchView, encryptor: FieldEncryptor, context: Context
    ) -> Iterable[NewEvent]:
        actor = context.actor.to_envelope()
        versions: dict[str, int] = {}
        for index, (stream, fact) in enumerate(decision.facts):
            if stream not in versions:
                versions[stream] = view.version(stream)
            versions[stream] += 1
            entry = JournalEntry(
                originator_id=stream,
                originator_version=versions[stream],
                event_id=named_id(self._command_id, f"event {index}"),
                occurred_at=context.now,
                recorded_at=None,
                actor=actor,
                command_id=self._command_id,
                correlation_id=self._correlation_id,
                causation_id=None,
                fact=fact,
            )
            pending = PendingEvent(entry._replace(fact=blanked(fact)))
            yield self._environment.mapper.new_event(entry, encryptor, pending)

    def _encode_receipt(self, recorded: Sequence[RecordedEvent], decision: Decision) -> bytes:
        first, last = recorded[0], recorded[-1]
        versions = [r.version for r in recorded if r.stream == first.stream]
        receipt = Receipt(
            command_id=str(self._command_id),
            ledger=self._environment.name,
            stream=first.stream,
            version=versions[-1],
            first_position=first.position,
            last_position=last.position,
            topics=tuple([r.topic for r in recorded]),
            recorded_at=rfc3339(first.recorded_at),
            outcome=self._outcome(first, decision),
        )
        self._receipt = receipt.to_bytes(), receipt
        return self._receipt[0]

    def _outcome(self, first: RecordedEvent, decision: Decision) -> dict[str, Any]:
        """The outcome of the decision; for an erasure, with the day from which nothing opens it."""
        if not decision.erases:
            return decision.outcome
        day = self._environment.vault.unreadable_from(first.recorded_at)
        return {**decision.outcome, "unreadable_from": day.isoformat()}


class StateReader:
    """The `States` of a decision: cached states brought up to date with a batch's read view."""

    def __init__(self, environment: Environment, view: BatchView) -> None:
        self._environment = environment
        self._view = view
        self._folded: dict[str, CachedState | None] = {}

    def ensure_after(self, decision: Decision, moment: datetime) -> None:
        """Check that no stream has a later event than `moment`. Raises: OccurredTooEarly."""
        for stream in {stream for stream, _ in decision.facts}:
            last = self._fold(stream) if self.exists(stream) else None
            if last is not None and last.occurred_at > moment:
                raise OccurredTooEarly(stream=kind_of(stream))

    def _fold(self, stream: str) -> CachedState | None:
        if stream not in self._folded:
            self._folded[stream] = self._environment.states.fold(stream, self._view)
        return self._folded[stream]

    def _find(self, stream: str) -> Any | None:
        folded = self._fold(stream)
        return None if folded is None else folded.state

    def _get(self, what: str, key: str) -> Any:
        state = self._find(stream_of(what, key))
        if state is None:
            raise NotFound(what=what, id=key)
        return state

    def ledger(self) -> states.LedgerState:
        state: states.LedgerState | None = self._find("ledger")
        if state is None:
            raise LedgerNotOpen()
        return state

    def person(self, person_id: str) -> states.Person:
        person: states.Person = self._get("person", person_id)
        return person

    def identity(self, person_id: str) -> Identity:
        sealed = self._environment.states.sealed(stream_of("person", person_id), self._view)
        rows = self._view.data_keys(person_owner(person_id))
        keys = [key for key in rows if key.data_class == DataClass.IDENTITY]
        if not sealed or not keys or self.person(person_id).is_unknown:
            raise NotFound(what="identity of person", id=person_id)
        for key in keys:
            self._environment.vault.cache_key(key)
        return identity_of(person_id, (self._environment.mapper.entry_of(sealed[IDENTITY]),))

    def candidacy(self, application_id: str) -> Candidacy:
        application: Candidacy = self._get("application", application_id)
        return application

    def document_sha256(self, application_id: str, kind: MaterialKind) -> str | None:
        sealed = self._environment.states.sealed(
            stream_of("application", application_id), self._view
        )
        if kind not in sealed:
            return None
        person_id = self.candidacy(application_id).person_id
        for key in self._view.data_keys(person_owner(person_id)):
            if key.data_class == data_class_of(kind):
                self._environment.vault.cache_key(key)
        fact = self._environment.mapper.entry_of(sealed[kind]).fact
        assert isinstance(fact, DocumentSubmitted)
        return fact.plain_sha256 or fact.photo_sha256

    def session(self, session_id: str) -> states.ExamSession:
        session: states.ExamSession = self._get("session", session_id)
        return session

    def notice(self, notice_id: str) -> states.Notice:
        notice: states.Notice = self._get("notice", notice_id)
        return notice

    def report(self, report_id: str) -> states.Report:
        report: states.Report = self._get("report", report_id)
        return report

    def series(self, series_id: str) -> states.Series:
        # A series begins with its first number, so an unknown series is an empty one.
        return self._find(stream_of("series", series_id)) or states.Series(series_id)

    def editions(self, kind: EditionKind) -> Editions:
        return self._find(stream_of("edition", kind)) or Editions(kind)

    def exists(self, stream: str) -> bool:
        return self._view.version(stream) > 0

    def claimed(self, kind: str, key: str) -> bool:
        return self._view.claimed(kind, key) is not None

    def holder(self, kind: str, index: str) -> str | None:
        forms = self._environment.indexes.forms(index)
        self._view.read_holders((kind, form) for form in forms)
        found = (self._view.holder(kind, form) for form in forms)
        person = next((person for person in found if person is not None), None)
        if person is not None and kind == NAMED:
            self._ensure_named(person, index)
        return person

    def _ensure_named(self, person_id: str, index: str) -> None:
        """Check a row by which somebody gets the person's id, for rows of that table have no seal.

        Others only make a registration a contested one. Raises: PersonClaimsWrong.
        """
        try:
            country = self.person(person_id).document_country
            found = self.identity(person_id)
            key = same_person_key(found.document_type, found.document_number, country)
            text = named_text(key, found.name)
        except NotFound:
            text = ""
        if self._environment.vault.blind_index(NAMED, text) != index:
            raise PersonClaimsWrong(ledger=self._environment.name)

    def claims_under(self, kind: str, prefix: str) -> tuple[str, ...]:
        return tuple(sorted(self._view.claims_under(kind, prefix)))

    def sealed_classes(self, person_id: str) -> frozenset[DataClass]:
        rows = self._view.data_keys(person_owner(person_id))
        return frozenset(DataClass(row.data_class) for row in rows if row.wrapped is not None)


def identity_of(person_id: str, entries: Iterable[JournalEntry]) -> Identity:
    """A person's current name and document in clear. Raises: NotFound, also after erasure."""
    known: IdentityFact | None = None
    for entry in entries:
        if isinstance(entry.fact, IDENTITY_FACTS):
            known = entry.fact
        elif isinstance(entry.fact, ERASURE) and DataClass.IDENTITY in entry.fact.destroyed:
            known = None  # also if somebody put the key back
    if known is None or known.name is None or known.document_number is None:
        raise NotFound(what="identity of person", id=person_id)
    return Identity(known.name, known.document_type, known.document_number)


def named_id(namespace: UUID, name: str) -> UUID:
    """A UUID of version 5, as `uuid.uuid5` makes it, in half the time.

    Ids are derived from the command's, which is random, so that a command that is executed again
    has the same ids.
    """
    digest = sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()
    return UUID(int=int.from_bytes(digest[:16], "big") & _FREE_BITS | _VERSION_5)
