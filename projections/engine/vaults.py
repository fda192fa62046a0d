"""The vault of a ledger as projections use it, on their own connection; with it, who may seal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from domain.store.journal.data_keys import (
    SELECT_ERASURES,
    SELECT_NAMED_KEYS,
    DataKey,
    KeyClass,
    erased_classes,
    key_from_row,
    named_keys,
    owner_streams,
)
from domain.store.journal.key_ranges import KEY_STREAM_SQL, with_key_ranges
from domain.store.keys.seals import LedgerSealer, Sealer
from domain.store.postgres.connection import Connection, Cursor
from domain.store.privacy.bucket_keys import BucketKeys, StoredBuckets
from domain.store.privacy.epoch_keys import Epoch, EpochKeys
from domain.store.privacy.field_encryption import Vault
from domain.values.certificate_links import LinkKeys
from domain.values.sealed_fields import KeyName
from projections.engine.generation_writer import GenerationWriter
from projections.engine.generations import Generation
from projections.engine.view import View


class VaultSecrets(Protocol):
    """The keys a vault needs; `domain.service.ledger.LedgerSecrets` is one."""

    @property
    def epoch_keys(self) -> EpochKeys: ...
    @property
    def index_key(self) -> bytes: ...
    @property
    def sealer(self) -> Sealer: ...
    @property
    def link_keys(self) -> LinkKeys: ...
    @property
    def algorithm(self) -> str: ...


class ViewVault(Vault):
    """A vault that also has the sealer of its ledger, for readers of the journal, and the keys of
    links."""

    unranged: LedgerSealer
    """The sealer without the ranges of keys."""

    link_keys: LinkKeys

    _ranged: LedgerSealer | None = None

    def sealer(self, cursor: Cursor, *, fresh: bool = False) -> LedgerSealer:
        """The sealer with the ranges of keys; read when first needed, and again if `fresh`.

        Raises: SealBroken if a fact about keys has no right seal; psycopg2.Error.
        """
        if self._ranged is None or fresh:
            self._ranged = None
            cursor.execute(KEY_STREAM_SQL, (self.ledger,))
            self._ranged = with_key_ranges(self.unranged, cursor.fetchall())
        return self._ranged

    def links(self, kind: str, number: str, version: int) -> tuple[str, ...]:
        """Every link that opens a version of a certificate; the one to print first."""
        return self.link_keys.links(self.ledger, kind, number, version)


def row_keys_of(secrets: VaultSecrets) -> tuple[bytes, ...]:
    """The keys that seal rows and progress of views, and nothing else; the active one first."""
    return secrets.sealer.row_keys()


def epoch_of(secrets: VaultSecrets, generation: Generation) -> Epoch | None:
    """The epoch of a generation. Raises: WrongEpochKey if its key does not open."""
    return None if generation.epoch is None else secrets.epoch_keys.open(*generation.epoch)


def writer_of(secrets: VaultSecrets, view: View, generation: Generation) -> GenerationWriter:
    """Writes a view into its current tables. Raises: WrongEpochKey."""
    epoch = epoch_of(secrets, generation)
    return GenerationWriter(view, generation.number, row_keys_of(secrets), epoch)


def vault_of(secrets: VaultSecrets, ledger: str, connection: Connection) -> ViewVault:
    """A ledger's vault that reads data keys on the given connection."""

    def query(statement: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall()

    def key_rows(names: Iterable[KeyName]) -> list[DataKey]:
        return list(map(key_from_row, query(SELECT_NAMED_KEYS, named_keys(ledger, names))))

    def erased(owners: Iterable[str]) -> set[KeyClass]:
        return erased_classes(query(SELECT_ERASURES, (ledger, owner_streams(owners))))

    vault = ViewVault(
        ledger,
        BucketKeys(ledger, secrets.epoch_keys, StoredBuckets(ledger, query)),
        secrets.index_key,
        key_rows,
        algorithm=secrets.algorithm,
        erased=erased,
    )
    vault.unranged = secrets.sealer.of(ledger)
    vault.link_keys = secrets.link_keys
    return vault
