"""The files of an import, read into rows that still are what people wrote.

CSV and XLSX come through `api.files.table_readers` and its guards; JSON is a list of objects, or
one
object, and JSON lines are an object each. What is wrong with a whole file (`FileFault`) stops the
import before anything is sent; what is wrong with one row costs that row alone.
Reading order: Cells, gather, read_file.
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
from api.imports.columns import COMMON, RowType, fold_title
from api.imports.row_types import kind_named
from domain.actors import Actor, Role
from domain.errors import LedgerError

EXTENSIONS = (".csv", ".xlsx", ".json", ".jsonl")
HEADER_SEARCH_ROWS = 10
MENDED = "_kind"
"""A column with it holds rows of any kind: the file of refused rows, mended."""
STAFF = "staff"


class FileFault(LedgerError):
    """{file}: {reason}"""

    code = "import_file_fault"


@dataclass(slots=True)
class RawRow:
    """One row as it was written. values: column -> cell, those that are not empty.

    line: of the file, or the number of the record in JSON. titles: column -> header as written.
    bad: the first cell that could not be taken, with its header and the reason.
    """

    kind: RowType
    file: Path
    line: int
    values: dict[str, Any]
    titles: dict[str, str]
    bad: tuple[str, str] | None = None

    @property
    def folder(self) -> Path:
        """What relative paths of the row start from."""
        return self.file.parent


@dataclass
class SourceFiles:
    """Everything the files hold. staff: login -> who that is."""

    rows: list[RawRow] = field(default_factory=list)
    staff: dict[str, Actor] = field(default_factory=dict)
    faults: list[FileFault] = field(default_factory=list)


def gather(paths: Iterable[Path]) -> SourceFiles:
    """Read files and folders. A folder's other files, such as a README.md, are left alone."""
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
    kind = kind_named(path.stem)
    lines = list(_LINES[path.suffix.lower()](path.read_bytes(), path))
    header, rows = _header(lines, path, kind)
    columns = [_column(title, kind, path) for title in header]
    for name in columns:
        if name and columns.count(name) > 1:
            raise FileFault(file=path.name, reason=f"two columns mean {name}")
    if kind is None:
        return [_mended(path, line, header, cells) for line, cells in rows]
    missing = [c.name for c in (*COMMON, *kind.columns) if c.required and c.name not in columns]
    if missing and path.suffix.lower() in (".csv", ".xlsx"):
        raise FileFault(file=path.name, reason=f"has no column {', '.join(missing)}")
    titles = {name: title for name, title in zip(columns, header, strict=True) if name}
    return [_cells(kind, path, line, columns, titles, cells) for line, cells in rows]


Line = tuple[int, list[Any]]


def _header(lines: list[Line], path: Path, kind: RowType | None) -> tuple[list[str], list[Line]]:
    """The header and what follows. A title may stand above it, blank lines anywhere."""
    filled = [(line, cells) for line, cells in lines if any(cell != "" for cell in cells)]
    wanted = {fold_title(title) for c in COMMON[:3] for title in (c.name, *c.titles)}
    for place, (_, cells) in enumerate(filled[:HEADER_SEARCH_ROWS]):
        titles = [cell if isinstance(cell, str) else "" for cell in cells]
        folded = {fold_title(title) for title in titles}
        if MENDED in titles or (kind is not None and len(folded & wanted) >= 2):
            return titles, filled[place + 1 :]
    if kind is None:
        raise FileFault(file=path.name, reason="its name begins with no kind of file")
    raise FileFault(file=path.name, reason="has no header with id, occurred_at and by")


def _column(title: str, kind: RowType | None, path: Path) -> str:
    """The column a header means; "" for one that is left alone. Raises: FileFault."""
    if not title or title.startswith(("_", "#")) or fold_title(title) in ("备注", "remark", "note"):
        return ""
    if kind is None:
        return title
    column = kind.column_of(title)
    if column is None:
        known = ", ".join(c.name for c in (*COMMON, *kind.columns))
        raise FileFault(file=path.name, reason=f"column {title!r} is none of {known}")
    return column.name


def _cells(
    kind: RowType,
    path: Path,
    line: int,
    columns: list[str],
    titles: dict[str, str],
    cells: list[Any],
) -> RawRow:
    row = RawRow(kind, path, line, {}, titles)
    for place, cell in enumerate(cells):
        name = columns[place] if place < len(columns) else None
        if name is None and cell != "":
            row.bad = row.bad or (f"number {place + 1}", "stands beyond the last header")
        elif isinstance(cell, BadCell) and name:
            row.bad = row.bad or (titles[name], cell.reason)
        elif name and cell not in ("", None):
            row.values[name] = cell
    return row


def _mended(path: Path, line: int, header: list[str], cells: list[Any]) -> RawRow:
    """A row of a file of refused rows: it says its kind, and the file it came from."""
    given = dict(zip(header, cells, strict=False))
    kind = kind_named(str(given.get(MENDED, "")))
    if kind is None:
        raise FileFault(file=path.name, reason=f"line {line} has no known {MENDED}")
    names = [_known(title, kind) for title in header]
    titles = {name: title for name, title in zip(names, header, strict=True) if name}
    row = _cells(kind, path, line, names, titles, cells)
    came_from = given.get("_file")
    if isinstance(came_from, str) and came_from:
        row.file = Path(came_from)
    return row


def _known(title: str, kind: RowType) -> str:
    column = None if title.startswith("_") else kind.column_of(title)
    return column.name if column else ""


# --- formats --------------------------------------------------------------------------------------


def _objects(records: Iterable[tuple[int, Any]]) -> Iterator[Line]:
    """JSON objects as a header and lines; the header has every key."""
    kept = list(records)
    names = list(dict.fromkeys(k for _, one in kept if isinstance(one, dict) for k in one))
    yield 0, list(names)
    for line, one in kept:
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


# --- staff, and rows that come back ---------------------------------------------------------------


def _staff(path: Path) -> dict[str, Actor]:
    """subject, role, organisation of everybody who works there. Raises: FileFault."""
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
    """Refused rows with column and reason, as CSV that can be mended and imported again.

    It holds personal data, as the files it came from do, so only its owner may read it.
    """
    kept = list(refused)
    names = list(dict.fromkeys(name for cells, _, _ in kept for name in cells.values))
    path.touch(mode=0o600)
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(("_reason", "_column", "_line", "_file", MENDED, *names))
        for cells, column, reason in kept:
            place = (reason, column, cells.line, cells.file.absolute(), cells.kind.name)
            writer.writerow((*place, *(_cell(cells.values.get(name)) for name in names)))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
