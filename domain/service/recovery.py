"""Continues a ledger's log under the next origin, after a loss that two persons accept.

One transaction of the role that owns the tables: what is not the old log's is sealed again under
the new journal key, and the facts that say so are appended. Begin with `Proposal`, then
`continue_log`.
"""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import Future
from dataclasses import asdict, dataclass

from domain.actors import Actor, Role
from domain.errors import LedgerError
from domain.events import KeyIntroduced
from domain.service.command_execution import CommandExecution, Environment
from domain.service.command_ids import CommandIds
from domain.service.ledger import LedgerSecrets
from domain.service.logins import Logins, LoginsOfCommand
from domain.service.named_actors import NamedActors
from domain.service.receipt import Receipt
from domain.service.state_cache import StateCache
from domain.steps.log_recovery import ContinueLog
from domain.store.journal.envelope import canonical_json
from domain.store.journal.journal import Journal
from domain.store.journal.key_ranges import ranges_from
from domain.store.journal.records import NO_EVENTS, CommandKey
from domain.store.journal.resealing import seal_again
from domain.store.journal.statements import ReadRequest
from domain.store.journal.transaction import Transaction
from domain.store.keys.seals import LedgerSealer, Sealer, SealKey, SealRange
from domain.store.mapper import EntryMapper
from domain.store.postgres.connection import connect
from domain.store.privacy.bucket_keys import bucket_keys_of
from domain.store.privacy.field_encryption import Vault, stored_keys
from domain.store.privacy.index_ciphers import LiveIndexCiphers, StoredIndexes
from domain.store.privacy.live_epochs import live_epochs_of
from domain.store.writer.commands import (
    Accepted,
    BatchAttempt,
    PendingCommand,
    QueuedCommand,
    Replayed,
    nothing_cached,
)
from domain.stored_facts import STORED_FACTS

ORGANISATION = "operations"
"""Of the operator who confirms."""


class LedgerChanged(LedgerError):
    """Ledger {ledger} has changed since the proposal; propose again."""

    code = "ledger_changed"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is to be accepted: the same state of a ledger always gives the same proposal.

    old_head_root: hex. first_position: the first that is not the old log's. journal_size: events
    in the journal now. proposed_by: the first person.
    """

    ledger: str
    old_origin: str
    new_origin: str
    old_head_size: int
    old_head_root: str
    old_head_note: str
    first_position: int
    positions_gone: int
    journal_size: int
    proposed_by: str

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(asdict(self))

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, hex; the second person confirms it."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class NewKeys:
    """The keys of the new log. seal: the new journal key; log and journal: the facts about them."""

    seal: SealKey
    log: KeyIntroduced
    journal: KeyIntroduced


def continue_log(
    dsn: str, secrets: LedgerSecrets, proposal: Proposal, confirmed_by: str, keys: NewKeys
) -> Receipt:
    """Accept a proposal. All or nothing.

    dsn: of the role that owns the tables. secrets: their sealer knows every earlier journal key.
    Raises: SecondPersonNeeded, OtherOrigin; LedgerChanged; SealBroken for a row that was altered;
        Unavailable, psycopg2.Error.
    """
    ledger = proposal.ledger
    journal = Journal(dsn, ledger, secrets.sealer.of(ledger))
    connection = connect(
        dsn, name="certledger recover", role=None, settings={"statement_timeout": "0"}
    )
    try:
        old = journal.sealer
        assert old is not None
        new = _new_sealer(secrets.sealer, old, keys.seal, proposal.first_position)
        pending = _command(journal, secrets, proposal, confirmed_by, keys)
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            seal_again(cursor, old, new, proposal.first_position)
        request = ReadRequest(streams={"ledger": NO_EVENTS})
        transaction = Transaction(connection, new, request, None)
        if transaction.head.position != proposal.journal_size:
            raise LedgerChanged(ledger=ledger)
        attempt = BatchAttempt([pending])
        attempt.execute(transaction, nothing_cached)
        [(_, outcome)] = attempt.outcomes
        if isinstance(outcome, BaseException):
            raise outcome
        transaction.commit()
        return Receipt.from_bytes(outcome.receipt, replayed=isinstance(outcome, Replayed))
    finally:
        connection.close()  # rolls back what was not committed
        journal.close()


def _new_sealer(known: Sealer, old: LedgerSealer, key: SealKey, first: int) -> LedgerSealer:
    """The sealer of the ledger from the recovery on."""
    others = [SealKey(name, secret) for name, secret in known.keys.items() if name != key.id]
    ranges = ranges_from(old.ranges or (), SealRange(key.id, first, None))
    return Sealer(key, others).of(old.ledger).with_ranges(ranges)


def _command(
    journal: Journal, secrets: LedgerSecrets, proposal: Proposal, confirmed_by: str, keys: NewKeys
) -> PendingCommand:
    """The command, ready to be executed by a `BatchAttempt`."""
    command = ContinueLog(
        old_origin=proposal.old_origin,
        old_head_size=proposal.old_head_size,
        old_head_root=proposal.old_head_root,
        old_head_note=proposal.old_head_note,
        first_position=proposal.first_position,
        positions_gone=proposal.positions_gone,
        proposed_by=proposal.proposed_by,
        confirmed_by=confirmed_by,
        log_key=keys.log,
        journal_key=keys.journal,
    )
    vault = Vault(
        proposal.ledger,
        bucket_keys_of(journal, secrets.epoch_keys),
        secrets.index_key,
        stored_keys(journal),
        algorithm=secrets.algorithm,
    )
    mapper = EntryMapper(catalogue=STORED_FACTS, vault=vault)
    states = StateCache(mapper, lambda _: None)
    command_id = CommandIds().draw()
    epochs = live_epochs_of(journal.dsn, secrets.epoch_keys)
    indexes = StoredIndexes(vault, LiveIndexCiphers(epochs))
    logins = Logins(journal, secrets.login_keys, NamedActors(journal, mapper), indexes)
    actor = Actor(subject=confirmed_by, role=Role.OPERATOR, organisation=ORGANISATION)
    named = LoginsOfCommand(logins)
    sender = named.guess_actor(actor)
    execution = CommandExecution(
        Environment(proposal.ledger, vault, indexes, mapper, states, logins, epochs),
        command,
        actor,
        named,
        command_id,
        None,
        command_id,
    )
    hasher = secrets.hasher.of(proposal.ledger, epochs)
    hashed = hasher.request(proposal.to_bytes())

    def identified(principal: str) -> CommandKey:
        key = hasher.key(principal, proposal.hash)
        return CommandKey(principal, key, hashed.stored, command_id, hashed.is_same)

    queued = QueuedCommand(
        execute=execution.execute,
        streams=("ledger",),
        command=identified(sender),
        logins=named.names,
        identify=lambda view: identified(execution.principal(view)),
    )
    future: Future[Accepted | Replayed] = Future()
    return PendingCommand(queued, future, time.monotonic(), float("inf"))
