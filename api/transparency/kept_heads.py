"""The logs of a ledger, their public keys, and every head of them that was kept outside of it.

For audits: read from the stored events without a decision or a seal, because a ledger that was
altered has to be audited too. Reading order: Log, logs_of, kept_heads, lost_own_heads.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from api.settings import Settings
from api.transparency.head_places import other_places, own_place
from api.transparency.log_keys import log_key_path, log_seed, newest_head_file
from domain.errors import LedgerError
from domain.events import KeyIntroduced, LedgerOpened, LogContinuedElsewhere, ServiceOpened
from domain.store.errors import HeadPlaceSilent
from domain.store.journal.journal import Journal
from domain.store.tlog.audit import DATABASE, KeptHead
from domain.store.tlog.checkpoints import latest_checkpoint
from domain.store.tlog.findings import Finding
from domain.store.tlog.heads import HeadPlace
from domain.store.tlog.signed_note import Signer, Verifier

_READ = """SELECT topic, position, envelope FROM certledger.journal
WHERE ledger = %s AND stream = 'ledger' AND topic = ANY(%s) ORDER BY position"""
_OPENED = (LedgerOpened.TOPIC, ServiceOpened.TOPIC)
_TOPICS = [*_OPENED, KeyIntroduced.TOPIC, LogContinuedElsewhere.TOPIC]


@dataclass(frozen=True, slots=True)
class Log:
    """One log of a ledger. public_key: 32 bytes, as its fact names it; None if none does.

    end: last position that it has in common with the journal; None for the present log.
    """

    number: int
    origin: str
    public_key: bytes | None = None
    end: int | None = None


def logs_of(journal: Journal) -> list[Log]:
    """The logs of a ledger as its events name them, unchecked; the present one is the last."""
    logs: list[Log] = []
    for topic, _, envelope in journal.query(_READ, (journal.ledger, _TOPICS)):
        try:
            data = orjson.loads(envelope)["data"]
            if topic in _OPENED:
                logs.append(Log(1, data["log_origin"]))
            elif topic == LogContinuedElsewhere.TOPIC:
                old = logs[-1]
                end = data["first_position"] - 1
                logs[-1] = Log(old.number, old.origin, old.public_key, end)
                logs.append(Log(old.number + 1, data["new_origin"]))
            elif data["purpose"] == "log" and data["public_key"]:
                log = logs[-1]
                key = base64.b64decode(data["public_key"], validate=True)
                logs[-1] = Log(log.number, log.origin, key, log.end)
        except (ValueError, TypeError, KeyError, IndexError):
            continue  # an altered event, which the audit names
    return logs


def vkey_of(settings: Settings, ledger: str, log: Log) -> tuple[str, str] | None:
    """The public key of a log and where it is from, in words; None if nobody knows it.

    Makes no key. The key of this machine comes before the one that the events name.
    """
    if log_key_path(settings, ledger, log.number).exists():
        try:
            signer = Signer(log.origin, log_seed(settings, ledger, log.number))
            return signer.verifier.vkey, "the key of this machine"
        except LedgerError:
            pass
    if log.public_key is None or len(log.public_key) != 32:
        return None
    return Verifier(log.origin, log.public_key).vkey, "the key that the ledger names"


def kept_heads(
    settings: Settings, ledger: str, logs: Sequence[Log]
) -> tuple[list[KeptHead], list[str]]:
    """Every head of these logs in the data directory, next to their keys and in the second places.

    Returns: the heads, and the names of places that did not answer.
    """
    heads: list[KeptHead] = []
    silent: list[str] = []
    common = [(place, logs) for place in (own_place(settings), *other_places(settings))]
    by_key = [(newest_head_file(settings, ledger, log.number), [log]) for log in logs]
    for place, known in (*common, *by_key):
        try:
            for log in known:
                for size in place.sizes(log.origin):
                    note = place.read(log.origin, size)
                    if note is not None:
                        heads.append(KeptHead(place.name, note, size))
        except HeadPlaceSilent:
            silent.append(place.name)
    return heads, silent


def lost_own_heads(settings: Settings, ledger: str, journal: Journal) -> list[Finding]:
    """Names a machine that has the log key of a ledger and none of the heads that it signed.

    Raises: Unavailable.
    """
    log = next(reversed(logs_of(journal)), None)
    if log is None or not log_key_path(settings, ledger, log.number).exists():
        return []
    known: list[tuple[int, str]] = []
    last = latest_checkpoint(journal, log.origin)
    if last is not None:
        known.append((last.size, DATABASE))
    own = own_place(settings)
    others: list[HeadPlace] = [newest_head_file(settings, ledger, log.number)]
    others += other_places(settings)
    try:
        for place in others:
            known += [(size, place.name) for size in place.sizes(log.origin)]
        # The own place last: a signer writes each head there first.
        is_lost = known and not own.sizes(log.origin)
    except HeadPlaceSilent:
        return []
    if not is_lost:
        return []
    size, name = max(known)
    what = f"{own.name} has no head, but {name} has one of size {size}"
    return [Finding(None, what, "heads")]
