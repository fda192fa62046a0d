"""Imports the rows of many files as commands of one ledger.

All rows are merged in the order in which they happened and submitted in that order, many in flight:
the ledger works first in, first out, so a row follows the rows it depends on. Each row has its own
idempotency key, made from its type and id, so an interrupted or repeated import continues where it
stopped. A bad row is refused with file, line and column; good rows are recorded, and the rules
refuse the rows that depend on a refused one.
Reading order: Import.read, Import.send, then one row: `_timed`, `Import._command`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from api.files.tables import Column
from api.imports.cell_parsers import CellFault
from api.imports.row_commands import RowCommand, RowContext
from api.imports.row_types import BY, COMMON, ID, OCCURRED_AT, ORDER
from api.imports.source_files import FileFault, RawRow, gather
from domain.actors import Actor, Role
from domain.decision import Command, stream_of
from domain.documents.materials import data_class_of
from domain.errors import LedgerError
from domain.events import PersonRecognised
from domain.service.files import Files, SealedFile
from domain.service.ledger import Ledger
from domain.service.receipt import Receipt
from domain.steps.authority_report import FreezeReport
from domain.steps.enrolment import OpenApplication
from domain.steps.review import SubmitDocument
from domain.store import errors as store
from domain.store.blobs import Blobs

IN_FLIGHT = 512
"""Commands submitted and not answered yet; with more, the import waits."""
ANSWER_S = 120.0
"""How long a command may wait in the ledger's queue, seconds."""
PRINCIPAL = "certledger/import"
"""Principal of the idempotency keys of every import, independent of the operator."""
PUBLIC = "public"
"""Organisation of people who act for themselves."""

FAILURES = (
    store.Overloaded, store.DeadlineExceeded, store.Unavailable, store.OutcomeUnknown, store.Closed,
    store.FileKeyChanged, store.WrongKey,
)  # fmt: skip
"""Failures that say nothing about the row: they abort the import, which can be run again."""


TAKEN = {
    "person_login": "This login belongs to another person already",
    "live_application": "This person has an open application for this occupation and level already",
    "payment": "There is a payment of this id already",
    "provider_transaction": "This transaction of the provider is recorded already",
    "provider_refund": "This refund number of the provider is recorded already",
    "session_person": "This person has a seat in this session already",
    "certificate_number": "This certificate number is given already",
}
"""Kind of a uniqueness reservation -> the refusal of a row that needs it, without its key."""


class ImportStopped(LedgerError):
    """The import stopped before {file}, line {line}: {reason} Run it again to go on."""

    code = "import_stopped"


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused row. column: "" if the reason concerns the row as a whole."""

    cells: RawRow
    column: str
    reason: str

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        return f"{self.cells.file.name}, line {self.cells.line}{column}: {self.reason}"


@dataclass
class Summary:
    """Counts and refusals of an import. last_position: of its last event, 0 if there is none.

    not_compared: of the rows that are already there those that were recorded too long ago to tell
    whether their content is the same.
    """

    accepted: int = 0
    already_there: int = 0
    not_compared: int = 0
    refused: list[Refused] = field(default_factory=list)
    last_position: int = 0

    @property
    def done(self) -> int:
        """Rows with an outcome."""
        return self.accepted + self.already_there + len(self.refused)

    def sorted(self) -> Summary:
        """The same summary, its refused rows sorted by file and line."""
        self.refused.sort(key=lambda refused: (str(refused.cells.file), refused.cells.line))
        return self


@dataclass(frozen=True, slots=True)
class TimedRow:
    """A row with its common columns parsed. common: COMMON column -> value."""

    cells: RawRow
    common: dict[str, Any]

    @property
    def id(self) -> str:
        """The row's own id, unique within its type."""
        return str(self.common["id"])

    @property
    def occurred_at(self) -> datetime:
        """When the row happened."""
        moment: datetime = self.common["occurred_at"]
        return moment


class Import:
    """One import into one ledger: read all files, then check or send the rows."""

    def __init__(self, ledger: str) -> None:
        self.ledger = ledger
        self.summary = Summary()
        self._rows: list[TimedRow] = []
        self._staff: dict[str, Actor] = {}
        self._file_order: dict[Path, int] = {}

    # --- reading ------------------------------------------------------------------------------

    def read(self, paths: Iterable[Path]) -> list[FileFault]:
        """Read all files and sort their rows. Returns: the faults of whole files."""
        found = gather(paths)
        self._staff |= found.staff
        first_with: dict[tuple[str, str], RawRow] = {}
        for cells in found.rows:
            try:
                row = _timed(cells)
            except RowError as fault:
                self._refuse(cells, fault)
                continue
            first = first_with.setdefault((cells.kind.name, row.id), cells)
            if first is not cells:
                place = f"{first.file.name}, line {first.line}"
                self._refuse(cells, RowError(_title(cells, ID), f"is repeated, first in {place}"))
                continue
            self._file_order.setdefault(cells.file, len(self._file_order))
            self._rows.append(row)
        self._rows.sort(key=self._place)
        return found.faults

    def _place(self, row: TimedRow) -> tuple[datetime, int, int, int]:
        cells = row.cells
        order = self._file_order[cells.file]
        return row.occurred_at, ORDER[cells.kind.name], order, cells.line

    def __len__(self) -> int:
        return len(self._rows) + len(self.summary.refused)

    def site_code(self) -> str | None:
        """The site code of the ledger that the files open; None if they open none."""
        for row in self._rows:
            if row.cells.kind.name == "ledger":
                return str(row.cells.values.get("site_code", ""))
        return None

    # --- sending ------------------------------------------------------------------------------

    def check(self) -> Summary:
        """Check every row by itself, and send nothing."""
        for row in self._rows:
            try:
                self._command(row)
                self.summary.accepted += 1
            except RowError as fault:
                self._refuse(row.cells, fault)
        return self.summary.sorted()

    def send(
        self, ledger: Ledger, blobs: Blobs, progress: Callable[[int], None] | None = None
    ) -> Summary:
        """Send every good row. progress: called with the number of rows that have an outcome.

        Raises: ImportStopped when the ledger can't be reached; earlier rows stay recorded.
        """
        report = progress or (lambda done: None)
        in_flight: deque[_Sent] = deque()
        files = RowFiles(Files(ledger, blobs))

        def settle(at_most: int) -> None:
            while len(in_flight) > at_most:
                self._settle(in_flight.popleft(), files)
                report(self.summary.done)

        try:
            for row, made, actor in self.commands():
                settle(_independent(made, in_flight))
                in_flight.append(self._send(ledger, files, row, made, actor))
            settle(0)
        except ImportAborted as stop:
            cells = stop.row.cells
            raise ImportStopped(file=cells.file.name, line=cells.line, reason=stop.reason) from None
        return self.summary.sorted()

    def commands(self) -> Iterator[tuple[TimedRow, RowCommand, Actor]]:
        """The commands of all good rows, in the order in which they happened, with their actors."""
        for row in self._rows:
            try:
                made, actor = self._command(row)
            except RowError as fault:
                self._refuse(row.cells, fault)
                continue
            yield row, made, actor

    def _send(
        self, ledger: Ledger, files: RowFiles, row: TimedRow, made: RowCommand, actor: Actor
    ) -> _Sent:
        sealed = None
        try:
            sealed = files.store(made)
            command = made.command if sealed is None else made.named(sealed.sha256)
            answer: Future[Receipt] = ledger.submit(
                command,
                actor,
                key=f"{row.cells.kind.name}/{row.id}",
                request=_request(row, made, actor),
                principal=PRINCIPAL,
                occurred_at=row.occurred_at,
                timeout_seconds=ANSWER_S,
                files=() if sealed is None else sealed.keys,
            )
        except FAILURES as failure:
            raise ImportAborted(row, str(failure)) from None
        except LedgerError as refusal:
            answer = Future()
            answer.set_exception(refusal)
        return _Sent(row, made.command, answer, sealed)

    def _settle(self, sent: _Sent, files: RowFiles) -> None:
        """Wait for one receipt and count it; remove a file that no fact names.

        Raises: ImportAborted.
        """
        row = sent.row
        is_named = False
        try:
            receipt = sent.answer.result()
            is_named = not receipt.replayed
        except FAILURES as failure:
            is_named = True  # perhaps
            raise ImportAborted(row, str(failure)) from None
        except store.IdempotencyKeyReused:
            reason = "was imported before with other content; a correction needs a new id"
            self._refuse(row.cells, RowError(_title(row.cells, ID), reason))
        except store.IdempotencyKeyExpired:
            self.summary.already_there += 1
            self.summary.not_compared += 1
        except store.ClaimTaken as taken:
            reason = TAKEN.get(taken.kind, f"{taken.kind} is taken")
            self._refuse(row.cells, RowError("", f"{reason}, since position {taken.position}."))
        except LedgerError as refusal:
            self._refuse(row.cells, RowError("", f"{refusal} ({refusal.code})"))
        else:
            if PersonRecognised.TOPIC in receipt.topics:
                known = receipt.outcome["person_id"]
                reason = f"This person is registered already, as {known}: use that id"
                self._refuse(row.cells, RowError("", reason))
                return
            self.summary.last_position = max(self.summary.last_position, receipt.last_position)
            self.summary.already_there += receipt.replayed
            self.summary.accepted += not receipt.replayed
        finally:
            if sent.sealed is not None and not is_named:
                files.discard(sent.sealed)

    def _refuse(self, cells: RawRow, fault: RowError) -> None:
        self.summary.refused.append(Refused(cells, fault.column, fault.reason))

    # --- one row ------------------------------------------------------------------------------

    def _command(self, row: TimedRow) -> tuple[RowCommand, Actor]:
        """The command of a row, and its actor. Raises: RowError."""
        cells, kind = row.cells, row.cells.kind
        values = _values(cells, kind.columns)
        actor = self._actor(cells, row.common)
        try:
            return kind.command(values, RowContext(row.id, cells.folder, self.ledger)), actor
        except CellFault as fault:
            raise RowError("", str(fault)) from None
        except ValidationError as wrong:
            raise _explained(cells, wrong) from None
        except LedgerError as refusal:
            raise RowError("", f"{refusal} ({refusal.code})") from None
        except OSError as error:
            raise RowError("", error.strerror or "a file can't be read") from None

    def _actor(self, cells: RawRow, common: dict[str, Any]) -> Actor:
        """The actor: by the row, else by the staff list, else a candidate. Raises: RowError."""
        kind, subject = cells.kind, common["by"]
        known = self._staff.get(subject)
        role = common.get("role") or (known.role if known else None)
        if role is None:
            if not kind.own:
                raise RowError(_title(cells, BY), "is not in the staff list; add it or a role")
            role = Role.CANDIDATE
        if role not in kind.roles:
            raise RowError(_title(cells, BY), f"has the role {role}, which may not do this")
        organisation = common.get("organisation") or (known.organisation if known else PUBLIC)
        return Actor(
            subject=subject,
            role=role,
            organisation=organisation,
            on_behalf_of=common.get("on_behalf_of"),
        )


class _Sent(NamedTuple):
    """A row whose command was submitted. sealed: its file, if it has one."""

    row: TimedRow
    command: Command
    answer: Future[Receipt]
    sealed: SealedFile | None


def _independent(made: RowCommand, in_flight: Sequence[_Sent]) -> int:
    """How many of the commands in flight, the latest, a row need not wait for.

    A file is sealed under the key of whom it is about: the certificates of a report's rows and the
    application of a document have to be there. A row that opens an application may be refused, and
    name somebody else than the application that has its id.
    """
    if made.sheet:
        return 0
    if isinstance(made.command, SubmitDocument):
        for later, sent in enumerate(reversed(in_flight)):
            opens = sent.command
            if (
                isinstance(opens, OpenApplication)
                and opens.application_id == made.command.application_id
            ):
                return later
    return IN_FLIGHT - 1


class RowFiles:
    """Stores the files of rows, each under a key of the person it is about."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def store(self, made: RowCommand) -> SealedFile | None:
        """Seal and store the file of a row, if it has one; whom it is about has to be there.

        Raises: NotFound, ReportRowMissing; Unavailable.
        """
        command = made.command
        if isinstance(command, SubmitDocument) and made.file is not None:
            return self._files.store(
                made.file.read_bytes(),
                stream_of("application", command.application_id),
                self._files.applicant(command.application_id),
                data_class_of(command.material.kind),
            )
        elif isinstance(command, FreezeReport) and command.report_id is not None:
            persons = dict(map(self._files.certified, command.application_ids))
            if missing := persons.keys() ^ {row.certificate_number for row in made.sheet}:
                raise ReportRowMissing(number=min(missing))
            return self._files.store_rows(
                stream_of("report", command.report_id),
                [(persons[row.certificate_number], row.cells) for row in made.sheet],
            )
        return None

    def discard(self, sealed: SealedFile) -> None:
        """Remove a file that no fact names."""
        self._files.discard(sealed.sha256)


class ReportRowMissing(LedgerError):
    """Certificate {number} is in the report's file or among its applications, and not in both."""

    code = "report_row_missing"


class RowError(Exception):
    """Why a row is refused. column: header of the bad cell, "" for the row as a whole."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


class ImportAborted(Exception):
    """The ledger can't be reached, or failed for a reason that has nothing to do with the row."""

    def __init__(self, row: TimedRow, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


def _title(cells: RawRow, column: Column) -> str:
    """The header of a column as the file has it."""
    return cells.titles.get(column.name, column.name)


def _timed(cells: RawRow) -> TimedRow:
    """The row with its common columns. Raises: RowError."""
    if cells.bad is not None:
        raise RowError(*cells.bad)
    row = TimedRow(cells, _values(cells, COMMON))
    if len(row.id) > 100:
        raise RowError(_title(cells, ID), "is longer than 100 letters")
    if row.occurred_at > datetime.now(UTC):
        raise RowError(_title(cells, OCCURRED_AT), "lies in the future")
    return row


def _values(cells: RawRow, columns: Iterable[Column]) -> dict[str, Any]:
    """Every filled cell of these columns, parsed. Raises: RowError for the first bad one."""
    values: dict[str, Any] = {}
    for column in columns:
        cell = cells.values.get(column.name)
        if cell is None:
            if column.required:
                raise RowError(_title(cells, column), "is empty")
            continue
        try:
            values[column.name] = column.parse(cell)
        except CellFault as fault:
            raise RowError(_title(cells, column), str(fault)) from None
    return values


_DAYS = re.compile(r" ?\d{4}-\d{2}-\d{2}")
_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "holds a name that is not known",
    "string_too_long": "is longer than {max_length} letters",
    "string_too_short": "is empty",
    "too_long": "has more than {max_length} entries",
    "too_short": "has too few entries",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "less_than": "is {lt} or more",
    "string_pattern_mismatch": "is not written as it must be: {pattern}",
}
"""Wording of pydantic's error types; every other type keeps pydantic's own message."""
_ID_PATTERN = "up to 64 letters, digits, dots, underscores and hyphens"


def _explained(cells: RawRow, wrong: ValidationError) -> RowError:
    """The first fault that the command's model found, by column and without the value."""
    error = wrong.errors(include_url=False, include_input=False)[0]
    place = [str(part) for part in error["loc"]]
    message = _DAYS.sub("", error["msg"].removeprefix("Value error, "))
    if error["type"] in _WORDS:
        limits = dict(error.get("ctx", {}))
        if str(limits.get("pattern", "")).startswith("^[0-9A-Za-z]["):
            limits["pattern"] = _ID_PATTERN
        message = _WORDS[error["type"]].format(**limits)
    if error["type"] == "extra_forbidden":
        place = place[:-1]  # an unknown name may hold personal data
    inside = place[:1] == ["qualifications"]
    place = place[inside:]
    column = cells.kind.column_of_field(place[0]) if place else None
    if column is not None:
        entry = " ".join(f"entry {int(p) + 1}" if p.isdigit() else p for p in place[1:])
        return RowError(_title(cells, column), f"{entry} {message}".strip())
    named = cells.titles.get("qualifications", "") if inside else ""
    return RowError(named, " ".join([*place, message]))


def _request(row: TimedRow, made: RowCommand, actor: Actor) -> bytes:
    """A row in one spelling: tells a repeated row from another row under the same id."""
    command = made.command
    text = f"{type(command).__name__}|{command.model_dump_json()}|{actor.model_dump_json()}"
    return f"{text}|{row.occurred_at.isoformat()}".encode()
