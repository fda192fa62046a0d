"""Reads the files of an import into raw rows: cells by column, not parsed yet.

CSV and XLSX are read by `api.files.table_readers` with its guards; JSON is a list of objects or a
single object, and JSON lines hold one object each. A fault of a whole file (`FileFault`) stops the
import before anything is sent; a fault of one row rejects that row only.
Reading order: RawRow, gather, read_file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.files.table_readers import (
    SCANNED_ROWS_MAX,
    BadCell,
    TableTooManyRows,
    csv_lines,
    xlsx_lines,
)
from api.files.tables import find_header, place_cells
from api.imports.row_types import COMMON, RowType, fold_title, row_type_named
from domain.actors import Actor, Role
from domain.errors import LedgerError

EXTENSIONS = (".csv", ".xlsx", ".json", ".jsonl")
MENDED = "_kind"
"""A file with this column holds rows of any type: the file of refused rows, corrected."""
STAFF = "staff"
"""Name of the file that lists the staff; see `_staff`."""


class FileFault(LedgerError):
    """{file}: {reason}"""

    code = "import_file_fault"


@dataclass(slots=True)
class RawRow:
    """One row as written. values: column -> cell, without the empty ones.

    line: of the file, or the number of the record in JSON. titles: column -> header as written.
    bad: header of the first cell that can't be taken, and the reason.
    """

    kind: RowType
    file: Path
    line: int
    values: dict[str, Any]
    titles: dict[str, str]
    bad: tuple[str, str] | None = None

    @property
    def folder(self) -> Path:
        """The folder that relative paths of the row start from."""
        return self.file.parent


@dataclass
class SourceFiles:
    """Everything the files hold. staff: login -> actor."""

    rows: list[RawRow] = field(default_factory=list)
    staff: dict[str, Actor] = field(default_factory=dict)
    faults: list[FileFault] = field(default_factory=list)


def gather(paths: Iterable[Path]) -> SourceFiles:
    """Read files and folders. Other files in a folder, such as a README.md, are ignored."""
    found = SourceFiles()
    for path in _files(paths, found):
        try:
            if fold_title(path.stem) == STAFF:
                found.staff |= _staff(path)
            else:
                found.rows += read_file(path)
        except FileFault as fault:
            found.faults.append(fault)
        except TableTooManyRows:
            reason = f"has more than {SCANNED_ROWS_MAX:,} lines: split it"
            found.faults.append(FileFault(file=path.name, reason=reason))
        except LedgerError as error:
            found.faults.append(FileFault(file=path.name, reason=str(error)))
        except OSError as error:
            found.faults.append(FileFault(file=path.name, reason=error.strerror or "unreadable"))
    return found


def _files(paths: Iterable[Path], found: SourceFiles) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in EXTENSIONS)
            if not inside:
                reason = f"the folder has no {', '.join(EXTENSIONS)} file"
                found.faults.append(FileFault(file=path.name, reason=reason))
            yield from inside
        elif path.suffix.lower() in EXTENSIONS:
            yield path
        else:
            reason = f"is none of {', '.join(EXTENSIONS)}"
            found.faults.append(FileFault(file=path.name, reason=reason))


def read_file(path: Path) -> list[RawRow]:
    """The rows of one file, in their order. Raises: FileFault, TableUnreadable, OSError."""
    kind = row_type_named(path.stem)
    lines = list(_LINES[path.suffix.lower()](path.read_bytes(), path))
    header, rows = _header(lines, path, kind)
    columns = [_column(title, kind, path) for title in header]
    for name in columns:
        if name and columns.count(name) > 1:
            raise FileFault(file=path.name, reason=f"two columns mean {name}")
    if kind is None:
        return [_mended(path, line, header, cells) for line, cells in rows]
    missing = [column.name for column in kind.schema.missing(columns)]
    if missing and path.suffix.lower() in (".csv", ".xlsx"):
        raise FileFault(file=path.name, reason=f"has no column {', '.join(missing)}")
    titles = {name: title for name, title in zip(columns, header, strict=True) if name}
    return [_raw_row(kind, path, line, columns, titles, cells) for line, cells in rows]


Line = tuple[int, list[Any]]

_KEY_HEADERS = {fold_title(title) for c in COMMON[:3] for title in (c.name, *c.aliases)}
"""Two of the headers of id, occurred_at and by mark a line as the header."""


def _header(
    lines: list[Line], path: Path, kind: RowType | None
) -> tuple[list[str], Iterable[Line]]:
    """The header, and the filled lines below it. Raises: FileFault."""

    def is_header(titles: list[str]) -> bool:
        folded = {fold_title(title) for title in titles}
        return MENDED in titles or (kind is not None and len(folded & _KEY_HEADERS) >= 2)

    header = find_header(lines, is_header)
    if header is not None and header.is_found:
        return header.titles, header.below
    if kind is None:
        raise FileFault(file=path.name, reason="its name begins with no kind of file")
    raise FileFault(file=path.name, reason="has no header with id, occurred_at and by")


def _column(title: str, kind: RowType | None, path: Path) -> str:
    """The column that a header names; "" for one that is ignored. Raises: FileFault."""
    if not title or title.startswith(("_", "#")) or fold_title(title) in ("备注", "remark", "note"):
        return ""
    if kind is None:
        return title
    column = kind.schema.column_of(title)
    if column is None:
        known = ", ".join(kind.schema.by_name)
        raise FileFault(file=path.name, reason=f"column {title!r} is none of {known}")
    return column.name


def _raw_row(
    kind: RowType,
    path: Path,
    line: int,
    columns: list[str],
    titles: dict[str, str],
    cells: list[Any],
) -> RawRow:
    placed = place_cells(cells, columns)
    bad = next(((titles[name], reason) for name, reason in placed.bad.items()), None)
    if bad is None and placed.overflow is not None:
        bad = (f"number {placed.overflow}", "is beyond the last header")
    return RawRow(kind, path, line, placed.values, titles, bad)


def _mended(path: Path, line: int, header: list[str], cells: list[Any]) -> RawRow:
    """A row of a file of refused rows, which names its type and the file it came from."""
    given = dict(zip(header, cells, strict=False))
    kind = row_type_named(str(given.get(MENDED, "")))
    if kind is None:
        raise FileFault(file=path.name, reason=f"line {line} has no known {MENDED}")
    names = [_known(title, kind) for title in header]
    titles = {name: title for name, title in zip(names, header, strict=True) if name}
    row = _raw_row(kind, path, line, names, titles, cells)
    came_from = given.get("_file")
    if isinstance(came_from, str) and came_from:
        row.file = Path(came_from)
    return row


def _known(title: str, kind: RowType) -> str:
    column = None if title.startswith("_") else kind.schema.column_of(title)
    return column.name if column else ""


# --- formats --------------------------------------------------------------------------------------


def _objects(records: Iterable[tuple[int, Any]]) -> Iterator[Line]:
    """JSON objects as a header with every key, and one line for each object."""
    listed = list(records)
    names = list(dict.fromkeys(k for _, one in listed if isinstance(one, dict) for k in one))
    yield 0, list(names)
    for line, one in listed:
        if isinstance(one, dict):
            yield line, ["" if one.get(name) is None else one[name] for name in names]
        else:
            yield line, [BadCell("is no JSON object") for _ in names]


def _json(data: bytes, path: Path) -> Iterator[Line]:
    value = _parsed(data, path)
    records = value if isinstance(value, list) else [value]
    return _objects(enumerate(records, start=1))


def _json_lines(data: bytes, path: Path) -> Iterator[Line]:
    records: list[tuple[int, Any]] = []
    for line, part in enumerate(data.splitlines(), start=1):
        if part.strip():
            try:
                records.append((line, _parsed(part, path)))
            except FileFault:
                records.append((line, None))
    return _objects(records)


def _parsed(data: bytes, path: Path) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"), parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise FileFault(file=path.name, reason="is not JSON in UTF-8") from None


_LINES: dict[str, Callable[[bytes, Path], Iterable[Line]]] = {
    ".csv": lambda data, path: csv_lines(data),
    ".xlsx": lambda data, path: xlsx_lines(data),
    ".json": _json,
    ".jsonl": _json_lines,
}


# --- staff, and refused rows ----------------------------------------------------------------------


def _staff(path: Path) -> dict[str, Actor]:
    """The staff list, with the columns subject, role, organisation. Raises: FileFault."""
    lines = list(_LINES[path.suffix.lower()](path.read_bytes(), path))
    staff: dict[str, Actor] = {}
    titles = [str(title) for title in lines[0][1]] if lines else []
    for line, cells in lines[1:]:
        given = dict(zip(titles, cells, strict=False))
        try:
            role, organisation = Role(given["role"]), str(given["organisation"])
            staff[given["subject"]] = Actor(
                subject=given["subject"], role=role, organisation=organisation
            )
        except (KeyError, ValueError):
            reason = f"line {line} is not subject, role, organisation with a known role"
            raise FileFault(file=path.name, reason=reason) from None
    return staff


def write_refused(path: Path, refused: Iterable[tuple[RawRow, str, str]]) -> None:
    """Write refused rows with column and reason as CSV, to be corrected and imported again.

    The file holds personal data, as the files it came from do, so only its owner may read it.
    """
    listed = list(refused)
    names = list(dict.fromkeys(name for cells, _, _ in listed for name in cells.values))
    path.touch(mode=0o600)
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(("_reason", "_column", "_line", "_file", MENDED, *names))
        for cells, column, reason in listed:
            place = (reason, column, cells.line, cells.file.absolute(), cells.kind.name)
            writer.writerow((*place, *(_cell(cells.values.get(name)) for name in names)))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
