"""The vault of a ledger as projections use it: it reads data keys on their own connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from domain.store.journal.records import PersonKey
from domain.store.postgres.connection import Connection
from domain.store.privacy.field_encryption import MasterKeys, Vault


class VaultSecrets(Protocol):
    """The keys a vault needs; `domain.service.ledger.VaultSecrets` is one."""

    @property
    def master_keys(self) -> MasterKeys: ...
    @property
    def index_key(self) -> bytes: ...
    @property
    def algorithm(self) -> str: ...


def vault_of(secrets: VaultSecrets, ledger: str, connection: Connection) -> Vault:
    """A ledger's vault that reads person keys on the given connection."""

    def key_rows(persons: Iterable[str]) -> dict[str, PersonKey]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT person, algorithm, master_key_id, wrapped FROM certledger.person_keys "
                "WHERE ledger = %s AND person = ANY(%s)",
                (ledger, list(persons)),
            )
            return {
                person: PersonKey(person, algorithm, master, None if w is None else bytes(w))
                for person, algorithm, master, w in cursor.fetchall()
            }

    return Vault(
        ledger, secrets.master_keys, secrets.index_key, key_rows, algorithm=secrets.algorithm
    )
