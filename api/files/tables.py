"""Tables that people send us — CSV, XLSX, JSON — read into rows, with every bad cell named.

Bulk score entry, imports and the files that come back from above all pass here. A table is
believed cell by cell: a formula is refused, not computed; a number too long for a spreadsheet
to keep is refused, not rounded; and a bad cell costs its row alone and is reported by line,
column and reason. Reasons and errors never repeat what stands in a cell, for it may be a name.
Reading order: what a table is, read_table, headers and rows, parsers. Formats:
`api.files.table_readers`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
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
"""Problems reported of one table; beyond that the file is the wrong file."""
HEADER_SEARCH_ROWS = 10
"""A title may stand above the header; it is looked for in the first ten filled rows."""


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


class CellProblem(NamedTuple):
    """One bad cell. line: from 1, as in the file (JSON: the record's number)."""

    line: int
    column: str
    reason: str


class TableRow(NamedTuple):
    """One good row: its line in the file, and its values by column name."""

    line: int
    values: dict[str, Any]


class Column(NamedTuple):
    """A column that is looked for.

    name: the key of its values. aliases: other headers it may have, zh or en.
    required: header and value must be there; an empty optional cell is None.
    parse: text -> value; raises ValueError with a reason that does not repeat the text.
    """

    name: str
    aliases: tuple[str, ...] = ()
    required: bool = True
    parse: Callable[[str], Any] = str


class Table(NamedTuple):
    """A table as read: good rows, bad cells, and headers nobody asked for."""

    rows: tuple[TableRow, ...]
    problems: tuple[CellProblem, ...]
    ignored_headers: tuple[str, ...]

    def sound(self) -> tuple[TableRow, ...]:
        """The rows, if not one cell is bad. Raises: TableHasBadCells."""
        if self.problems:
            raise TableHasBadCells(
                problems=[problem._asdict() for problem in self.problems],
                count=len(self.problems),
                **self.problems[0]._asdict(),
            )
        return self.rows


HEADER_ALIASES: dict[str, tuple[str, ...]] = {
    "ticket_number": ("准考证号", "准考证号码", "ticket", "ticket no", "admission ticket"),
    "name": ("姓名", "考生姓名", "full name"),
    "document_type": ("证件类型",),
    "document_number": ("证件号码", "证件号", "身份证号", "身份证号码", "id number", "id"),
    "application_id": ("报考编号", "申请编号", "application"),
    "occupation": ("职业名称", "职业"),
    "job": ("工种名称", "工种", "职业方向"),
    "level": ("职业技能等级", "技能等级", "等级", "认定等级", "grade"),
    "subject": ("科目", "考试科目"),
    "marks": ("成绩", "分数", "得分", "score", "mark"),
    "theory_marks": ("理论成绩", "理论知识成绩", "理论", "theory"),
    "practical_marks": ("实操成绩", "技能成绩", "技能考核成绩", "实操", "practical"),
    "absent": ("缺考", "是否缺考"),
    "certificate_number": ("证书编号", "证书号", "certificate no", "certificate"),
    "issued_on": ("发证日期", "证书版面发证日期", "issue date"),
    "result": ("受理结果", "结果", "审核结果"),
    "reason": ("原因", "退回原因", "备注", "说明", "remark"),
    "employer": ("所在单位", "工作单位", "单位"),
}
"""Headers everybody uses, so that a caller need not list them again."""


def read_table(data: bytes, filename: str, columns: Sequence[Column] = ()) -> Table:
    """Rows of a CSV (UTF-8 with or without BOM, GB18030), XLSX (first sheet) or JSON table.

    filename: only its extension is used, and must agree with the bytes.
    columns: what is looked for; without any, every column is read as text, under its name in
        HEADER_ALIASES or, unknown there, under its header.
    JSON is a list of objects, or {"rows": [...]}.
    Raises: TableTooLarge, TableTooManyRows, TableTooManyColumns, TableTypeUnknown,
        TableUnreadable, TableHeaderWrong; a bad cell is not raised but reported.
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
    return _assemble(lines, columns)


def _assemble(lines: Iterable[Line], columns: Sequence[Column]) -> Table:
    """A table of lines, the first fitting one of which is the header."""
    filled = ((at, cells) for at, cells in lines if any(cells))
    headers, wanted, rest = _find_header(filled, columns)
    rows: list[TableRow] = []
    problems: list[CellProblem] = []
    for count, (line, cells) in enumerate(rest, 1):
        if count > ROWS_MAX:
            raise TableTooManyRows(limit=ROWS_MAX)
        values, bad = _parse_row(line, cells, headers, wanted)
        problems.extend(bad[: PROBLEMS_MAX - len(problems)])
        if not bad:
            rows.append(TableRow(line, values))
    ignored = (header for at, header in enumerate(headers) if header and at not in wanted)
    return Table(tuple(rows), tuple(problems), tuple(ignored))


def _find_header(
    filled: Iterator[Line], columns: Sequence[Column]
) -> tuple[list[str], dict[int, Column], Iterator[Line]]:
    """Headers as written, which column stands where, and the lines below.

    Raises: TableHeaderWrong when a required column is missing or one appears twice.
    """
    best: tuple[list[str], list[tuple[int, Column]]] | None = None
    for _, (_, cells) in zip(range(HEADER_SEARCH_ROWS), filled, strict=False):
        headers = ["" if isinstance(cell, BadCell) else cell for cell in cells]
        found = _match_headers(headers, columns)
        best = best or (headers, found)
        if not columns or {one.name for one in columns if one.required} <= {
            column.name for _, column in found
        }:
            best = headers, found
            break
    if best is None:
        raise TableUnreadable(reason="表格是空的")
    headers, found = best
    names = [column.name for _, column in found]
    missing = [one.name for one in columns if one.required and one.name not in names]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if missing or repeated:
        shown = {one.name: (*one.aliases, *HEADER_ALIASES.get(one.name, ()), one.name)[0]
                 for one in columns}  # fmt: skip
        raise TableHeaderWrong(
            missing="、".join(shown[name] for name in missing) or "无",
            # Without columns a name may be a stranger's header, hence the cut.
            repeated="、".join(shown.get(name, name[:20]) for name in repeated) or "无",
        )
    return headers, dict(found), filled


def _match_headers(headers: list[str], columns: Sequence[Column]) -> list[tuple[int, Column]]:
    """(place, column) for every header that is known, or for every header without columns."""
    known: dict[str, Column] = {}
    for column in columns or [Column(name, required=False) for name in HEADER_ALIASES]:
        for header in (column.name, *column.aliases, *HEADER_ALIASES.get(column.name, ())):
            known.setdefault(_plain_header(header), column)
    found = []
    for at, header in enumerate(headers):
        plain = _plain_header(header)
        if plain in known:
            found.append((at, known[plain]))
        elif header and not columns:
            found.append((at, Column(header, required=False)))
    return found


def _plain_header(text: str) -> str:
    """A header without what people decorate it with: case, spaces, 必填, a star, a colon."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("_", " ")
    plain = re.sub(r"\((?:必填|选填|required|optional)\)", "", plain)
    return re.sub(r"[\s*:]+", " ", plain).strip()


def _parse_row(
    line: int, cells: list[str | BadCell], headers: list[str], wanted: Mapping[int, Column]
) -> tuple[dict[str, Any], list[CellProblem]]:
    """Values by column name, and every bad cell of the row."""
    values: dict[str, Any] = {}
    bad: list[CellProblem] = []
    if any(cells[len(headers) :]):
        bad.append(CellProblem(line, "（表头之外）", "该行的列数多于表头"))
    for at, column in wanted.items():
        cell = cells[at] if at < len(cells) else ""
        if isinstance(cell, BadCell):
            bad.append(CellProblem(line, headers[at], cell.reason))
        elif not cell:
            values[column.name] = None
            if column.required:
                bad.append(CellProblem(line, headers[at], "不能为空"))
        else:
            try:
                values[column.name] = column.parse(cell)
            except ValueError as wrong:
                bad.append(CellProblem(line, headers[at], str(wrong)))
    return values, bad


def day(text: str) -> date:
    """A parser: 2026-03-01, 2026/3/1, 20260301 or 2026年3月1日. Raises: ValueError."""
    parts = re.fullmatch(r"(\d{4})([-/.年]?)(\d{1,2})[-/.月]?(\d{1,2})日?", text, re.ASCII)
    if parts is None or (not parts[2] and len(text) != 8):
        raise ValueError("不是日期，应为 YYYY-MM-DD")
    try:
        return date(int(parts[1]), int(parts[3]), int(parts[4]))
    except ValueError:
        raise ValueError("没有这一天") from None


def one_of(choices: Mapping[str, Any]) -> Callable[[str], Any]:
    """A parser for a cell that holds one of these words; it gives what the word stands for."""

    def parse(text: str) -> Any:
        if text.lower() not in choices:
            raise ValueError("应为：" + "、".join(choices))
        return choices[text.lower()]

    return parse
