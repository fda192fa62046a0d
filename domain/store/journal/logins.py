"""The table of logins: which pseudonym a login has in a ledger.

Events, commands and claims name people by pseudonyms only. A row is written in the transaction of
the first command that names its login, replaced when it comes under another epoch, and deleted with
the person whose login it is, unless they have acted as staff. Its seal is checked wherever it is
read: exchanged rows would make one person another.
"""

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from domain.store.keys.login_keys import LoginName
from domain.store.keys.seals import LedgerSealer


class LoginRow(NamedTuple):
    """A login with its pseudonym. seal: 32 bytes under the journal key seal_key.

    name: as it is stored, under an epoch, see `domain.store.privacy.index_ciphers`.
    """

    name: LoginName
    pseudonym: str
    seal: bytes
    seal_key: str


def new_pseudonym() -> str:
    """128 random bits as 32 hex digits."""
    return secrets.token_hex(16)


def sealed_row(name: LoginName, pseudonym: str, sealer: LedgerSealer) -> LoginRow:
    """A row to insert."""
    seal = sealer.login(name.key_id, name.mac, pseudonym)
    return LoginRow(name, pseudonym, seal, sealer.key_id)


def login_from_row(row: Sequence[Any], sealer: LedgerSealer | None) -> LoginRow:
    """The login of a row of LOGIN_COLUMNS. Raises: SealBroken."""
    key_id, mac, pseudonym, seal, seal_key = row
    found = LoginRow(LoginName(key_id, bytes(mac)), pseudonym, bytes(seal), seal_key)
    if sealer is not None:
        sealer.check_login(key_id, found.name.mac, pseudonym, found.seal, seal_key)
    return found


LOGIN_COLUMNS = "key_id, mac, pseudonym, seal, seal_key"

LIVE_LOGIN = """EXISTS (SELECT FROM certledger.epochs e
    WHERE e.destroyed_at IS NULL AND e.epoch::text = split_part(l.key_id, '.', 2))"""
"""Whether the epoch of a row `l` is not over; else its login is not found."""

SELECT_LOGINS = f"""SELECT {LOGIN_COLUMNS} FROM certledger.logins
WHERE ledger = %s AND (key_id, mac) IN %s"""

INSERT_LOGINS = """INSERT INTO certledger.logins (ledger, key_id, mac, pseudonym, seal, seal_key)
SELECT $1, r.key_id, decode(r.mac, 'hex'), r.pseudonym, decode(r.seal, 'hex'), $2
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS r (key_id, mac, pseudonym, seal)"""

SELECT_ACTED_AS_STAFF = "SELECT certledger.acted_as_staff(%s, %s)"

FORGET_LOGINS = "SELECT certledger.forget_logins($1, $2::text[])"
