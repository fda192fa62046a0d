"""Reads every attachment that an event names, and compares it with its hash."""

from __future__ import annotations

from collections.abc import Sequence

from domain.audit.events import Event
from domain.audit.results import CheckResult, Pace
from domain.events import DocumentSubmitted, ReportFrozen
from domain.store.blobs import Blobs
from domain.store.errors import BlobDamaged, UnknownBlob

_FIELD = {DocumentSubmitted.TOPIC: "sha256", ReportFrozen.TOPIC: "file_sha256"}
"""Topic -> the field that names an attachment by its hash."""


class AttachmentsCheck:
    """Attachments that are missing or altered, each named by the first event that has it."""

    def __init__(self, blobs: Blobs) -> None:
        self.result = CheckResult("attachments")
        self._blobs = blobs
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
            self.result.count("files")
            try:
                self._blobs.get(name)
            except UnknownBlob:
                self.result.find("is missing", position, f"attachment {name}")
            except BlobDamaged:
                self.result.find("is not what was stored", position, f"attachment {name}")
            except (OSError, ValueError) as error:
                why = type(error).__name__
                self.result.find(f"cannot be read ({why})", position, f"attachment {name}")
            pace(upto)
