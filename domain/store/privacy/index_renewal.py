"""Brings stored indexes of persons, and rows of logins, under the newest epoch.

What is stored is decrypted and encrypted again: neither the text nor its HMAC changes. A page at a
time, under the head lock of its ledger, so that no command finds a person or a login under neither
epoch. Reading order: IndexRenewal.renew, `_persons`, `_logins`.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from domain.store.errors import SealBroken, WrongEpochKey
from domain.store.journal.logins import LOGIN_COLUMNS, login_from_row
from domain.store.keys.seals import LedgerSealer, Sealer
from domain.store.postgres.connection import Cursor
from domain.store.privacy.epoch_keys import Epoch, EpochKeys
from domain.store.privacy.index_ciphers import IndexCipher, index_cipher_key

_HEAD_LOCK = "SELECT 1 FROM certledger.ledgers WHERE ledger = %s FOR UPDATE"

_TAKE_PERSONS = """DELETE FROM certledger.person_claims WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM certledger.person_claims
    WHERE ledger = %s AND split_part(index, ':', 1) = ANY(%s) LIMIT %s))
RETURNING kind, index, person_id"""

_PUT_PERSONS = """INSERT INTO certledger.person_claims (ledger, kind, index, person_id)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING"""

_LOGINS = f"""SELECT {LOGIN_COLUMNS} FROM certledger.logins
WHERE ledger = %s AND split_part(key_id, '.', 2) = %s AND (key_id, mac) > (%s, %s)
ORDER BY key_id, mac LIMIT %s"""

_RENEW_LOGINS = """SELECT certledger.renew_logins(%s, %s::text[], %s::bytea[], %s::text[],
    %s::bytea[], %s::bytea[], %s)"""

log = logging.getLogger("certledger.keys")


class IndexRenewal:
    """The work of one database. Used by one thread."""

    def __init__(self, epoch_keys: EpochKeys, sealer: Sealer, page: int) -> None:
        """sealer: of rows of logins. page: rows that are changed while a writer waits."""
        self._keys = epoch_keys
        self._sealer = sealer
        self._page = page

    def renew(
        self,
        cursor: Cursor,
        ledgers: Sequence[str],
        older: Sequence[tuple[int, str]],
        newest: Epoch,
    ) -> None:
        """Bring what is under older epochs under the newest. older: their numbers and key ids.

        An epoch whose key is gone is left out: the audit names what is under it.
        Raises: psycopg2.Error.
        """
        target = IndexCipher(index_cipher_key(newest))
        for number, key_id in older:
            try:
                source = IndexCipher(index_cipher_key(self._keys.open(number, key_id)))
            except WrongEpochKey as error:
                log.warning("stored indexes of epoch %d stay as they are: %s", number, error)
                continue
            for ledger in ledgers:
                while self._persons(cursor, ledger, source, target):
                    pass
                self._logins(cursor, self._sealer.of(ledger), source, target)

    def _persons(
        self, cursor: Cursor, ledger: str, source: IndexCipher, target: IndexCipher
    ) -> int:
        """Renew a page of indexes of persons. Returns: how many."""
        with ledger_transaction(cursor, ledger):
            cursor.execute(_TAKE_PERSONS, (ledger, list(source.prefixes), self._page))
            rows = cursor.fetchall()
            opened = [(kind, source.decrypt(stored), person) for kind, stored, person in rows]
            renewed = [
                (kind, target.encrypt(index), person)
                for kind, index, person in opened
                if index is not None  # else it was no index, and finds nobody
            ]
            columns = list(map(list, zip(*renewed, strict=True))) or [[], [], []]
            cursor.execute(_PUT_PERSONS, (ledger, *columns))
        return len(rows)

    def _logins(
        self, cursor: Cursor, sealer: LedgerSealer, source: IndexCipher, target: IndexCipher
    ) -> None:
        """Renew the rows of logins; one without a right seal stays, for the audit to name."""
        after: tuple[str, bytes] = ("", b"")
        while True:
            with ledger_transaction(cursor, sealer.ledger):
                arguments = (sealer.ledger, str(source.epoch), *after, self._page)
                cursor.execute(_LOGINS, arguments)
                rows = cursor.fetchall()
                renewed = []
                for row in rows:
                    after = row[0], bytes(row[1])
                    try:
                        login = login_from_row(row, sealer)
                    except SealBroken as broken:
                        log.warning("%s; it stays under epoch %d", broken, source.epoch)
                        continue
                    name = target.login(source.plain_login(login.name))
                    seal = sealer.login(name.key_id, name.mac, login.pseudonym)
                    renewed.append((*login.name, *name, seal))
                if renewed:
                    columns = map(list, zip(*renewed, strict=True))
                    cursor.execute(_RENEW_LOGINS, (sealer.ledger, *columns, sealer.key_id))
            if not rows:
                return


@contextmanager
def transaction(cursor: Cursor) -> Iterator[None]:
    """A transaction."""
    cursor.execute("BEGIN")
    try:
        yield
    except BaseException:
        if not cursor.connection.closed:
            cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")


@contextmanager
def ledger_transaction(cursor: Cursor, ledger: str) -> Iterator[None]:
    """A transaction under the head lock of a ledger."""
    with transaction(cursor):
        cursor.execute(_HEAD_LOCK, (ledger,))
        yield
