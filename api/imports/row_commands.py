"""Builders of the commands that need more than their row's values by name.

A builder takes the values of one row by column and returns the command, with the files to store
before it is sent. Faults of one value alone were found before; faults of the values together are
found here (`CellFault`), by the command's own checks (`ValidationError`) or later by the rules.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from api.files.authority_report_xlsx import FrozenRow, read_report
from api.files.upload_inspection import inspect_document, inspect_photo
from api.imports import cell_parsers as v
from api.imports.cell_parsers import CellFault
from domain.command_spec import CommandSpec
from domain.decision import Command
from domain.documents.materials import FILE_BYTES_MAX, MaterialFact, MaterialKind
from domain.editions.edition import Edition
from domain.editions.edition_file import read_edition
from domain.eligibility.qualifications import Qualifications
from domain.events import Component, FeeLine
from domain.steps.authority_report import FreezeReport
from domain.steps.certificate import (
    CORRECT_CERTIFICATE,
    REINSTATE_CERTIFICATE,
    REISSUE_CERTIFICATE,
    REVOKE_CERTIFICATE,
    SUSPEND_CERTIFICATE,
)
from domain.steps.edition_adoption import AdoptEdition, ProposeEdition
from domain.steps.enrolment import OpenApplication
from domain.steps.ledger_setup import OpenLedger
from domain.steps.number_allocation import ImportNumber, NumberCertificates
from domain.steps.payment import RecordPayment
from domain.steps.refund import ApproveRefund, DeclineRefund
from domain.steps.review import SubmitDocument


class RowContext(NamedTuple):
    """What a maker knows besides the values: the row's id, its file's folder, the ledger."""

    id: str
    folder: Path
    ledger: str


class RowCommand(NamedTuple):
    """A command, and the file that is stored before it is sent.

    The command of a file has the SHA-256 of its plain bytes where it will have that of the sealed
    ones (`named`), so that the same row is always the same request.
    file: a document. sheet: the rows of a report.
    """

    command: Command
    file: Path | None = None
    sheet: tuple[FrozenRow, ...] = ()

    def named(self, sha256: str) -> Command:
        """The command with the name of its sealed file."""
        field = "sealed_sha256" if self.file is not None else "file_sha256"
        return self.command.model_copy(update={field: sha256})


Values = dict[str, Any]


def rooms(value: Any) -> list[dict[str, Any]]:
    """Rooms with their seats: a list of objects, or `101机房:24;102机房:24`. Raises: CellFault."""
    if isinstance(value, list):
        return value
    found = []
    for place, part in enumerate(v.listed(v.text)(value), start=1):
        room, colon, seats = str(part).replace("：", ":").rpartition(":")
        if not colon:
            raise CellFault(f"entry {place} is not room:seats")
        found.append({"room": room.strip(), "seats": v.whole(seats)})
    return found


def open_ledger(values: Values, row: RowContext) -> RowCommand:
    """A row is of the ledger that is imported into."""
    if row.id != row.ledger:
        raise CellFault(f"the row is of ledger {row.id}, the import is into {row.ledger}")
    return RowCommand(OpenLedger(**values))


def propose_edition(values: Values, row: RowContext) -> RowCommand:
    """The file of the edition is named relative to the table's folder."""
    found = _edition(values, row)
    return RowCommand(
        ProposeEdition(
            kind=found.kind,
            edition=found.edition,
            valid_from=found.valid_from,
            content=found.content,
        )
    )


def adopt_edition(values: Values, row: RowContext) -> RowCommand:
    """The second person has the same file: its hash is the one that is adopted."""
    found = _edition(values, row)
    return RowCommand(AdoptEdition(kind=found.kind, sha256=found.sha256))


def _edition(values: Values, row: RowContext) -> Edition:
    """Raises: CellFault, MalformedEdition, EditionTooLarge."""
    path = _file_in(row.folder, values["path"])
    _stat(path)
    return read_edition(values["kind"], path.read_bytes())


def record_payment(values: Values, row: RowContext) -> RowCommand:
    """Amounts are in yuan or in fen, one column a component."""
    certification = _fen(values, "certification_fee")
    material = _fen(values, "study_material_fee")
    lines = (
        FeeLine(component=Component.CERTIFICATION_FEE, amount_fen=certification),
        FeeLine(component=Component.STUDY_MATERIAL, amount_fen=material),
    )
    return RowCommand(RecordPayment(payment_id=row.id, lines=lines, **values))


def _fen(values: Values, name: str) -> int:
    """Take an amount in fen from either of its columns. Raises: CellFault."""
    in_yuan: int | None = values.pop(f"{name}_yuan", None)
    in_fen: int | None = values.pop(f"{name}_fen", None)
    if in_yuan is not None and in_fen is not None and in_yuan != in_fen:
        raise CellFault(f"columns {name}_yuan and {name}_fen differ")
    amount = in_fen if in_yuan is None else in_yuan
    if amount is None:
        raise CellFault(f"column {name}_yuan is empty")
    return amount


def open_application(values: Values, row: RowContext) -> RowCommand:
    """Qualifications come as one JSON column, as a column each, or both."""
    stated = dict(values.pop("qualifications", None) or {})
    for name in Qualifications.model_fields:
        if name in values:
            stated[name] = values.pop(name)
    values["qualifications"] = stated
    return RowCommand(OpenApplication(application_id=row.id, **values))


def submit_document(values: Values, row: RowContext) -> RowCommand:
    """The file is named relative to the table's folder, inspected, and stored with the command."""
    path = _file_in(row.folder, values["path"])
    fact = _inspected(path, values["kind"], _stat(path))
    if fact.photo is not None:
        taken_on = fact.photo.taken_on or values.get("taken_on")
        photo = fact.photo.model_copy(update={"taken_on": taken_on})
        fact = fact.model_copy(update={"photo": photo})
    command = SubmitDocument(
        application_id=values["application_id"],
        material=fact,
        sealed_sha256=fact.sha256,
        file_name=values.get("file_name") or path.name,
    )
    return RowCommand(command, path)


def _file_in(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise CellFault("names a file that is not there")
    return path


def _stat(path: Path) -> tuple[int, int, int]:
    """Identifies the content of a file without reading it. Raises: CellFault if it is too large."""
    known = path.stat()
    if known.st_size > FILE_BYTES_MAX:
        raise CellFault(f"names a file of {known.st_size} bytes; {FILE_BYTES_MAX} are allowed")
    return known.st_ino, known.st_size, known.st_mtime_ns


@lru_cache(maxsize=4096)
def _inspected(path: Path, kind: MaterialKind, known: tuple[int, int, int]) -> MaterialFact:
    """What a file is by its bytes; each is read once, even if several rows name it.

    Raises: FileProblem.
    """
    data = path.read_bytes()
    if kind is MaterialKind.PHOTO:
        facts = inspect_photo(data)
        return MaterialFact(
            kind=kind,
            sha256=facts.sha256,
            size_bytes=facts.size_bytes,
            media_type=facts.media_type,
            photo=facts.fact(),
        )
    return MaterialFact(
        kind=kind,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        media_type=inspect_document(data, _declared(path)),
    )


def _declared(path: Path) -> str:
    """The type that a file's extension claims."""
    known = {".pdf": "application/pdf", ".png": "image/png"}
    return known.get(path.suffix.lower(), "image/jpeg")


def decide_refund(values: Values, row: RowContext) -> RowCommand:
    """An approval has no reason."""
    if values.pop("decision") == "decline":
        return RowCommand(DeclineRefund(**values))
    values.pop("reason", None)
    return RowCommand(ApproveRefund(**values))


def number_certificates(values: Values, row: RowContext) -> RowCommand:
    """A number in the row is the province's; without one the next number is allocated."""
    if "number" in values:
        return RowCommand(ImportNumber(**values))
    return RowCommand(NumberCertificates(**values))


def freeze_report(values: Values, row: RowContext) -> RowCommand:
    """The rows of the file that was reported are stored with the command."""
    path = _file_in(row.folder, values.pop("file"))
    _stat(path)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    command = FreezeReport(report_id=row.id, file_sha256=digest, **values)
    return RowCommand(command, sheet=tuple(read_report(data, path.name)))


_CHANGES: dict[str, CommandSpec[Any]] = {
    "correct": CORRECT_CERTIFICATE,
    "reissue": REISSUE_CERTIFICATE,
    "suspend": SUSPEND_CERTIFICATE,
    "reinstate": REINSTATE_CERTIFICATE,
    "revoke": REVOKE_CERTIFICATE,
}
CERTIFICATE_CHANGES = tuple(_CHANGES.values())


def change_certificate(values: Values, row: RowContext) -> RowCommand:
    """The column `change` names the command."""
    return RowCommand(_CHANGES[values.pop("change")].command(**values))
