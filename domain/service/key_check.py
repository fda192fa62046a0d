"""Whether the keys of this service are those that a ledger names.

A service with another key would write what nobody else accepts: it must not start. The check reads
the ids without their seals, because with a wrong journal key no seal is right; whatever is read
later is checked by itself.
"""

from __future__ import annotations

from typing import Protocol

import orjson

from domain.decision import KeyInUse
from domain.events import KeyPurpose
from domain.store.errors import WrongServiceKey
from domain.store.journal.journal import Journal, ledgers
from domain.store.journal.key_ranges import (
    KEY_INTRODUCED,
    KEY_RETIRED,
    KEY_STREAM,
    LOG_CONTINUED,
)
from domain.store.privacy.epoch_keys import EpochKeys
from domain.store.privacy.key_renewal import check_epochs


class KeysOf(Protocol):
    """Tells the keys of this service for a ledger."""

    def __call__(self, ledger: str, *, opening: bool, log_number: int = 1) -> tuple[KeyInUse, ...]:
        """The keys. opening: all of them have to be there, for the ledger names them now.

        log_number: of the ledger's log, one more after each recovery.

        Raises: a LedgerError that names what is missing.
        """


def no_keys(ledger: str, *, opening: bool, log_number: int = 1) -> tuple[KeyInUse, ...]:
    """A `KeysOf` for programs whose keys no ledger has to name."""
    return ()


_NONE = "none"

_FACTS = (
    "SELECT topic, envelope FROM certledger.journal "
    f"WHERE ledger = %s AND stream = '{KEY_STREAM}' ORDER BY version"
)


def check_keys(dsn: str, ledger: str, keys_of: KeysOf) -> tuple[KeyInUse, ...]:
    """Compare the keys of this service with the facts of a ledger that has been opened.

    Returns: the keys, compared or not.
    Raises: WrongServiceKey for the first key that is not in use there; Unavailable.
    """
    if keys_of is no_keys:
        return ()
    journal = Journal(dsn, ledger, None)
    try:
        rows = journal.query(_FACTS, (ledger,))
    finally:
        journal.close()
    in_use: dict[str, list[str]] = {}
    log_number = 1
    for topic, envelope in rows:
        if topic == LOG_CONTINUED:
            in_use.pop(KeyPurpose.LOG, None)
            in_use.pop(KeyPurpose.JOURNAL, None)
            log_number += 1
        if topic not in (KEY_INTRODUCED, KEY_RETIRED):
            continue
        data = orjson.loads(bytes(envelope))["data"]
        ids = in_use.setdefault(data["purpose"], [])
        if topic == KEY_INTRODUCED:
            ids.append(data["key_id"])
        elif data["key_id"] in ids:
            ids.remove(data["key_id"])
    keys = keys_of(ledger, opening=False, log_number=log_number)
    for key in keys if rows else ():
        named = in_use.get(key.purpose, [])
        if key.key_id not in named:
            raise WrongServiceKey(
                purpose=key.purpose,
                ledger=ledger,
                expected=", ".join(named) or _NONE,
                key_id=key.key_id,
            )
    return keys


def check_all_keys(dsn: str, keys_of: KeysOf, epoch_keys: EpochKeys) -> None:
    """Compare the keys with every ledger, then open those of the epochs.

    In this order, because nothing opens under another master key, which is to be named.
    Raises: WrongServiceKey, WrongEpochKey; Unavailable, psycopg2.Error.
    """
    for ledger in ledgers(dsn):
        check_keys(dsn, ledger, keys_of)
    check_epochs(dsn, epoch_keys)
