"""The sealed files of a ledger: attachments, each under a data key of whom it concerns.

A file is sealed and stored before the command that names it is submitted, so no fact names a file
that is missing. Its key may be new: `Ledger.submit` is given the key, which the append stores, or
refuses the command with FileKeyChanged; then the file is sealed again.
Reading order: Files.sealing, Files.store, Files.document, Files.content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from domain.decision import NotFound, stream_of
from domain.documents.kinds import MaterialKind
from domain.events import CertificateKind, DocumentSubmitted
from domain.service.ledger import Ledger
from domain.steps.certificate import find
from domain.steps.enrolment import PersonErased
from domain.store.blobs import Blobs
from domain.store.errors import StoreError, UnknownBlob
from domain.store.journal.data_keys import SELECT_KEYS_OF, DataKey, key_from_row
from domain.store.journal.envelope import canonical_json
from domain.store.privacy.field_encryption import FieldEncryptor
from domain.store.privacy.field_encryption import HeldKey as HeldKey
from domain.store.privacy.sealed_files import open_file, parts_of, seal_file
from domain.values.sealed_fields import (
    KEY,
    DataClass,
    Sealed,
    matter_owner,
    person_owner,
    pointer,
)

_ROW = Sealed(DataClass.IDENTITY)
"""A row is a name and a number, whatever else it is, so it goes with them."""

_ROWS, _ROWS_VERSION = "/rows", 1
"""A row is sealed for its place, as if it were in the fact that names its file."""


class SealedFile(NamedTuple):
    """A stored file. sha256: of its sealed bytes, its name. keys: what sealed it."""

    sha256: str
    keys: tuple[HeldKey, ...]


class StoredDocument(NamedTuple):
    """A document as its fact names it. key: name of the data key that sealed it."""

    sha256: str
    key: str
    media_type: str


class Files:
    """Seals, stores and opens the files of one ledger. Thread-safe; every method blocks."""

    def __init__(self, ledger: Ledger, blobs: Blobs) -> None:
        self._ledger = ledger
        self._blobs = blobs

    def sealing(self, stream: str, persons: Iterable[str] = ()) -> FieldEncryptor:
        """What seals files about these persons, or about the matter of a stream, from now on.

        The keys that it makes are stored by the command that is given them.
        Raises: Unavailable.
        """
        owners = [matter_owner(stream), *map(person_owner, persons)]
        found = self._ledger.journal.query(SELECT_KEYS_OF, (self._ledger.name, owners))
        rows = [key_from_row(row) for row in found]
        return self._ledger.vault.offering_encryptor(_CommittedKeys(rows, datetime.now(UTC)))

    def store(
        self, content: bytes, stream: str, person: str | None, data_class: DataClass | None
    ) -> SealedFile:
        """Seal a file and store it.

        person, data_class: whom it concerns and the class of its key; None: the stream's matter.
        Raises: Unavailable, OSError.
        """
        sealing = self.sealing(stream, () if person is None else (person,))
        held = sealing.key(person, data_class, stream)
        name = ""
        for part in seal_file(self._ledger.vault, held, content):
            name = self._blobs.put(part)
        return SealedFile(name, (held,))

    def store_rows(self, stream: str, rows: Sequence[tuple[str, Any]]) -> SealedFile:
        """Store a table about several persons: a line a row, each sealed under its person's key.

        stream: of the fact that names the file. rows: the person, and the row as JSON.
        Raises: Unavailable, OSError.
        """
        sealing = self.sealing(stream, (person for person, _ in rows))
        lines = [
            canonical_json(
                sealing.seal(_ROW, person, stream, _ROWS_VERSION, pointer(_ROWS, n), row)
            )
            for n, (person, row) in enumerate(rows)
        ]
        return SealedFile(self._blobs.put(b"\n".join(lines)), sealing.held_keys)

    def rows(self, sha256: str, stream: str) -> list[Any | None]:
        """The rows of such a table in order; None where the key was destroyed.

        Raises: UnknownBlob, BlobDamaged, WrongKey, Unavailable.
        """
        vault = self._ledger.vault
        lines = [orjson.loads(line) for line in self._blobs.get(sha256).splitlines()]
        vault.preload(lines)
        return [
            vault.open(stream, _ROWS_VERSION, pointer(_ROWS, n), line)
            for n, line in enumerate(lines)
        ]

    def applicant(self, application_id: str) -> str:
        """The id of the person whose application it is. Raises: NotFound, Unavailable."""
        person_id: str = self._ledger.state("application", application_id).person_id
        return person_id

    def certified(self, application_id: str) -> tuple[str, str]:
        """The number of an application's national certificate, and the id of its person.

        Raises: NotFound, Unavailable.
        """
        state = self._ledger.state("application", application_id)
        return find(state, CertificateKind.NATIONAL).number, state.person_id

    def delete_erased(self, position: int) -> bool:
        """Delete the document that an event names, if an erasure destroyed its key.

        The event is read from the journal: what a view says is not enough to delete a file.
        Returns: False if there is no such event, or the key is there. Raises: WrongKey, SealBroken,
            Unavailable, OSError.
        """
        for event in self._ledger.journal.read(position - 1, 1):
            if event.topic == DocumentSubmitted.TOPIC:
                found = stored_document(event.data)
                if self._ledger.vault.is_destroyed(found.key):
                    self.discard(found.sha256)
                    return True
        return False

    def discard(self, sha256: str) -> None:
        """Remove a file that no fact names, or whose key is destroyed; may be repeated."""
        try:
            parts = parts_of(self._blobs.get(sha256))
        except StoreError:
            parts = []  # it has gone, or is damaged
        for name in (*parts, sha256):
            self._blobs.delete(name)

    def content(self, sha256: str, key: str) -> bytes:
        """The plain bytes of a file. key: name of the key that sealed it.

        Raises: PersonErased after the key was destroyed; UnknownBlob, BlobDamaged, WrongKey.
        """
        vault = self._ledger.vault
        if vault.is_destroyed(key):
            raise PersonErased()
        try:
            parts = list(open_file(vault, key, sha256, self._blobs.get))
        except UnknownBlob:
            if vault.is_destroyed(key):
                raise PersonErased() from None
            raise
        plain = [part for part in parts if part is not None]
        if len(plain) < len(parts):
            raise PersonErased()
        return b"".join(plain)

    def document(self, application_id: str, kind: MaterialKind) -> StoredDocument:
        """The document of that kind that was handed in last. Raises: NotFound, Unavailable."""
        recorded = self._ledger.journal.stream(stream_of("application", application_id))
        for event in reversed(recorded):
            if event.topic == DocumentSubmitted.TOPIC and event.data["kind"] == kind:
                return stored_document(event.data)
        raise NotFound(what="document", id=kind.value)

    def document_content(self, application_id: str, kind: MaterialKind) -> tuple[bytes, str]:
        """The plain bytes of a document, and its media type.

        Raises: NotFound; as `content`.
        """
        found = self.document(application_id, kind)
        return self.content(found.sha256, found.key), found.media_type


def stored_document(data: Mapping[str, Any]) -> StoredDocument:
    """The document of a recorded DocumentSubmitted. data: as stored, with its sealed values.

    Raises: KeyError, TypeError for data that no decision made.
    """
    sealed = data["plain_sha256"] or data["photo_sha256"]
    return StoredDocument(data["sha256"], sealed[KEY], data["media_type"])


class _CommittedKeys:
    """Rows of keys as they are committed; the `KeyRows` of what is sealed before a command."""

    def __init__(self, rows: Sequence[DataKey], now: datetime) -> None:
        self.recorded_at = now
        self._rows = rows

    def data_keys(self, owner: str) -> Sequence[DataKey]:
        """The keys of an owner that was asked for."""
        return [row for row in self._rows if row.owner == owner]
