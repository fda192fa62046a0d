"""The use cases: a command comes in, its decision is recorded, the caller gets a receipt.

Reading order: Ledger.submit, _Run (the one way from a wish to facts), _World (what a decision
sees), then the reading side.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from domain import states
from domain.candidacy import Candidacy
from domain.commands import decide
from domain.decision import Actor, Command, Context, Decision, Identity, NotFound, stream_of
from domain.errors import LedgerError
from domain.events import CATALOGUE, PersonalDataErased, PersonCorrected, PersonRegistered
from domain.receipt import Receipt
from domain.store.committer import Committer
from domain.store.errors import UnknownLedger
from domain.store.jobs import Accepted, Job, Replayed, View
from domain.store.journal import Journal, ledgers
from domain.store.mapper import Catalogue, Entry, EntryMapper
from domain.store.records import NO_EVENTS, Append, CommandKey, Draft, Recorded
from domain.store.vault import MasterKeys, Sealer, Vault, stored_keys
from domain.values import format_instant

NAMESPACE = UUID("6f2b7c0e-6a0c-5d0e-9d56-8c1d6d1f2b11")
"""Command ids are made from ledger, principal and key, so that a retry is the same command."""


class OccurredInFuture(LedgerError):
    """What is recorded has happened; {occurred_at} has not come yet."""

    code = "occurred_in_future"


class FactMapper(EntryMapper):
    """The journal's mapper, with actors as the domain knows them."""

    def _entry(self, envelope: dict[str, Any]) -> Entry:
        entry = super()._entry(envelope)
        return replace(entry, actor=Actor(**envelope["actor"]))

    def draft(self, entry: Entry, sealer: Sealer | None = None) -> Draft:
        """The event to append; see `EntryMapper.draft`."""
        return super().draft(replace(entry, actor=entry.actor.model_dump(mode="json")), sealer)


class _World:
    """What a decision sees: committed state under the head lock, and earlier commands' facts."""

    def __init__(self, ledger: Ledger, view: View) -> None:
        self._ledger = ledger
        self._view = view
        self._seen: dict[str, Any] = {}

    def _find(self, stream: str) -> Any | None:
        if stream not in self._seen:
            self._seen[stream] = self._ledger.fold(stream, self._view)
        return self._seen[stream]

    def _get(self, what: str, key: str) -> Any:
        state = self._find(stream_of(what, key))
        if state is None:
            raise NotFound(what=what, id=key)
        return state

    def book(self) -> states.LedgerBook:
        state = self._find("ledger")
        if state is None:
            raise NotFound(what="book", id="ledger")
        return state

    def person(self, person_id: str) -> states.Person:
        return self._get("person", person_id)

    def identity(self, person_id: str) -> Identity:
        return self._ledger.identity_in(person_id, self._view)

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


_STATES = 20_000
"""How many folded states a ledger holds in memory, about 2 kB each."""


class Ledger:
    """One evaluation organisation's book, open for commands and questions.

    Folded states are held in memory: a stream only grows, so a held state never becomes wrong,
    only old, and under the head lock the entries after it are read.
    """

    def __init__(self, journal: Journal, vault: Vault) -> None:
        """Open the ledger; `close` stops its writer. Raises: nothing, it connects when used."""
        self.name = journal.ledger
        self.journal = journal
        self.vault = vault
        self.mapper = FactMapper(catalogue=Catalogue(CATALOGUE), vault=vault)
        self._held: OrderedDict[str, Any] = OrderedDict()
        self._fresh: dict[UUID, Entry] = {}
        self._committer = Committer(
            journal, known_version=self._known_version, on_recorded=self._recorded
        )

    def close(self) -> None:
        """Finish what was accepted for writing, then stop."""
        self._committer.close()
        self.journal.close()

    # --- asking for something to happen -------------------------------------------------------

    def submit(
        self,
        command: Command,
        actor: Actor,
        *,
        key: str,
        request_hash: bytes,
        principal: str | None = None,
        occurred_at: datetime | None = None,
        correlation_id: UUID | None = None,
        timeout_seconds: float = 10.0,
    ) -> Future[Receipt]:
        """Queue a command; never blocks.

        key, request_hash, principal: the Idempotency-Key, a digest of the whole request and who
            sent it (the actor's subject by default). The same three give the same receipt again.
        occurred_at: when it happened, aware; now by default.
        Returns: a future of the receipt. It raises the `LedgerError` that refused the command,
            in which case nothing moved.
        Raises: Overloaded, Closed; OccurredInFuture.
        """
        now = datetime.now(UTC)
        if occurred_at is not None and occurred_at > now:
            raise OccurredInFuture(occurred_at=occurred_at.isoformat())
        who = principal or actor.subject
        command_id = uuid5(NAMESPACE, f"{self.name}|{who}|{key}")
        run = _Run(self, command, actor, command_id, occurred_at, correlation_id or command_id)
        job = Job(
            run=run,
            streams=command.streams(),
            command=CommandKey(who, key, request_hash, command_id),
            timeout_seconds=timeout_seconds,
        )
        answer: Future[Receipt] = Future()
        self._committer.submit(job).add_done_callback(lambda done: _hand_over(done, answer))
        return answer

    # --- asking what is -----------------------------------------------------------------------

    def state(self, kind: str, key: str | None = None) -> Any:
        """The present state of one thing, such as `state("application", id)`.

        Raises: NotFound.
        """
        stream = stream_of(kind, key)
        held = self._held.get(stream)
        after = held.version if held is not None else None
        state = states.project(held, self.mapper.entries(self.journal.stream(stream, gt=after)))
        if state is None:
            raise NotFound(what=kind, id=key or kind)
        return state

    def history(self, stream: str) -> list[Entry]:
        """Every entry of a stream, personal fields opened."""
        return self.mapper.entries(self.journal.stream(stream))

    def identity(self, person_id: str) -> Identity:
        """A person's name and document in clear. Raises: NotFound, also once erased."""
        return identity_of(person_id, self.history(stream_of("person", person_id)))

    # --- what the writer thread needs ---------------------------------------------------------

    def fold(self, stream: str, view: View) -> Any | None:
        """State of a stream as a job sees it; the committed part is kept for the next one."""
        state = self._held.get(stream)
        committed = view.committed(stream)
        if committed:
            state = states.project(state, self.mapper.entries(committed))
            self._hold(stream, state)
        return states.project(state, map(self._entry, view.pending(stream)))

    def identity_in(self, person_id: str, view: View) -> Identity:
        """As `identity`, but as a job sees it."""
        stream = stream_of("person", person_id)
        stored = self.mapper.entries(self.journal.stream(stream))
        return identity_of(person_id, [*stored, *map(self._entry, view.pending(stream))])

    def keep_fresh(self, entry: Entry) -> None:
        """Remember an entry that is about to be recorded, so that it need not be read back."""
        self._fresh[entry.event_id] = entry

    def _entry(self, recorded: Recorded) -> Entry:
        return self._fresh.get(recorded.event_id) or self.mapper.entry(recorded)

    def _known_version(self, stream: str) -> int:
        held = self._held.get(stream)
        return NO_EVENTS if held is None else held.version

    def _hold(self, stream: str, state: Any) -> None:
        self._held[stream] = state
        self._held.move_to_end(stream)
        while len(self._held) > _STATES:
            self._held.popitem(last=False)

    def _recorded(self, events: Sequence[Recorded]) -> None:
        """Carry held states on with what was just committed."""
        for recorded in events:
            held = self._held.get(recorded.stream)
            if recorded.version == (held.version + 1 if held is not None else 1):
                self._hold(recorded.stream, states.evolve(held, self._entry(recorded)))
            if recorded.topic == PersonalDataErased.TOPIC:
                self.vault.forget(recorded.data["person_id"])
        self._fresh.clear()


class _Run:
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

    def __call__(self, view: View) -> Append:
        """Decide, and turn the decision into what is appended. Raises: LedgerError."""
        numbers = count()
        context = Context(
            now=self.occurred_at or view.recorded_at,
            actor=self.actor,
            new_id=lambda: uuid5(self.command_id, f"id {next(numbers)}").hex,
            blind_index=self.ledger.vault.blind_index,
        )
        decision = decide(_World(self.ledger, view), self.command, context)
        sealer = Sealer(self.ledger.vault, view)
        drafts = tuple(self._drafts(decision, view, sealer, context.now))
        return Append(
            drafts=drafts,
            claims=decision.claims,
            releases=decision.releases,
            receipt=lambda recorded: self._receipt(recorded, decision).to_bytes(),
            fresh_keys=sealer.fresh_keys,
            destroy_keys=decision.erases,
        )

    def _drafts(
        self, decision: Decision, view: View, sealer: Sealer, now: datetime
    ) -> Iterable[Draft]:
        versions: dict[str, int] = {}
        for index, (stream, fact) in enumerate(decision.facts):
            if stream not in versions:
                versions[stream] = view.version(stream)
            versions[stream] += 1
            entry = Entry(
                originator_id=stream,
                originator_version=versions[stream],
                event_id=uuid5(self.command_id, f"event {index}"),
                occurred_at=now,
                recorded_at=None,
                actor=self.actor,
                command_id=self.command_id,
                correlation_id=self.correlation_id,
                causation_id=None,
                fact=fact,
            )
            self.ledger.keep_fresh(entry)
            yield self.ledger.mapper.draft(entry, sealer)

    def _receipt(self, recorded: Sequence[Recorded], decision: Decision) -> Receipt:
        first, last = recorded[0], recorded[-1]
        version = max(r.version for r in recorded if r.stream == first.stream)
        return Receipt(
            command_id=str(self.command_id),
            ledger=self.ledger.name,
            stream=first.stream,
            version=version,
            first_position=first.position,
            last_position=last.position,
            topics=tuple(r.topic for r in recorded),
            recorded_at=format_instant(first.recorded_at),
            outcome=decision.outcome,
        )


def _hand_over(done: Future[Accepted | Replayed], answer: Future[Receipt]) -> None:
    """Turn the writer's answer into the caller's."""
    if not answer.set_running_or_notify_cancel():
        return
    error = done.exception()
    if error is not None:
        answer.set_exception(error)
        return
    result = done.result()
    answer.set_result(
        Receipt.from_bytes(result.receipt, replayed=isinstance(result, Replayed))
    )


class Ledgers:
    """The ledgers of one database, opened when they are first asked for. Thread-safe."""

    def __init__(
        self, dsn: str, master_keys: MasterKeys, index_key: bytes, *, algorithm: str
    ) -> None:
        """Take what every ledger is opened with; see `Vault` for the keys."""
        self._dsn = dsn
        self._master_keys = master_keys
        self._index_key = index_key
        self._algorithm = algorithm
        self._open: dict[str, Ledger] = {}
        self._lock = threading.Lock()

    def names(self) -> tuple[str, ...]:
        """Every ledger of the database, in order of name."""
        return ledgers(self._dsn)

    def get(self, name: str) -> Ledger:
        """A ledger by its name. Raises: UnknownLedger, InvalidLedgerName."""
        with self._lock:
            found = self._open.get(name)
            if found is None:
                if name not in ledgers(self._dsn):
                    raise UnknownLedger(ledger=name)
                found = self._open[name] = self._make(name)
            return found

    def create(self, name: str, site_code: str) -> Ledger:
        """Make a ledger if there is none of that name; its book is opened by a command.

        Raises: SiteCodeTaken, InvalidLedgerName.
        """
        Journal(self._dsn, name).create_ledger(site_code)
        return self.get(name)

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            for ledger in self._open.values():
                ledger.close()
            self._open.clear()

    def _make(self, name: str) -> Ledger:
        journal = Journal(self._dsn, name)
        vault = Vault(
            name,
            self._master_keys,
            self._index_key,
            stored_keys(journal),
            algorithm=self._algorithm,
        )
        return Ledger(journal, vault)
