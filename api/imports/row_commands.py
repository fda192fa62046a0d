"""From a row's values to the command it means, in the order in which things happen.

A maker takes the values of one row by column and gives the command, with the bytes that have to
be kept with it. What is wrong with a value alone was said before; what is wrong with them together
is said here (`CellFault`), by the command's own checks (`ValidationError`) or by the rules later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from api.files.upload_inspection import inspect_document, inspect_photo
from api.imports import cell_parsers as v
from api.imports.cell_parsers import CellFault
from domain.decision import Command
from domain.documents.materials import FILE_BYTES_MAX, MaterialFact, MaterialKind
from domain.eligibility.qualifications import Qualifications
from domain.events import Component, FeeLine
from domain.steps import authority_report as reporting
from domain.steps import certificate, enrolment, exam, payment, publication, refund
from domain.steps import ledger_setup as book
from domain.steps import number_allocation as numbering
from domain.steps import review as reviews

OWN_IDS = (
    "person_id", "application_id", "payment_id", "session_id", "notice_id", "objection_id",
    "report_id",
)  # fmt: skip
"""Fields that the row's own id fills, where the row is about a new thing."""


class RowContext(NamedTuple):
    """What a maker knows besides the values: the row's id, its file's folder, the ledger."""

    id: str
    folder: Path
    ledger: str


class RowCommand(NamedTuple):
    """A command, and files to keep before it is sent."""

    command: Command
    files: tuple[Path, ...] = ()


Values = dict[str, Any]


# --- columns that need more than one word ---------------------------------------------------------


def amounts(column: Callable[..., Any]) -> tuple[Any, ...]:
    """Columns of the two components, in yuan or in fen."""
    named = (("certification_fee", "认证费用"), ("study_material_fee", "学员资料"))
    columns: list[Any] = []
    for name, title in named:
        titles = (f"{title}(元)", title)
        columns.append(column(f"{name}_yuan", titles, v.yuan, fields=(f"{name}_fen", "lines")))
        columns.append(column(f"{name}_fen", (f"{title}(分)",), v.whole))
    return tuple(columns)


def _fen(values: Values, name: str) -> int:
    """An amount in fen from either column. Raises: CellFault."""
    in_yuan, in_fen = values.pop(f"{name}_yuan", None), values.pop(f"{name}_fen", None)
    if in_yuan is None and in_fen is None:
        raise CellFault(f"column {name}_yuan is empty")
    if in_yuan is not None and in_fen is not None and in_yuan != in_fen:
        raise CellFault(f"columns {name}_yuan and {name}_fen differ")
    return in_fen if in_yuan is None else in_yuan


def rooms(value: Any) -> list[dict[str, Any]]:
    """Rooms with their seats: a list of objects, or `101机房:24;102机房:24`."""
    if isinstance(value, list):
        return value
    found = []
    for place, part in enumerate(v.listed(v.text)(value), start=1):
        room, colon, seats = str(part).replace("：", ":").rpartition(":")
        if not colon:
            raise CellFault(f"entry {place} is not room:seats")
        found.append({"room": room.strip(), "seats": v.whole(seats)})
    return found


# --- the book and the people ----------------------------------------------------------------------


def open_ledger(values: Values, row: RowContext) -> RowCommand:
    if row.id != row.ledger:
        raise CellFault(f"the row is of ledger {row.id}, the import is into {row.ledger}")
    return RowCommand(book.OpenLedger(**values))


def set_fees(values: Values, row: RowContext) -> RowCommand:
    fees = {f"{n}_fen": _fen(values, n) for n in ("certification_fee", "study_material_fee")}
    return RowCommand(book.SetFeeSchedule(**values, **fees))


def register(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(enrolment.RegisterPerson(person_id=row.id, **values))


def correct_person(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(enrolment.CorrectPerson(**values))


def erase(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(enrolment.ErasePersonalData(**values))


# --- steps 1 to 3 ---------------------------------------------------------------------------------


def open_application(values: Values, row: RowContext) -> RowCommand:
    told = values.pop("qualifications", None) or {}
    for name in Qualifications.model_fields:
        if name in values:
            told = told | {name: values.pop(name)}
    command = enrolment.OpenApplication(application_id=row.id, qualifications=told, **values)
    return RowCommand(command)


def withdraw(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(enrolment.WithdrawApplication(**values))


def record_payment(values: Values, row: RowContext) -> RowCommand:
    lines = (
        FeeLine(
            component=Component.CERTIFICATION_FEE, amount_fen=_fen(values, "certification_fee")
        ),
        FeeLine(component=Component.STUDY_MATERIAL, amount_fen=_fen(values, "study_material_fee")),
    )
    return RowCommand(payment.RecordPayment(payment_id=row.id, lines=lines, **values))


def use_item(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(payment.UseItem(**values))


def submit_document(values: Values, row: RowContext) -> RowCommand:
    path = _beside(row.folder, values["path"])
    fact = _inspected(path, values["kind"], _stat(path))
    if fact.photo is not None:
        taken_on = fact.photo.taken_on or values.get("taken_on")
        photo = fact.photo.model_copy(update={"taken_on": taken_on})
        fact = fact.model_copy(update={"photo": photo})
    command = reviews.SubmitDocument(
        application_id=values["application_id"],
        material=fact,
        file_name=values.get("file_name") or path.name,
    )
    return RowCommand(command, (path,))


def _beside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise CellFault("names a file that is not there")
    return path


def _stat(path: Path) -> tuple[int, int, int]:
    """What tells whether a file is still the one that was read."""
    known = path.stat()
    if known.st_size > FILE_BYTES_MAX:
        raise CellFault(f"names a file of {known.st_size} bytes; {FILE_BYTES_MAX} are allowed")
    return known.st_ino, known.st_size, known.st_mtime_ns


@lru_cache(maxsize=4096)
def _inspected(path: Path, kind: MaterialKind, known: tuple[int, int, int]) -> MaterialFact:
    """What a file is by its bytes; each is read once, however many rows name it.

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


def submit_documents(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(reviews.SubmitDocuments(**values))


def review(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(reviews.Review(**values))


# --- money that goes back -------------------------------------------------------------------------


def order_refund(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(refund.OrderRefund(**values))


def decide_refund(values: Values, row: RowContext) -> RowCommand:
    if values.pop("decision") == "decline":
        return RowCommand(refund.DeclineRefund(**values))
    values.pop("reason", None)
    return RowCommand(refund.ApproveRefund(**values))


def refund_outcome(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(refund.RecordRefundOutcome(**values))


# --- step 4 ---------------------------------------------------------------------------------------


def schedule_session(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(exam.ScheduleSession(session_id=row.id, **values))


def assign_seat(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(exam.AssignSeat(**values))


def close_session(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(exam.CloseSession(**values))


def record_score(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(exam.RecordScore(**{"marks": None, **values}))


def correct_score(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(exam.CorrectScore(**{"marks": None, **values}))


def verify_scores(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(exam.VerifyScores(**{"theory": None, "practical": None, **values}))


# --- step 5 ---------------------------------------------------------------------------------------


def open_notice(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(publication.OpenNotice(notice_id=row.id, **values))


def extend_notice(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(publication.ExtendNotice(**values))


def close_notice(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(publication.CloseNotice(**values))


def file_objection(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(publication.FileObjection(objection_id=row.id, **values))


def resolve_objection(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(publication.ResolveObjection(**values))


def number_certificates(values: Values, row: RowContext) -> RowCommand:
    """With a number the province's is taken over, without one the next is given."""
    if "number" in values:
        return RowCommand(numbering.ImportNumber(**values))
    return RowCommand(numbering.NumberCertificates(**values))


def issue(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(certificate.IssueCertificates(**values))


def freeze_report(values: Values, row: RowContext) -> RowCommand:
    path = _beside(row.folder, values.pop("file"))
    _stat(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    command = reporting.FreezeReport(report_id=row.id, file_sha256=digest, **values)
    return RowCommand(command, (path,))


def answer_report(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(reporting.AnswerReportRow(**values))


def record_visibility(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(reporting.RecordVisibility(**values))


_CHANGES: dict[str, type[Command]] = {
    "correct": certificate.CorrectCertificate,
    "reissue": certificate.ReissueCertificate,
    "suspend": certificate.SuspendCertificate,
    "reinstate": certificate.ReinstateCertificate,
    "revoke": certificate.RevokeCertificate,
}


def change_certificate(values: Values, row: RowContext) -> RowCommand:
    return RowCommand(_CHANGES[values.pop("change")](**values))
