"""What is to be accepted after a loss, and accepting it (`certledger recover`).

`propose` compares a ledger with every head that was kept of its log and says where it left it;
`confirm` takes the second person, makes the new keys and has `domain.service.recovery` record it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import starmap
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric import ed25519

from api.auth.secrets import load_service_keys, replace_journal_key
from api.settings import Settings
from api.transparency.checkpoint_signing import LogSigner
from api.transparency.head_places import own_place
from api.transparency.kept_heads import kept_heads, logs_of, vkey_of
from api.transparency.log_keys import LogKeyExists, log_key_path, log_seed, make_log_key
from api.transparency.service_keys import (
    HMAC_SHA256,
    secret_in_use,
    signed,
    signing_in_use,
)
from domain.actors import Actor, Role
from domain.errors import LedgerError
from domain.events import KeyIntroduced, KeyPurpose
from domain.service.ledger import Ledger, LedgerSecrets
from domain.service.receipt import Receipt
from domain.service.recovery import ORGANISATION, NewKeys, Proposal, continue_log
from domain.steps.log_recovery import next_origin
from domain.steps.refund import SecondPersonNeeded
from domain.steps.service_keys import IntroduceKey, introduction_of, key_statement
from domain.store.errors import BadNote, LogDiffers, LogNotContinued, SealBroken
from domain.store.journal.journal import Journal, ledgers
from domain.store.keys.seals import Sealer, SealKey, seal_key
from domain.store.tlog.checkpoints import (
    SignedCheckpoint,
    checkpoints_after,
    last_common_size,
    opened_head,
    store_checkpoint,
)
from domain.store.tlog.fast_audit import RANGE_EVENTS, verified_leaf_hashes
from domain.store.tlog.signed_note import Verifier
from domain.values.logins import normal_form


class NothingToRecover(LedgerError):
    """Ledger {ledger} continues its log: there is nothing to accept."""

    code = "nothing_to_recover"


class NoHeadToRestore(LedgerError):
    """Ledger {ledger} has every head that is known: there is none to put back."""

    code = "no_head_to_restore"


class JournalIncomplete(LedgerError):
    """Event {position} of ledger {ledger} is missing or altered: first put a good database back.

    One that has the event, or one that ends before it: what is missing at the end can be accepted.
    """

    code = "journal_incomplete"


class UnknownProposal(LedgerError):
    """There is no proposal with this hash for ledger {ledger}, or the ledger has changed since."""

    code = "unknown_proposal"


class JournalKeyNeeded(LedgerError):
    """Set {variable} to a new key, and add the present one to {variable}S_RETIRED; then confirm."""

    code = "journal_key_needed"


def propose(settings: Settings, ledger: Ledger, person: str) -> Proposal:
    """What would be accepted, as proposed by a person. Changes nothing but the proposal's file.

    Services may run meanwhile, see `confirm`.
    Raises: NothingToRecover; JournalIncomplete; SealBroken if the head or facts about keys were
        altered; NoLogKey; Unavailable.
    """
    proposal = _proposal(settings, ledger, normal_form(person))
    path = _path(settings, ledger.name, proposal.hash)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(proposal.to_bytes())
    return proposal


@dataclass(frozen=True, slots=True)
class Recovery:
    """A loss that was accepted. others: the ledgers that name the new journal key now.

    stopped: those that do not, because they are stopped themselves.
    """

    receipt: Receipt
    others: tuple[str, ...]
    stopped: tuple[str, ...]


def confirm(
    settings: Settings, ledger: Ledger, secrets: LedgerSecrets, digest: str, person: str
) -> Recovery:
    """Accept the proposal with that hash, as a second person.

    Services may run meanwhile. They are stopped for this ledger, or write unsigned: an event that
    they add makes the proposal another one, and afterwards no writer without the new journal key
    accepts the head. Each has to be started again with the new keys.
    Raises: UnknownProposal, SecondPersonNeeded, JournalKeyNeeded; as `propose` and `continue_log`.
    """
    try:
        stored = orjson.loads(_path(settings, ledger.name, digest).read_bytes())
        proposal = Proposal(**stored)
    except (OSError, ValueError, TypeError):
        raise UnknownProposal(ledger=ledger.name) from None
    if normal_form(person) == proposal.proposed_by:
        raise SecondPersonNeeded()
    if proposal.hash != digest or _proposal(settings, ledger, proposal.proposed_by) != proposal:
        raise UnknownProposal(ledger=ledger.name)
    dsn = ledger.journal.dsn
    secrets = _with_new_journal_key(settings, ledger, secrets)
    keys = _new_keys(settings, ledger, secrets)
    # First: a ledger that does not name the key of the service could not be written to.
    others = [name for name in ledgers(dsn) if name != ledger.name]
    done = tuple(name for name in others if _introduce(settings, dsn, name, secrets))
    receipt = continue_log(dsn, secrets, proposal, normal_form(person), keys)
    return Recovery(receipt, done, tuple(name for name in others if name not in done))


def _proposal(settings: Settings, ledger: Ledger, person: str) -> Proposal:
    _ensure_stopped(settings, ledger)
    present = logs_of(ledger.journal)[-1]
    heads = _known_heads(settings, ledger)
    if not heads:
        raise NothingToRecover(ledger=ledger.name)
    end = ledger.journal.head().position
    _ensure_complete(ledger.journal, end)
    common = last_common_size(ledger.journal, heads, end)
    largest = heads[-1]
    return Proposal(
        ledger=ledger.name,
        old_origin=present.origin,
        new_origin=next_origin(present.origin, present.number + 1),
        old_head_size=largest.size,
        old_head_root=largest.root.hex(),
        old_head_note=largest.note,
        first_position=common + 1,
        positions_gone=largest.size - common,
        journal_size=end,
        proposed_by=person,
    )


def _ensure_stopped(settings: Settings, ledger: Ledger) -> None:
    """A service that runs on this ledger takes no commands. Raises: NothingToRecover."""
    try:
        LogSigner(settings).compare_with_all(ledger)
    except LogDiffers:
        return
    raise NothingToRecover(ledger=ledger.name)


def _ensure_complete(journal: Journal, end: int) -> None:
    """Every event is there and as it was written: a log over others could not be verified.

    Raises: JournalIncomplete, Unavailable.
    """
    for after in range(0, end, RANGE_EVENTS):
        upto = min(end, after + RANGE_EVENTS)
        if verified_leaf_hashes(journal, after, upto) is not None:
            continue
        position = after + 1
        try:
            for event in journal.events(after, upto):
                position = event.position + 1
        except SealBroken as error:
            position = error.position
        raise JournalIncomplete(ledger=journal.ledger, position=position)


def _known_heads(settings: Settings, ledger: Ledger) -> list[SignedCheckpoint]:
    """Every known head of the present log that its key signed, ascending by size."""
    log = logs_of(ledger.journal)[-1]
    found = vkey_of(settings, ledger.name, log)
    kept, _ = kept_heads(settings, ledger.name, [log])
    notes = {head.note for head in kept}
    notes.update(head.note for head in checkpoints_after(ledger.journal, -1, 10**9, log.origin))
    heads: dict[tuple[int, bytes], SignedCheckpoint] = {}
    for note in notes:
        try:
            if found is not None:
                head = opened_head(note, Verifier.from_vkey(found[0]))
                heads[head.size, head.root] = head
        except BadNote:
            continue  # of another key
    return [heads[key] for key in sorted(heads)]


def restore_heads(settings: Settings, ledger: Ledger) -> int:
    """Put heads back that the database lacks, or that this machine's place has none of.

    Only if the journal continues every head that is left. Returns: the size of the largest head.
    Raises: LogDiffers; NoHeadToRestore if none is missing, or nobody has one; Unavailable.
    """
    own = own_place(settings)
    origin = ledger.state("ledger").log_origin
    heads = _known_heads(settings, ledger)
    is_own_lost = not own.sizes(origin)
    stored = {head.size for head in checkpoints_after(ledger.journal, -1, 10**9, origin)}
    unstored = [head for head in heads if head.size not in stored]
    if not heads or not (is_own_lost or unstored):
        raise NoHeadToRestore(ledger=ledger.name)
    end = ledger.journal.head().position
    if last_common_size(ledger.journal, heads, end) != heads[-1].size:
        reason = f"not even the heads that are left, of which the largest has {heads[-1].size}"
        raise LogDiffers(ledger=ledger.name, reason=reason)
    for head in heads if is_own_lost else ():
        own.write(origin, head.size, head.note)
    for head in unstored:
        store_checkpoint(ledger.journal, origin, head)
    return heads[-1].size


# --- keys -----------------------------------------------------------------------------------------


class NewJournalKey(StrEnum):
    """Where the new journal key of a recovery comes from."""

    MADE = "made by confirming"
    NEEDED = "set by the operator"
    THERE = "set already"


def new_journal_key(settings: Settings, ledger: Ledger, secrets: LedgerSecrets) -> NewJournalKey:
    """Where the new journal key comes from, with these settings. Raises: NotFound, Unavailable."""
    if not _names(ledger, secrets.sealer.active.id):
        return NewJournalKey.THERE
    is_ours = settings.journal_key is None and settings.embedded
    return NewJournalKey.MADE if is_ours else NewJournalKey.NEEDED


def _with_new_journal_key(
    settings: Settings, ledger: Ledger, secrets: LedgerSecrets
) -> LedgerSecrets:
    """The secrets with a journal key that the ledger does not name yet.

    With the embedded database it is made here, unless an interrupted call has made one.
    """
    origin = new_journal_key(settings, ledger, secrets)
    if origin is NewJournalKey.THERE:
        return secrets
    if origin is NewJournalKey.NEEDED:
        raise JournalKeyNeeded(variable="CERTLEDGER_JOURNAL_KEY")
    replace_journal_key(settings)
    keys = load_service_keys(settings)
    sealer = Sealer(seal_key(keys.journal_key), map(seal_key, keys.journal_keys_retired))
    return replace(secrets, sealer=sealer)


def _names(ledger: Ledger, key_id: str) -> bool:
    return key_id in ledger.state("ledger").keys_for(KeyPurpose.JOURNAL)


def _new_keys(settings: Settings, ledger: Ledger, secrets: LedgerSecrets) -> NewKeys:
    """The new keys and the facts about them; makes the log key if there is none."""
    number = logs_of(ledger.journal)[-1].number
    with contextlib.suppress(LogKeyExists):  # an interrupted call has made it
        make_log_key(settings, ledger.name, number + 1)
    name, purpose = ledger.name, KeyPurpose.LOG
    old = _old_log_key(settings, ledger, number)
    old_id = None if old is None else old[0]
    new = signing_in_use(name, purpose, _log_key(settings, name, number + 1), old_id)
    by_old = None
    if old is not None:
        statement = key_statement(name, purpose, old_id, new.key_id, new.public_key or "")
        by_old = signed(old[1], statement)
    log_fact = introduction_of(new, by_old)
    return NewKeys(secrets.sealer.active, log_fact, _journal_fact(secrets))


def _old_log_key(
    settings: Settings, ledger: Ledger, number: int
) -> tuple[str, ed25519.Ed25519PrivateKey] | None:
    """The key of the old log with its id; None if the key that the ledger names is not here."""
    if not log_key_path(settings, ledger.name, number).exists():
        return None
    key = _log_key(settings, ledger.name, number)
    key_id = signing_in_use(ledger.name, KeyPurpose.LOG, key).key_id
    named = ledger.state("ledger").keys_for(KeyPurpose.LOG)
    return (key_id, key) if named[-1:] == (key_id,) else None


def _log_key(settings: Settings, ledger: str, number: int) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(log_seed(settings, ledger, number))


def _journal_fact(secrets: LedgerSecrets) -> KeyIntroduced:
    active = secrets.sealer.active
    return introduction_of(secret_in_use(KeyPurpose.JOURNAL, active.key, HMAC_SHA256))


def _introduce(settings: Settings, dsn: str, name: str, secrets: LedgerSecrets) -> bool:
    """Have another ledger name the new journal key, sealed under the one that it names now.

    Returns: whether it names it; not if it is stopped itself, or its key is not known here.
    """
    active, known = secrets.sealer.active, secrets.sealer.keys
    journal = Journal(dsn, name, secrets.sealer.of(name))
    try:
        if journal.head().position == 0:
            return True
        sealer = journal.sealer
    finally:
        journal.close()
    in_use = [each.key_id for each in (sealer and sealer.ranges) or () if each.last is None]
    if active.id in in_use:
        return True
    held = [key_id for key_id in in_use if key_id in known]
    if not held:
        return False
    own = Sealer(SealKey(held[-1], known[held[-1]]), starmap(SealKey, known.items()))
    fact = _journal_fact(secrets)
    command = IntroduceKey(purpose=fact.purpose, key_id=fact.key_id, algorithm=fact.algorithm)
    actor = Actor(subject="certledger/recovery", role=Role.OPERATOR, organisation=ORGANISATION)
    other = Ledger(dsn, name, replace(secrets, sealer=own))
    try:
        LogSigner(settings).watch(other)
        key = f"introduce {active.id}"
        other.submit(command, actor, key=key, request=key.encode()).result(timeout=60)
    except LogNotContinued:
        return False
    finally:
        other.close()
    return True


def _path(settings: Settings, ledger: str, digest: str) -> Path:
    """The file of a proposal; any text may be given as its hash."""
    folder = settings.data_dir.expanduser().absolute() / "recovery"
    return folder / f"{ledger}-{''.join(char for char in digest if char.isalnum())[:64]}"
