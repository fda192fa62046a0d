"""Taking over what others wrote down: rows of many files become commands of one ledger.

All rows are merged in the order in which they happened and sent in that order, many in flight: the
ledger answers first in, first out, so what depends on something comes behind it. Each row has an
idempotency key of its own, made from its kind and id: an import that was cut short, or is run
again, goes on where it stopped. A bad row is refused with file, line and column; the good ones are
kept, and what depends on a refused one is refused by its own rule.
Reading order: Import.read, Import.send, then how a row is judged.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from api.auth.permissions import ACCESS
from api.imports.cell_parsers import CellFault
from api.imports.columns import COMMON, ID, Column
from api.imports.row_commands import RowCommand, RowContext
from api.imports.row_types import ORDER
from api.imports.source_files import FileFault, RawRow, gather
from domain.actors import Actor, Role
from domain.errors import LedgerError
from domain.service.ledger import Ledger
from domain.service.receipt import Receipt
from domain.store import errors as store
from domain.store.blobs import Blobs

IN_FLIGHT = 512
"""Commands that wait for the ledger at once; beyond that the files wait."""
ANSWER_S = 120.0
"""How long a command may wait in the ledger's queue, seconds."""
PRINCIPAL = "certledger import"
"""Whose idempotency keys an import uses, whoever starts it."""
PUBLIC = "public"
"""The organisation of people who act for themselves."""

FAILURES = (
    store.Overloaded, store.DeadlineExceeded, store.Unavailable, store.OutcomeUnknown, store.Closed,
    store.WrongKey,
)  # fmt: skip
"""What says nothing about a row: the import stops and can be run again."""


TAKEN = {
    "person_document": "This identity document is registered already, under another id",
    "person_login": "This login belongs to another person already",
    "live_application": "This person has an open application for this occupation and level already",
    "payment": "There is a payment of this id already",
    "provider_transaction": "This transaction of the provider is recorded already",
    "provider_refund": "This refund number of the provider is recorded already",
    "session_person": "This person has a seat in this session already",
    "certificate_number": "This certificate number is given already",
}
"""What it means that something only one may hold is held, in words and without its key."""


class ImportStopped(LedgerError):
    """The import stopped before {file}, line {line}: {reason} Run it again to go on."""

    code = "import_stopped"


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that was not taken. column: "" if it is about the row as a whole."""

    cells: RawRow
    column: str
    reason: str

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        return f"{self.cells.file.name}, line {self.cells.line}{column}: {self.reason}"


@dataclass
class Summary:
    """How an import went. last_position: of what it recorded, 0 if nothing."""

    accepted: int = 0
    already_there: int = 0
    refused: list[Refused] = field(default_factory=list)
    last_position: int = 0

    @property
    def done(self) -> int:
        """Rows that were dealt with."""
        return self.accepted + self.already_there + len(self.refused)

    def sorted(self) -> Summary:
        """The same, its refused rows by file and line."""
        self.refused.sort(key=lambda refused: (str(refused.cells.file), refused.cells.line))
        return self


@dataclass(frozen=True, slots=True)
class TimedRow:
    """A row whose place in time is known."""

    occurred_at: datetime
    cells: RawRow
    id: str


class Import:
    """One import into one ledger: read everything, then send it."""

    def __init__(self, ledger: str) -> None:
        self.ledger = ledger
        self.summary = Summary()
        self._rows: list[TimedRow] = []
        self._staff: dict[str, Actor] = {}
        self._file_order: dict[Path, int] = {}

    # --- reading ------------------------------------------------------------------------------

    def read(self, paths: Iterable[Path]) -> list[FileFault]:
        """Read all files and put their rows in order. Returns: what is wrong with whole files."""
        found = gather(paths)
        self._staff |= found.staff
        seen: dict[tuple[str, str], RawRow] = {}
        for cells in found.rows:
            try:
                row = _dated(cells)
            except RowError as fault:
                self._refuse(cells, fault)
                continue
            first = seen.setdefault((cells.kind.name, row.id), cells)
            if first is not cells:
                place = f"{first.file.name}, line {first.line}"
                self._refuse(cells, RowError(_title(cells, ID), f"stands twice, first in {place}"))
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
        """The site code of the book that the files open, if they open one."""
        for row in self._rows:
            if row.cells.kind.name == "ledger":
                return str(row.cells.values.get("site_code", ""))
        return None

    # --- sending ------------------------------------------------------------------------------

    def check(self) -> Summary:
        """Judge every row by itself, and send nothing."""
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
        """Send every row that is good. progress: told how many rows were dealt with.

        Raises: ImportStopped when the ledger can't be reached; what was sent before is kept.
        """
        told = progress or (lambda done: None)
        waiting: deque[tuple[TimedRow, Future[Receipt]]] = deque()
        kept: set[Path] = set()
        try:
            for row, made, actor in self._commands():
                for path in set(made.files) - kept:
                    blobs.put(path.read_bytes())
                    kept.add(path)
                if len(waiting) >= IN_FLIGHT:
                    self._settle(*waiting.popleft())
                    told(self.summary.done)
                waiting.append((row, self._submit(ledger, row, made, actor)))
            while waiting:
                self._settle(*waiting.popleft())
                told(self.summary.done)
        except ImportAborted as stop:
            cells = stop.row.cells
            raise ImportStopped(file=cells.file.name, line=cells.line, reason=stop.reason) from None
        return self.summary.sorted()

    def _commands(self) -> Iterator[tuple[TimedRow, RowCommand, Actor]]:
        for row in self._rows:
            try:
                made, actor = self._command(row)
            except RowError as fault:
                self._refuse(row.cells, fault)
                continue
            yield row, made, actor

    def _submit(
        self, ledger: Ledger, row: TimedRow, made: RowCommand, actor: Actor
    ) -> Future[Receipt]:
        try:
            return ledger.submit(
                made.command,
                actor,
                key=f"{row.cells.kind.name}/{row.id}",
                request_hash=_digest(ledger, row, made, actor),
                principal=PRINCIPAL,
                occurred_at=row.occurred_at,
                timeout_seconds=ANSWER_S,
            )
        except FAILURES as failure:
            raise ImportAborted(row, str(failure)) from None
        except LedgerError as refusal:
            refused: Future[Receipt] = Future()
            refused.set_exception(refusal)
            return refused

    def _settle(self, row: TimedRow, answer: Future[Receipt]) -> None:
        """Count one answer. Raises: _Stop."""
        try:
            receipt = answer.result()
        except FAILURES as failure:
            raise ImportAborted(row, str(failure)) from None
        except store.IdempotencyKeyReused:
            reason = "was imported before with other content; a correction needs a new id"
            self._refuse(row.cells, RowError(_title(row.cells, ID), reason))
        except store.ClaimTaken as taken:
            held = TAKEN.get(taken.kind, f"{taken.kind} is taken")
            self._refuse(row.cells, RowError("", f"{held}, since position {taken.position}."))
        except LedgerError as refusal:
            self._refuse(row.cells, RowError("", f"{refusal} ({refusal.code})"))
        else:
            self.summary.last_position = max(self.summary.last_position, receipt.last_position)
            self.summary.already_there += receipt.replayed
            self.summary.accepted += not receipt.replayed

    def _refuse(self, cells: RawRow, fault: RowError) -> None:
        self.summary.refused.append(Refused(cells, fault.column, fault.reason))

    # --- one row ------------------------------------------------------------------------------

    def _command(self, row: TimedRow) -> tuple[RowCommand, Actor]:
        """What a row asks for, and who asks. Raises: _Fault."""
        cells, kind = row.cells, row.cells.kind
        if cells.bad is not None:
            raise RowError(*cells.bad)
        values = _values(cells, (*COMMON, *kind.columns))
        actor = self._actor(cells, values)
        for column in COMMON:
            values.pop(column.name, None)
        try:
            return kind.make(values, RowContext(row.id, cells.folder, self.ledger)), actor
        except CellFault as fault:
            raise RowError("", str(fault)) from None
        except ValidationError as wrong:
            raise _explained(cells, wrong) from None
        except LedgerError as refusal:
            raise RowError("", f"{refusal} ({refusal.code})") from None
        except OSError as error:
            raise RowError("", error.strerror or "a file can't be read") from None

    def _actor(self, cells: RawRow, values: dict[str, Any]) -> Actor:
        """Who did it: as the row says, else as the staff list says, else a candidate."""
        kind, subject = cells.kind, values["by"]
        known = self._staff.get(subject)
        role = values.get("role") or (known.role if known else None)
        if role is None:
            if not kind.own:
                raise RowError(
                    _title(cells, COMMON[2]), "is not in the staff list; add it or a role"
                )
            role = Role.CANDIDATE
        allowed = ACCESS[kind.operation]
        if allowed is not None and role not in allowed:
            raise RowError(_title(cells, COMMON[2]), f"has the role {role}, which may not do this")
        organisation = values.get("organisation") or (known.organisation if known else PUBLIC)
        return Actor(
            subject=subject,
            role=role,
            organisation=organisation,
            on_behalf_of=values.get("on_behalf_of"),
        )


class RowError(Exception):
    """What is wrong with a row. column: its header, "" for the row as a whole."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


class ImportAborted(Exception):
    def __init__(self, row: TimedRow, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


def _title(cells: RawRow, column: Column) -> str:
    """The header of a column as the file has it."""
    return cells.titles.get(column.name, column.name)


def _dated(cells: RawRow) -> TimedRow:
    """The row's id and moment. Raises: _Fault."""
    if cells.bad is not None:
        raise RowError(*cells.bad)
    values = _values(cells, COMMON)
    row_id = values["id"]
    if len(row_id) > 100:
        raise RowError(_title(cells, ID), "is longer than 100 letters")
    moment = values["occurred_at"]
    if moment > datetime.now(UTC):
        raise RowError(_title(cells, COMMON[1]), "lies in the future")
    return TimedRow(moment, cells, row_id)


def _values(cells: RawRow, columns: Iterable[Column]) -> dict[str, Any]:
    """Every filled cell of these columns, understood. Raises: _Fault for the first bad one."""
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
"""What pydantic's kinds of faults are called here; any other speaks for itself."""
_ID_PATTERN = "up to 64 letters, digits, dots, underscores and hyphens"


def _explained(cells: RawRow, wrong: ValidationError) -> RowError:
    """The first fault that a command's own checks found, by column and without its value."""
    error = wrong.errors(include_url=False, include_input=False)[0]
    place = [str(part) for part in error["loc"]]
    message = _DAYS.sub("", error["msg"].removeprefix("Value error, "))
    if error["type"] in _WORDS:
        limits = dict(error.get("ctx", {}))
        if str(limits.get("pattern", "")).startswith("^[0-9A-Za-z]["):
            limits["pattern"] = _ID_PATTERN
        message = _WORDS[error["type"]].format(**limits)
    if error["type"] == "extra_forbidden":
        place = place[:-1]  # a name that is not ours may be anybody's
    inside = place[:1] == ["qualifications"]
    place = place[inside:]
    for column in (*cells.kind.columns, ID):
        if place[:1] and place[0] in (column.name, *column.fields):
            entry = " ".join(f"entry {int(p) + 1}" if p.isdigit() else p for p in place[1:])
            return RowError(_title(cells, column), f"{entry} {message}".strip())
    named = cells.titles.get("qualifications", "") if inside else ""
    return RowError(named, " ".join([*place, message]))


def _digest(ledger: Ledger, row: TimedRow, made: RowCommand, actor: Actor) -> bytes:
    """What tells a repeated row from another one under the same id.

    Keyed: a plain digest would stay behind when a person is erased, and could be guessed.
    """
    command = made.command
    text = f"{type(command).__name__}|{command.model_dump_json()}|{actor.model_dump_json()}"
    index = ledger.vault.blind_index("import", f"{text}|{row.occurred_at.isoformat()}")
    return hashlib.sha256(index.encode()).digest()
