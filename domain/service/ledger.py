"""The use cases of a ledger: submit a command, read a state, read a history.

Reading order: Ledger.submit, then `domain.service.command_execution`, then the reads.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar, overload
from uuid import UUID

from domain.actors import Actor
from domain.decision import Command, Identity, KeyInUse, NotFound, stream_of
from domain.editions.edition import EditionKind
from domain.errors import LedgerError
from domain.events import ERASURE
from domain.service.command_execution import CommandExecution, Environment, identity_of
from domain.service.command_ids import CommandIds
from domain.service.guards import LOG_NOT_CONTINUED, WriteGuard
from domain.service.key_check import KeysOf, check_all_keys, check_keys, no_keys
from domain.service.logins import Logins, LoginsOfCommand
from domain.service.named_actors import NamedActors
from domain.service.person_index import ensure_person_claims
from domain.service.receipt_futures import LoopReceiptFuture, ReceiptFuture, resolve_batch
from domain.service.snapshots import INTERVAL, SnapshotStore
from domain.service.state_cache import CachedState, StateCache
from domain.states import folds as states
from domain.states.editions import Editions
from domain.store.errors import InvalidLedgerName, ReservedLedgerName, UnknownLedger
from domain.store.journal.bucket_keys import SELECT_NEEDED_EPOCHS
from domain.store.journal.idempotency import ensure_same_request
from domain.store.journal.journal import Journal, is_ledger, ledgers
from domain.store.journal.records import CommandKey, KnownCommand, RecordedEvent
from domain.store.keys.command_hashes import CommandHasher, LedgerCommandHasher
from domain.store.keys.login_keys import LoginKeys
from domain.store.keys.seals import Sealer
from domain.store.mapper import EntryMapper, JournalEntry
from domain.store.postgres.errors import unavailable
from domain.store.privacy.bucket_keys import bucket_keys_of
from domain.store.privacy.epoch_keys import EpochKeys
from domain.store.privacy.field_encryption import HeldKey, Vault, erased_owners, stored_keys
from domain.store.privacy.index_ciphers import LiveIndexCiphers, StoredIndexes
from domain.store.privacy.key_renewal import check_needed_epochs
from domain.store.privacy.live_epochs import LiveEpochs, live_epochs_of
from domain.store.writer.group_commit import Committer
from domain.stored_facts import STORED_FACTS
from domain.values.certificate_links import LinkKeys
from domain.values.primitives import LEDGER_PATTERN, RESERVED_LEDGERS, SERVICE_LEDGER
from domain.values.sealed_fields import parse_placed, person_owner

F = TypeVar("F", ReceiptFuture, LoopReceiptFuture)

log = logging.getLogger(__name__)

_ERASURES = frozenset(fact.TOPIC for fact in ERASURE)


class OccurredInFuture(LedgerError):
    """What is recorded has happened; {occurred_at} has not come yet."""

    code = "occurred_in_future"


@dataclass(frozen=True, slots=True)
class LedgerSecrets:
    """The keys of ledgers. algorithm: aes-256-gcm or sm4-gcm, for fields sealed from now on.

    sealer: seals events, heads, commands, logins and snapshots. hasher: of requests and idempotency
        keys. login_keys: find the pseudonyms of logins.
    link_keys: of links on certificates.
    """

    epoch_keys: EpochKeys
    index_key: bytes = field(repr=False)
    sealer: Sealer
    hasher: CommandHasher
    login_keys: LoginKeys
    link_keys: LinkKeys
    algorithm: str = "aes-256-gcm"


def vault_of(journal: Journal, secrets: LedgerSecrets) -> Vault:
    """A vault of a ledger, with no key in memory yet."""
    return Vault(
        journal.ledger,
        bucket_keys_of(journal, secrets.epoch_keys),
        secrets.index_key,
        stored_keys(journal),
        algorithm=secrets.algorithm,
        erased=erased_owners(journal),
    )


class Ledger:
    """One evaluation organisation's ledger, open for commands and reads. Thread-safe.

    `submit` hands commands to the ledger's writer, which commits many of them in one transaction.
    Folded states are cached in memory, see `domain.service.state_cache`.
    """

    def __init__(
        self,
        dsn: str,
        name: str,
        secrets: LedgerSecrets,
        *,
        keys: tuple[KeyInUse, ...] = (),
        write_unsigned: bool = False,
        epochs: LiveEpochs | None = None,
    ) -> None:
        """Open the ledger and start its writer; it connects when it is first used.

        keys: of the service, which the ledger names when it opens. write_unsigned: see
        `WriteGuard`. epochs: shared by the ledgers of a database; its own if None. Set `on_erasure`
        to be called with each erasure, on the writer's thread: after its COMMIT and before its
        receipt is given out.
        """
        self.name = name
        self.guard = WriteGuard(name, write_unsigned=write_unsigned)
        self.journal = Journal(dsn, name, secrets.sealer.of(name))
        self.vault = vault_of(self.journal, secrets)
        epochs = epochs or live_epochs_of(dsn, secrets.epoch_keys)
        self.indexes = StoredIndexes(self.vault, LiveIndexCiphers(epochs))
        self.mapper = EntryMapper(catalogue=STORED_FACTS, vault=self.vault)
        self._hasher = secrets.hasher.of(name, epochs)
        self._command_ids = CommandIds()
        self._snapshots = SnapshotStore(self.journal)
        self._snapshot_thread = ThreadPoolExecutor(1, thread_name_prefix=f"snapshots {name}")
        self.on_erasure: Callable[[], None] | None = None
        self._states = StateCache(self.mapper, self._restore)
        self._is_history_lost = False
        self.journal.last_seen.lost = self._history_lost
        self.actors = NamedActors(self.journal, self.mapper)
        self.logins = Logins(self.journal, secrets.login_keys, self.actors, self.indexes)
        self._environment = Environment(
            name, self.vault, self.indexes, self.mapper, self._states, self.logins, epochs, keys
        )
        self._is_closed = False
        self._committer = Committer(
            self.journal,
            cached_version=self._states.cached_version,
            apply_committed=self._apply_committed,
            resolve_batch=resolve_batch,
            permit=self._permit,
        )

    def close(self) -> None:
        """Finish the queued commands, then stop. May be repeated."""
        if not self._is_closed:
            self._is_closed = True
            self._committer.close()
            self._snapshot_thread.shutdown()
            self.journal.close()

    # --- commands -----------------------------------------------------------------------------

    @overload
    def submit(
        self,
        command: Command,
        actor: Actor,
        *,
        key: str,
        request: bytes,
        principal: str | None = None,
        occurred_at: datetime | None = None,
        correlation_id: UUID | None = None,
        actor_name: str | None = None,
        timeout_seconds: float = 10.0,
        files: Sequence[HeldKey] = (),
    ) -> ReceiptFuture: ...

    @overload
    def submit(
        self,
        command: Command,
        actor: Actor,
        *,
        key: str,
        request: bytes,
        principal: str | None = None,
        occurred_at: datetime | None = None,
        correlation_id: UUID | None = None,
        actor_name: str | None = None,
        timeout_seconds: float = 10.0,
        files: Sequence[HeldKey] = (),
        future: F,
    ) -> F: ...

    def submit(
        self,
        command: Command,
        actor: Actor,
        *,
        key: str,
        request: bytes,
        principal: str | None = None,
        occurred_at: datetime | None = None,
        correlation_id: UUID | None = None,
        actor_name: str | None = None,
        timeout_seconds: float = 10.0,
        files: Sequence[HeldKey] = (),
        future: F | None = None,
    ) -> F | ReceiptFuture:
        """Queue a command; never blocks.

        actor: their subject is a login, recorded as its pseudonym, or a name of the service.
        key, request, principal: the Idempotency-Key, the whole request in one spelling and its
            sender: the actor's pseudonym if None. The same three give the same receipt again; of
            the first two only keyed hashes are stored.
        occurred_at: when it happened, aware; now by default. actor_name: recorded of staff.
        files: the keys of the sealed files that the command names.
        future: gets the receipt, such as a `LoopReceiptFuture` of the waiting loop; a new
            `ReceiptFuture` if None.
        Returns: the future. It raises the `LedgerError` that refused the command; then nothing
            was recorded.
        Raises: LogNotContinued, ErasuresMissing; Overloaded, Closed; OccurredInFuture;
            WrongEpochKey, Unavailable.
        """
        self.guard.check()
        command_id = self._command_ids.draw()
        execution = CommandExecution(
            self._environment,
            command,
            actor,
            LoginsOfCommand(self.logins),
            command_id,
            occurred_at,
            correlation_id or command_id,
            principal,
            actor_name,
            files,
        )
        identified = partial(_command_key, self._hasher, key, request, command_id)
        with unavailable(self.name):  # as long as the epochs have never been read
            queued = execution.queued(identified, _present(occurred_at), timeout_seconds)
        receipt = future if future is not None else ReceiptFuture()
        receipt.receipt_of = execution.receipt_of
        self._committer.enqueue(queued, receipt)
        return receipt

    def check_history(self) -> None:
        """Compare the journal with what this process has seen of it; stop the ledger if it differs.

        Raises: Unavailable, UnknownLedger, SealBroken.
        """
        self.journal.check_history()

    def _history_lost(self, difference: str) -> None:
        """Drop what is cached of a lost history, and stop the ledger; called on any thread."""
        self._is_history_lost = True
        self._states.clear()
        self.logins.clear()
        self.guard.stop(LOG_NOT_CONTINUED, f"the database lost a part of its history: {difference}")

    # --- reads --------------------------------------------------------------------------------

    def state(self, kind: str, key: str | None = None) -> Any:
        """The current state of one thing, such as `state("application", id)`.

        Raises: NotFound, Unavailable.
        """
        stream = stream_of(kind, key)
        # After a stop the cache may hold states of a lost history.
        state = None if self.guard.stopped else self._states.state(stream)
        if state is None:
            state = self._snapshots.latest(stream)
        state = self._project(state, stream)
        if state is None:
            raise NotFound(what=kind, id=key or kind)
        return state

    def editions(self, kind: EditionKind, as_of: int | datetime | None = None) -> Editions:
        """The editions of a kind as they were known.

        as_of: up to a position, or what was recorded up to a time; None: now. Raises: Unavailable.
        """
        recorded = self.journal.stream(stream_of("edition", kind))
        if isinstance(as_of, datetime):
            recorded = [event for event in recorded if event.recorded_at <= as_of]
        elif as_of is not None:
            recorded = [event for event in recorded if event.position <= as_of]
        found: Editions | None = states.project(None, map(self.mapper.sealed_entry, recorded))
        return found or Editions(kind)

    def claims_under(self, kind: str, prefix: str) -> tuple[str, ...]:
        """The keys of the claims of a kind that begin like this and are taken, in order.

        prefix: in ASCII, not empty. Raises: Unavailable.
        """
        return self.journal.claims_under(kind, prefix)

    def history(self, stream: str) -> list[JournalEntry]:
        """Every entry of a stream, personal fields decrypted."""
        return self.mapper.entries(self.journal.stream(stream))

    def identity(self, person_id: str) -> Identity:
        """A person's name and document in clear. Raises: NotFound, also after erasure."""
        return identity_of(person_id, self.history(stream_of("person", person_id)))

    def open_texts(self, texts: Sequence[str | None]) -> list[str | None]:
        """Texts of a view's column, those that are sealed opened; blocking.

        Returns: None where there was none, or where its key was destroyed.
        Raises: WrongKey, Unavailable.
        """
        placed = [None if text is None else parse_placed(text) for text in texts]
        self.vault.preload(each[3] for each in placed if each is not None)
        return [
            text if place is None else self.vault.open(*place)
            for text, place in zip(texts, placed, strict=True)
        ]

    def recorded_command(self, login: str, key: str, request: bytes) -> KnownCommand | None:
        """What was recorded for this very request; None if nothing was.

        login: of its sender. key, request: as for `submit`.
        Raises: IdempotencyKeyReused if the key was used with another request;
            IdempotencyKeyExpired, CommandKeyMissing; SealBroken, Unavailable.
        """
        principal = self.logins.find(login)
        if principal is None:
            return None
        known = self.journal.command(principal, self._hasher.key(principal, key))
        if known is not None:
            ensure_same_request(known, self._hasher.request(request).is_same)
        return known

    def _project(self, state: Any | None, stream: str, lte: int | None = None) -> Any | None:
        """The state of a stream after its events up to a version, from an earlier state on."""
        gt = None if state is None else state.version
        later = self.journal.stream(stream, gt=gt, lte=lte)
        return states.project(state, map(self.mapper.sealed_entry, later))

    # --- ports of the writer, called on its thread --------------------------------------------

    def _permit(self) -> None:
        """Raises: LogNotContinued, ErasuresMissing, Unavailable; see `WriteGuard`."""
        if self._is_history_lost:
            # Again: a batch that was being executed may have cached states since.
            self._is_history_lost = False
            self._states.clear()
        self.guard.check_before_batch()

    def _restore(self, stream: str) -> CachedState | None:
        """A stream's state from its last snapshot, for the state cache."""
        state = self._snapshots.latest(stream)
        if state is None:
            return None
        found = self.journal.stream(stream, gt=state.version - 1, lte=state.version)
        return CachedState(state, found[0].occurred_at) if found else None

    def _apply_committed(self, events: Sequence[RecordedEvent]) -> None:
        """Update the state cache, take due snapshots, forget the keys of erased persons."""
        self._states.apply_committed(events)
        is_erasure = False
        for recorded in events:
            if recorded.version % INTERVAL == 0:
                self._snapshot_thread.submit(self._take_snapshot, recorded.stream, recorded.version)
            if recorded.topic in _ERASURES:
                self.vault.forget(person_owner(recorded.data["person_id"]))
                is_erasure = True
        if is_erasure and self.on_erasure is not None:
            self._register_erasures(self.on_erasure)

    def _register_erasures(self, register: Callable[[], None]) -> None:
        """Before anybody learns that data were erased. What fails is tried again every second."""
        try:
            register()
        except Exception:
            log.exception("ledger %s: an erasure could not be registered", self.name)

    def _take_snapshot(self, stream: str, version: int) -> None:
        """Store the state of a stream at a version. A lost snapshot costs only time."""
        try:
            state = self._project(self._snapshots.latest(stream, lte=version), stream, lte=version)
            if state is not None:
                self._snapshots.put(stream, state)
        except Exception:
            log.warning("no snapshot of %s at version %d", stream, version, exc_info=True)


def _command_key(
    hasher: LedgerCommandHasher, key: str, request: bytes, command_id: UUID, principal: str
) -> CommandKey:
    """Under what a command is recorded."""
    hashed = hasher.request(request)
    stored = hasher.key(principal, key)
    return CommandKey(principal, stored, hashed.stored, command_id, hashed.is_same)


def _present(occurred_at: datetime | None) -> datetime:
    """The time. Raises: OccurredInFuture for an occurrence after it."""
    now = datetime.now(UTC)
    if occurred_at is not None and occurred_at > now:
        raise OccurredInFuture(occurred_at=occurred_at.isoformat())
    return now


class Ledgers:
    """The ledgers of one database, each opened when it is first used. Thread-safe."""

    def __init__(
        self,
        dsn: str,
        secrets: LedgerSecrets,
        *,
        keys_of: KeysOf = no_keys,
        on_open: Callable[[Ledger], None] | None = None,
        write_unsigned: bool = False,
    ) -> None:
        """Open nothing yet. secrets: of every ledger.

        keys_of: the keys of this service, which the facts of a ledger have to name.
        on_open: called with each ledger before it is used. write_unsigned: see `WriteGuard`.
        """
        self._dsn = dsn
        self._secrets = secrets
        self._keys_of = keys_of
        self._on_open = on_open
        self._write_unsigned = write_unsigned
        self.epochs = live_epochs_of(dsn, secrets.epoch_keys)
        self._open: dict[str, Ledger] = {}
        self._lock = threading.Lock()

    def names(self) -> tuple[str, ...]:
        """Every ledger of the database, in order of name."""
        return ledgers(self._dsn)

    def check_keys(self) -> None:
        """Check every key without which a service must not start. Raises: as `check_all_keys`."""
        check_all_keys(self._dsn, self._keys_of, self._secrets.epoch_keys)

    def get(self, name: str) -> Ledger:
        """A ledger by its name.

        Raises: UnknownLedger, Unavailable; WrongServiceKey if a key of this service is not one that
            the ledger names; WrongEpochKey; what `keys_of` raises.
        """
        found = self._open.get(name)
        if found is not None:
            return found
        # Outside the lock: waiting for an unreachable server must not block the other ledgers.
        if not is_ledger(self._dsn, name):
            raise UnknownLedger(ledger=name)
        keys = check_keys(self._dsn, name, self._keys_of)
        if self._keys_of is not no_keys:  # else it is opened for an audit, which changes nothing
            self._prepare(name)
        with self._lock:
            found = self._open.get(name)
            if found is None:
                found = Ledger(
                    self._dsn,
                    name,
                    self._secrets,
                    keys=keys,
                    write_unsigned=self._write_unsigned,
                    epochs=self.epochs,
                )
                if self._on_open is not None:
                    self._on_open(found)
                self._open[name] = found
            return found

    def _prepare(self, name: str) -> None:
        """Complete the table of blind indexes before anything is recorded.

        Raises: WrongEpochKey: without the keys of epochs nobody would have an index.
        """
        journal = Journal(self._dsn, name, self._secrets.sealer.of(name))
        try:
            check_needed_epochs(
                lambda: journal.query(SELECT_NEEDED_EPOCHS), self._secrets.epoch_keys
            )
            vault = vault_of(journal, self._secrets)
            indexes = StoredIndexes(vault, LiveIndexCiphers(self.epochs))
            ensure_person_claims(journal, vault, indexes)
        finally:
            journal.close()

    def create(self, name: str, site_code: str) -> Ledger:
        """Create a ledger if there is none of that name. A command sets it up afterwards.

        Raises: ReservedLedgerName, SiteCodeTaken, InvalidLedgerName, Unavailable; what `keys_of`
            raises, such as NoLogKey, before anything is created.
        """
        if name in RESERVED_LEDGERS:
            raise ReservedLedgerName(ledger=name)
        if re.fullmatch(LEDGER_PATTERN, name) is None:
            # No address and no link of a certificate could name it.
            raise InvalidLedgerName(ledger=name, form="2 to 31 of a-z 0-9 -, and a letter first")
        return self._create(name, site_code)

    def create_service(self) -> Ledger:
        """Create the operator's own ledger if there is none; a command opens it afterwards.

        Raises: Unavailable; what `keys_of` raises, before anything is created.
        """
        return self._create(SERVICE_LEDGER, None)

    def _create(self, name: str, site_code: str | None) -> Ledger:
        self._keys_of(name, opening=True)
        journal = Journal(self._dsn, name, None)
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
