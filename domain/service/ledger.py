"""The use cases: a command comes in, its decision is recorded, the caller gets a receipt.

Reading order: Ledger.submit, then `domain.service.command_execution` (the one way from a wish to
facts), then the
reading side.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import EventStore

from domain.actors import Actor
from domain.decision import Command, Identity, NotFound, stream_of
from domain.errors import LedgerError
from domain.events import CATALOGUE, PersonalDataErased
from domain.service.command_execution import CommandExecution, identity_of, named_id
from domain.service.receipt_futures import LoopReceiptFuture, ReceiptFuture, deliver
from domain.service.snapshot_store import StateSnapshot, project, snapshot_store
from domain.service.snapshots import INTERVAL
from domain.service.state_cache import CachedState, StateCache
from domain.states import folds as states
from domain.store.errors import UnknownLedger
from domain.store.eventsourcing_adapter.conversion import our_errors
from domain.store.journal.journal import Journal, is_ledger, ledgers
from domain.store.journal.records import CommandKey, RecordedEvent
from domain.store.mapper import Catalogue, Entry, EntryMapper
from domain.store.privacy.vault import MasterKeys, Vault, stored_keys
from domain.store.writer.commands import QueuedCommand

A = TypeVar("A", ReceiptFuture, LoopReceiptFuture)

log = logging.getLogger(__name__)

NAMESPACE = UUID("6f2b7c0e-6a0c-5d0e-9d56-8c1d6d1f2b11")
"""Command ids are made from ledger, principal and key, so that a retry is the same command."""


def command_id_of(ledger: str, principal: str, key: str) -> UUID:
    """The id of a command, by who sent it and the Idempotency-Key they gave it.

    An id within an id: subject and key may hold any character, so no separator tells them apart.
    """
    return named_id(_principal_id(ledger, principal), key)


@lru_cache(1024)
def _principal_id(ledger: str, principal: str) -> UUID:
    return named_id(NAMESPACE, f"{ledger}|{principal}")


class OccurredInFuture(LedgerError):
    """What is recorded has happened; {occurred_at} has not come yet."""

    code = "occurred_in_future"


@dataclass(frozen=True, slots=True)
class LedgerSecrets:
    """What ledgers are opened with. algorithm: aes-256-gcm or sm4-gcm, for what is sealed anew."""

    master_keys: MasterKeys
    index_key: bytes = field(repr=False)
    algorithm: str = "aes-256-gcm"


class Ledger(Application[str]):
    """One evaluation organisation's book, open for commands and questions.

    It is an `eventsourcing` application: `save`, `repository`, `notification_log` and subscriptions
    work on it as on any other, through the same writer. Commands go through `submit`, which lets
    many share one commit. Folded states are held in memory, see `domain.service.state_cache`.
    """

    is_snapshotting_enabled = True
    snapshot_class = StateSnapshot
    log_section_size = 500

    def __init__(self, dsn: str, name: str, secrets: LedgerSecrets) -> None:
        """Open the ledger; it connects when it is first used. `close` stops its writer."""
        self.name = name
        self._secrets = secrets
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix=f"snapshots {name}")
        super().__init__(
            {
                "PERSISTENCE_MODULE": "domain.store.recorder",
                "CERTLEDGER_DATABASE_URL": dsn,
                "LEDGER": name,
                "CREATE_TABLE": "n",
            }
        )
        self.held = StateCache(self.mapper, self._restored)
        self._committer = self.factory.datastore.start_committer(
            known_version=self.held.known_version, on_recorded=self._recorded, deliver=deliver
        )

    def construct_mapper(self) -> EntryMapper:
        """The journal's mapper with this ledger's vault. Part of `Application`."""
        self.journal: Journal = self.factory.datastore.journal
        self.vault = Vault(
            self.name,
            self._secrets.master_keys,
            self._secrets.index_key,
            stored_keys(self.journal),
            algorithm=self._secrets.algorithm,
        )
        return EntryMapper(catalogue=Catalogue(CATALOGUE), vault=self.vault)

    def construct_snapshot_store(self) -> EventStore[str]:
        """Snapshots of states. Part of `Application`."""
        return snapshot_store(self.factory.aggregate_recorder(purpose="snapshots"))

    def close(self) -> None:
        """Finish what was accepted for writing, then stop. May be repeated."""
        if not self.closing.is_set():
            self.closing.set()
            self._committer.close()
            self._keeper.shutdown()
            super().close()

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
        answer: A | None = None,
    ) -> A | ReceiptFuture:
        """Queue a command; never blocks.

        key, request_hash, principal: the Idempotency-Key, a digest of the whole request and who
            sent it (the actor's subject by default). The same three give the same receipt again.
        occurred_at: when it happened, aware; now by default.
        answer: where the receipt goes, such as a `LoopReceiptFuture` of the loop that waits; a new
            `ReceiptFuture` if None.
        Returns: it. It raises the `LedgerError` that refused the command, in which case nothing
            moved.
        Raises: Overloaded, Closed; OccurredInFuture.
        """
        now = datetime.now(UTC)
        if occurred_at is not None and occurred_at > now:
            raise OccurredInFuture(occurred_at=occurred_at.isoformat())
        who = principal or actor.subject
        command_id = command_id_of(self.name, who, key)
        run = CommandExecution(
            self, command, actor, command_id, occurred_at, correlation_id or command_id
        )
        look = run.look(now)
        job = QueuedCommand(
            run=run,
            streams=look.streams,
            versions=look.versions,
            command=CommandKey(who, key, request_hash, command_id),
            claims=look.claims,
            persons=look.persons,
            timeout_seconds=timeout_seconds,
        )
        waited_for = answer or ReceiptFuture()
        waited_for.receipt_of = run.receipt_of
        self._committer.submit(job, waited_for)
        return waited_for

    # --- asking what is -----------------------------------------------------------------------

    def state(self, kind: str, key: str | None = None) -> Any:
        """The present state of one thing, such as `state("application", id)`.

        Raises: NotFound, Unavailable.
        """
        stream = stream_of(kind, key)
        held = self.held.state(stream)
        if held is not None:
            later = self.journal.stream(stream, gt=held.version)
            return states.project(held, map(self.mapper.sealed_entry, later))
        try:
            with our_errors():
                return self.repository.get(stream, projector_func=project)
        except AggregateNotFoundError:
            raise NotFound(what=kind, id=key or kind) from None

    def history(self, stream: str) -> list[Entry]:
        """Every entry of a stream, personal fields opened."""
        return self.mapper.entries(self.journal.stream(stream))

    def identity(self, person_id: str) -> Identity:
        """A person's name and document in clear. Raises: NotFound, also once erased."""
        return identity_of(person_id, self.history(stream_of("person", person_id)))

    # --- what the writer thread needs ---------------------------------------------------------

    def _restored(self, stream: str) -> CachedState | None:
        """A stream from its last snapshot, if there is one."""
        with our_errors():
            state = project(None, self.snapshots.get(stream, desc=True, limit=1))
        if state is None:
            return None
        found = self.journal.stream(stream, gt=state.version - 1, lte=state.version)
        return CachedState(state, found[0].occurred_at) if found else None

    def _recorded(self, events: Sequence[RecordedEvent]) -> None:
        """Carry held states on with what was just committed."""
        self.held.carry_on(events)
        for recorded in events:
            if recorded.version % INTERVAL == 0:
                self._keeper.submit(self._keep, recorded.stream, recorded.version)
            if recorded.topic == PersonalDataErased.TOPIC:
                self.vault.forget(recorded.data["person_id"])

    def _keep(self, stream: str, version: int) -> None:
        """Take a snapshot. Losing one costs time and nothing else."""
        try:
            self.take_snapshot(stream, version, projector_func=project)
        except Exception:
            log.warning("no snapshot of %s at version %d", stream, version, exc_info=True)


class Ledgers:
    """The ledgers of one database, opened when they are first asked for. Thread-safe."""

    def __init__(self, dsn: str, secrets: LedgerSecrets) -> None:
        """Take what every ledger is opened with."""
        self._dsn = dsn
        self._secrets = secrets
        self._open: dict[str, Ledger] = {}
        self._lock = threading.Lock()

    def names(self) -> tuple[str, ...]:
        """Every ledger of the database, in order of name."""
        return ledgers(self._dsn)

    def get(self, name: str) -> Ledger:
        """A ledger by its name. Raises: UnknownLedger, Unavailable."""
        found = self._open.get(name)
        if found is not None:
            return found
        # Asked outside the lock: who waits for a dead server must not hold up the other ledgers.
        if not is_ledger(self._dsn, name):
            raise UnknownLedger(ledger=name)
        with self._lock:
            found = self._open.get(name)
            if found is None:
                found = self._open[name] = Ledger(self._dsn, name, self._secrets)
            return found

    def create(self, name: str, site_code: str) -> Ledger:
        """Make a ledger if there is none of that name; its book is opened by a command.

        Raises: SiteCodeTaken, InvalidLedgerName, Unavailable.
        """
        journal = Journal(self._dsn, name)
        try:
            journal.create_ledger(site_code)
        finally:
            journal.close()
        return self.get(name)

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            for ledger in self._open.values():
                ledger.close()
            self._open.clear()
