"""Reads every attachment that an event names, and compares it with its hash.

What is stored is sealed, and so is what the hash is of: no key is needed. A file whose key was
destroyed is deleted with it, so its absence is no finding.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.audit.events import Event, pages
from domain.audit.results import CheckResult, Pace
from domain.events import DocumentSubmitted, ReportFrozen
from domain.service.files import stored_document
from domain.store.blobs import Blobs
from domain.store.errors import BlobDamaged, UnknownBlob, WrongKey
from domain.store.journal.journal import Journal
from domain.store.privacy.field_encryption import Vault
from domain.store.privacy.sealed_files import parts_of

_FIELD = {DocumentSubmitted.TOPIC: "sha256", ReportFrozen.TOPIC: "file_sha256"}
"""Topic -> the field that names an attachment by its hash."""


class AttachmentsCheck:
    """Attachments that are missing or altered, each named by the first event that has it."""

    def __init__(self, blobs: Blobs, journal: Journal, vault: Vault) -> None:
        """vault: tells which keys are destroyed."""
        self.result = CheckResult("attachments")
        self._blobs = blobs
        self._journal = journal
        self._vault = vault
        self._named: dict[bytes, int] = {}

    def page(self, events: Sequence[Event]) -> None:
        """Note the hashes; files are read at the end, at the pace of the audit."""
        for event in events:
            name = _FIELD.get(event.topic)
            if name is not None:
                try:
                    self._named.setdefault(bytes.fromhex(event.data[name]), event.position)
                except (KeyError, TypeError, ValueError):
                    self.result.find("names no attachment by its hash", event.position)

    def finish(self, upto: int, pace: Pace) -> None:
        """Read and hash every file."""
        for digest, position in self._named.items():
            name = digest.hex()
            fault = self._fault(name)
            if fault is None:
                self.result.count("files")
            elif self._is_erased(position):
                self.result.count("files erased")
            else:
                self.result.count("files")
                self.result.find(fault, position, f"attachment {name}")
            pace(upto)

    def _fault(self, name: str) -> str | None:
        """What is wrong with a stored file, or with a part of it."""
        try:
            for part in parts_of(self._blobs.get(name)):
                self._blobs.get(part)
        except UnknownBlob:
            return "is missing"
        except BlobDamaged:
            return "is not what was stored"
        except (OSError, ValueError) as error:
            return f"cannot be read ({type(error).__name__})"
        return None

    def _is_erased(self, position: int) -> bool:
        """Whether the key of the document that an event names is destroyed.

        False for a report: the rows of others are still in it.
        """
        for _, events in pages(self._journal, position, position - 1):
            for event in events:
                try:
                    return self._vault.is_destroyed(stored_document(event.data).key)
                except (KeyError, TypeError, WrongKey):
                    return False
        return False
