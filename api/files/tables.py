"""The table reader: finds the header of a CSV, XLSX or JSON table and places its cells in columns.

Uploads (`read_table`: bulk scores, certificate numbers, acceptance files) and imports
(`api.imports.source_files`) describe their columns with the same `Column` and `Schema`, and find
header and cells with the same functions; each words its own refusals. Nothing is guessed: a formula
is refused instead of computed, a number too long for a spreadsheet is refused instead of rounded. A
bad cell rejects its own row only and is reported by line, column and reason. Reasons and errors
never repeat the content of a cell, because it may be a name.
Reading order: Column and Schema, `find_header`, `place_cells`, then `read_table`. File formats:
`api.files.table_readers`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from api.files.table_readers import (
    BYTES_MAX,
    ROWS_MAX,
    BadCell,
    Line,
    TableTooManyRows,
    TableUnreadable,
    csv_lines,
    json_lines,
    xlsx_lines,
)
from domain.errors import LedgerError

PROBLEMS_MAX = 1_000
"""Problems reported of one table; with more than this, the wrong file was sent."""
HEADER_SEARCH_ROWS = 10
"""A title may come before the header: it is searched for in the first ten filled rows."""


class TableTooLarge(LedgerError):
    """表格文件大小为{size_bytes}字节，不得超过{limit_bytes}字节（10 MB）。"""

    code = "table_too_large"


class TableTypeUnknown(LedgerError):
    """表格须为 CSV、XLSX 或 JSON 文件，扩展名与内容一致；旧版 XLS 请另存为 XLSX。"""

    code = "table_type_unknown"


class TableHeaderWrong(LedgerError):
    """表头有误：缺少列 {missing}；重复列 {repeated}。"""

    code = "table_header_wrong"


class TableHasBadCells(LedgerError):
    """表格中有{count}处错误，首处在第{line}行“{column}”列：{reason}。

    Fields: problems (all of them, as dictionaries), count, and the first one's three parts.
    """

    code = "table_has_bad_cells"


# --- columns and headers --------------------------------------------------------------------------


def plain(value: Any) -> str:
    """Text of a cell, half-width, without surrounding space. A whole float loses its `.0`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return unicodedata.normalize("NFKC", str(value)).strip()


def text(value: Any) -> str:
    """Text of a cell as written, without surrounding space."""
    return value.strip() if isinstance(value, str) else plain(value)


class Column(NamedTuple):
    """A column of a schema.

    name: the key of its values, and one of its headers. aliases: its other headers, zh or en.
    parse: cell -> value; raises an error whose text does not repeat the cell.
    required: the header must be there, and every row must have a value.
    personal: a refusal of its value must not reveal the cell.
    fields: fields of the command that the value fills, where their names differ from `name`.
    """

    name: str
    aliases: tuple[str, ...] = ()
    parse: Callable[[Any], Any] = text
    required: bool = False
    personal: bool = False
    fields: tuple[str, ...] = ()


Fold = Callable[[str], str]
"""Reduces the spellings of one header or name to one key."""


def fold_of(ignored: str, separator: str = "") -> Fold:
    """A fold: width and case never count, and a run of `ignored` counts as one `separator`.

    ignored: a regular expression's character class.
    """
    run = re.compile(f"[{ignored}]+")
    return lambda text: run.sub(separator, unicodedata.normalize("NFKC", text).casefold())


_fold_spaces = fold_of(r"\s_*:", " ")
_REQUIRED_MARK = re.compile(r"\((?:必填|选填|required|optional)\)")


def fold_header(header: str) -> str:
    """The fold of uploaded tables: spaces, underscores, stars, colons and 必填 are decoration."""
    return _fold_spaces(_REQUIRED_MARK.sub("", _fold_spaces(header))).strip()


@dataclass(frozen=True)
class Schema:
    """The columns of one kind of table, found by any of their headers."""

    columns: tuple[Column, ...]
    fold: Fold = fold_header
    by_name: dict[str, Column] = field(init=False, default_factory=dict, compare=False, repr=False)
    _by_header: dict[str, Column] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        for column in self.columns:
            self.by_name[column.name] = column
            for header in (column.name, *column.aliases):
                self._by_header.setdefault(self.fold(header), column)

    def column_of(self, header: str) -> Column | None:
        """The column that a header names."""
        return self._by_header.get(self.fold(header))

    def missing(self, names: Iterable[str]) -> list[Column]:
        """Required columns that are not among these names."""
        there = set(names)
        return [column for column in self.columns if column.required and column.name not in there]


class Header(NamedTuple):
    """The header of a table, and the filled lines below it.

    is_found: False if no line was accepted as the header; then this is the first filled line.
    """

    titles: list[str]
    below: Iterator[tuple[int, list[Any]]]
    is_found: bool


def find_header(
    lines: Iterable[tuple[int, list[Any]]], is_header: Callable[[list[str]], bool]
) -> Header | None:
    """The first of the first HEADER_SEARCH_ROWS filled lines that is a header; None without lines.

    Blank lines are skipped everywhere. A cell that is not text never counts as a title.
    """
    filled = ((line, cells) for line, cells in lines if any(cell != "" for cell in cells))
    first: list[str] | None = None
    for _, (_, cells) in zip(range(HEADER_SEARCH_ROWS), filled, strict=False):
        titles = [cell if isinstance(cell, str) else "" for cell in cells]
        if is_header(titles):
            return Header(titles, filled, True)
        first = titles if first is None else first
    return None if first is None else Header(first, filled, False)


class PlacedRow(NamedTuple):
    """A row's cells by column name.

    values: cells that are filled and readable. bad: column -> why its cell can't be taken.
    overflow: place, from 1, of the first filled cell to the right of the header; None if none is.
    """

    values: dict[str, Any]
    bad: dict[str, str]
    overflow: int | None


def place_cells(cells: Sequence[Any], names: Sequence[str]) -> PlacedRow:
    """Place a row's cells. names: the column at each place, "" where the header is ignored."""
    row = PlacedRow({}, {}, None)
    for name, cell in zip(names, cells, strict=False):
        if not name:
            continue
        if isinstance(cell, BadCell):
            row.bad.setdefault(name, cell.reason)
        elif cell not in ("", None):
            row.values[name] = cell
    beyond = (place for place, cell in enumerate(cells, 1) if place > len(names) and cell != "")
    return row._replace(overflow=next(beyond, None))


# --- uploaded tables ------------------------------------------------------------------------------


class CellProblem(NamedTuple):
    """One bad cell. line: from 1, as in the file (JSON: the record's number)."""

    line: int
    column: str
    reason: str


class TableRow(NamedTuple):
    """One good row: its line in the file, and its values by column name; an empty cell is None."""

    line: int
    values: dict[str, Any]


class UploadTable(NamedTuple):
    """A table that was read: good rows, bad cells, and headers that name no column."""

    rows: tuple[TableRow, ...]
    problems: tuple[CellProblem, ...]
    ignored_headers: tuple[str, ...]

    def valid_rows(self) -> tuple[TableRow, ...]:
        """The rows of a table without a bad cell. Raises: TableHasBadCells."""
        if self.problems:
            raise TableHasBadCells(
                problems=[problem._asdict() for problem in self.problems],
                count=len(self.problems),
                **self.problems[0]._asdict(),
            )
        return self.rows


HEADER_ALIASES: dict[str, tuple[str, ...]] = {
    "ticket_number": ("准考证号", "准考证号码", "ticket", "ticket no", "admission ticket"),
    "application_id": ("报考编号", "申请编号", "application"),
    "subject": ("科目", "考试科目"),
    "marks": ("成绩", "分数", "得分", "score", "mark"),
    "theory_marks": ("理论成绩", "理论知识成绩", "理论", "theory"),
    "practical_marks": ("实操成绩", "技能成绩", "技能考核成绩", "实操", "practical"),
    "certificate_number": ("证书编号", "证书号", "certificate no", "certificate"),
    "result": ("受理结果", "结果", "审核结果"),
    "reason": ("原因", "退回原因", "备注", "说明", "remark"),
}
"""Headers of the columns of uploaded tables, so that each upload need not list them again."""


def read_table(data: bytes, filename: str, columns: Sequence[Column]) -> UploadTable:
    """Rows of a CSV (UTF-8 with or without BOM, GB18030), XLSX (first sheet) or JSON table.

    filename: only its extension is used, and must agree with the bytes.
    columns: found by their own headers and by HEADER_ALIASES; other headers are ignored.
    JSON is a list of objects, or {"rows": [...]}.
    Raises: TableTooLarge, TableTooManyRows, TableTooManyColumns, TableTypeUnknown,
        TableUnreadable, TableHeaderWrong; a bad cell is reported in the table instead.
    """
    if len(data) > BYTES_MAX:
        raise TableTooLarge(size_bytes=len(data), limit_bytes=BYTES_MAX)
    extension = filename.rpartition(".")[2].lower()
    is_zip = data.startswith(b"PK")
    if extension == "xlsx" and is_zip:
        lines = xlsx_lines(data)
    elif extension == "csv" and not is_zip:
        lines = csv_lines(data)
    elif extension == "json" and not is_zip:
        lines = json_lines(data)
    else:
        raise TableTypeUnknown()
    return _assemble(lines, Schema(tuple(map(_with_aliases, columns))))


def _with_aliases(column: Column) -> Column:
    return column._replace(aliases=(*column.aliases, *HEADER_ALIASES.get(column.name, ())))


def _assemble(lines: Iterable[Line], schema: Schema) -> UploadTable:
    """A table of lines. Raises: TableUnreadable, TableHeaderWrong, TableTooManyRows."""

    def names_of(titles: list[str]) -> list[str]:
        found = map(schema.column_of, titles)
        return [column.name if column else "" for column in found]

    header = find_header(lines, lambda titles: not schema.missing(names_of(titles)))
    if header is None:
        raise TableUnreadable(reason="表格是空的")
    names = names_of(header.titles)
    _check_header(names, schema)
    rows: list[TableRow] = []
    problems: list[CellProblem] = []
    for count, (line, cells) in enumerate(header.below, 1):
        if count > ROWS_MAX:
            raise TableTooManyRows(limit=ROWS_MAX)
        values, bad = _parse_row(line, place_cells(cells, names), header.titles, names, schema)
        problems.extend(bad[: PROBLEMS_MAX - len(problems)])
        if not bad:
            rows.append(TableRow(line, values))
    ignored = (title for title, name in zip(header.titles, names, strict=True) if not name)
    return UploadTable(tuple(rows), tuple(problems), tuple(filter(None, ignored)))


def _check_header(names: list[str], schema: Schema) -> None:
    """Raises: TableHeaderWrong when a required column is missing or a column comes twice."""
    missing = schema.missing(names)
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if missing or repeated:
        shown = {column.name: (*column.aliases, column.name)[0] for column in schema.columns}
        raise TableHeaderWrong(
            missing="、".join(shown[column.name] for column in missing) or "无",
            repeated="、".join(shown[name] for name in repeated) or "无",
        )


def _parse_row(
    line: int, row: PlacedRow, titles: list[str], names: list[str], schema: Schema
) -> tuple[dict[str, Any], list[CellProblem]]:
    """Values by column name, and every bad cell of the row."""
    values: dict[str, Any] = {}
    bad: list[CellProblem] = []
    if row.overflow is not None:
        bad.append(CellProblem(line, "（表头之外）", "该行的列数多于表头"))
    for title, name in zip(titles, names, strict=True):
        if not name:
            continue
        if name in row.bad:
            bad.append(CellProblem(line, title, row.bad[name]))
        elif name not in row.values:
            values[name] = None
            if schema.by_name[name].required:
                bad.append(CellProblem(line, title, "不能为空"))
        else:
            try:
                values[name] = schema.by_name[name].parse(row.values[name])
            except ValueError as wrong:
                bad.append(CellProblem(line, title, str(wrong)))
    return values, bad


def one_of(choices: Mapping[str, Any]) -> Callable[[str], Any]:
    """A parser of a cell that holds one of these words; returns the word's value."""

    def parse(text: str) -> Any:
        if text.lower() not in choices:
            raise ValueError("应为：" + "、".join(choices))
        return choices[text.lower()]

    return parse
