"""Reads CSV, XLSX and JSON files into lines of cells, with the guards each format needs.

Every reader yields (line, cells): cells are text without surrounding space, or a BadCell with the
reason why a cell can't be taken. `api.files.tables` finds the header and the columns. Errors and
reasons never repeat the content of a cell.
Reading order: limits, errors, one cell, CSV, JSON, XLSX.
"""

import csv
import io
import json
import math
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from datetime import datetime, time
from typing import Any, NamedTuple

from openpyxl import load_workbook

from domain.errors import LedgerError

ROWS_MAX = 20_000
BYTES_MAX = 10_485_760
COLUMNS_MAX = 100
CELL_LETTERS_MAX = 2_000
SCANNED_ROWS_MAX = 200_000
"""Lines read, blank ones included: spreadsheets often contain empty formatted rows."""
ZIP_ENTRIES_MAX = 1_000
ZIP_INFLATED_BYTES_MAX = 62_914_560
"""60 MiB: 20,000 rows of 30 filled columns take about 25."""


class TableTooManyRows(LedgerError):
    """表格行数过多，最多{limit}行。"""

    code = "table_too_many_rows"


class TableTooManyColumns(LedgerError):
    """表格列数过多，最多{limit}列。"""

    code = "table_too_many_columns"


class TableUnreadable(LedgerError):
    """表格无法读取：{reason}。"""

    code = "table_unreadable"


class BadCell(NamedTuple):
    """A cell that can't be taken as text."""

    reason: str


Line = tuple[int, list[str | BadCell]]


_FORMULA = re.compile(r"[=＝@＠]|[+＋\-－](?!\d+(?:\.\d+)?$|$)")


def _cell(text: str) -> str | BadCell:
    """A cell's text without surrounding space, or a BadCell."""
    text = text.strip()
    if len(text) > CELL_LETTERS_MAX:
        return BadCell(f"内容过长，最多{CELL_LETTERS_MAX}字")
    if _FORMULA.match(text):
        return BadCell("不接受公式，请改为数值或文本")
    if any(unicodedata.category(sign) == "Cc" and sign not in "\n\t\r" for sign in text):
        return BadCell("含有不可见的控制字符")
    return text


def csv_lines(data: bytes) -> Iterator[Line]:
    """Lines of a CSV. A record over several lines has the number of its first line."""
    reader = csv.reader(io.StringIO(_decoded(data), newline=""), strict=True)
    before = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise TableUnreadable(reason=f"第{before + 1}行不是有效的CSV") from None
        _limit(before + 1, len(cells))
        yield before + 1, [_cell(cell) for cell in cells]
        before = reader.line_num


def _decoded(data: bytes) -> str:
    """Text in UTF-8 (with or without BOM) or GB18030. Raises: TableUnreadable."""
    if b"\0" in data:
        raise TableUnreadable(reason="不是UTF-8或GB18030编码的文本")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise TableUnreadable(reason="不是UTF-8或GB18030编码的文本")


def _limit(line: int, columns: int) -> None:
    if line > SCANNED_ROWS_MAX:
        raise TableTooManyRows(limit=ROWS_MAX)
    if columns > COLUMNS_MAX:
        raise TableTooManyColumns(limit=COLUMNS_MAX)


class _RepeatedKey(ValueError):
    pass


def json_lines(data: bytes) -> Iterator[Line]:
    """The keys as a header (line 0), then one line per record, counted from 1."""
    try:
        # Numbers stay text: 59.5 is exact, and a long identifier is not rounded.
        records = json.loads(
            data.decode("utf-8-sig"),
            parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_object,
        )  # fmt: skip
    except _RepeatedKey:
        raise TableUnreadable(reason="同一条记录中有重复的键") from None
    except (ValueError, RecursionError):
        raise TableUnreadable(reason="不是有效的JSON（UTF-8）") from None
    if isinstance(records, dict):
        records = records.get("rows")
    if not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
        raise TableUnreadable(reason="JSON应为对象的列表")
    if len(records) > ROWS_MAX:
        raise TableTooManyRows(limit=ROWS_MAX)
    headers = list(dict.fromkeys(key for record in records for key in record))
    _limit(1, len(headers))
    yield 0, list(headers)
    for line, record in enumerate(records, 1):
        yield line, [_json_cell(record.get(header)) for header in headers]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without repeated keys, one of which would silently be lost."""
    if len({key for key, _ in pairs}) != len(pairs):
        raise _RepeatedKey
    return dict(pairs)


def _json_cell(value: Any) -> str | BadCell:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    return _cell(value) if isinstance(value, str) else BadCell("应为文本或数字")


def xlsx_lines(data: bytes) -> Iterator[Line]:
    """Lines of the first sheet, with the sheet's row numbers."""
    _check_zip(data)
    try:
        workbook = load_workbook(io.BytesIO(data), read_only=True, keep_links=False)
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # the declared size of a sheet can't be trusted
        # One column more than allowed, so that a table too wide is refused, not cut.
        for line, row in enumerate(sheet.iter_rows(max_col=COLUMNS_MAX + 1), 1):
            cells = [_xlsx_cell(cell) for cell in row]
            while cells and cells[-1] == "":
                cells.pop()
            _limit(line, len(cells))
            yield line, cells
    except LedgerError:
        raise
    except Exception:  # a damaged workbook can make the parser raise anything
        raise TableUnreadable(reason="工作簿已损坏，请重新另存为XLSX") from None


def _check_zip(data: bytes) -> None:
    """Refuse a workbook that inflates beyond the limits, or has macros, entities or a password.

    Python inflates an entry no further than its declared size, so the sum of those is a bound.
    Raises: TableUnreadable.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            inflated = sum(entry.file_size for entry in entries)
            if len(entries) > ZIP_ENTRIES_MAX or inflated > ZIP_INFLATED_BYTES_MAX:
                raise TableUnreadable(reason="工作簿解压后过大")
            if len(names) != len(entries) or any(entry.flag_bits & 1 for entry in entries):
                raise TableUnreadable(reason="工作簿已加密或结构异常")
            if "xl/workbook.xml" not in names or any("vbaProject" in name for name in names):
                raise TableUnreadable(reason="不是普通的XLSX工作簿，或含有宏")
            for name in names:
                if name.endswith((".xml", ".rels")) and _declares(archive.read(name)):
                    raise TableUnreadable(reason="工作簿含有不允许的声明")
    except TableUnreadable:
        raise
    except Exception:  # a damaged archive can raise anything
        raise TableUnreadable(reason="工作簿已损坏，请重新另存为XLSX") from None


def _declares(xml: bytes) -> bool:
    """Whether XML could define entities; UTF-16 counts, as a declaration in it is not found."""
    return b"<!DOCTYPE" in xml or b"<!ENTITY" in xml or xml[:2] in (b"\xff\xfe", b"\xfe\xff")


def _xlsx_cell(cell: Any) -> str | BadCell:
    """A cell as the text a person sees, or a BadCell."""
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "f":
        return BadCell("不接受公式，请改为数值或文本")
    if cell.data_type == "e":
        return BadCell("单元格是错误值")
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, (int, float)):
        # A spreadsheet holds 15 digits; an 18-digit identifier typed as a number is already wrong.
        if not math.isfinite(value) or abs(value) >= 10**15:
            return BadCell("数字超过15位，请将该列设为文本格式后重新填写")
        return str(int(value)) if value == int(value) else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
    return _cell(str(value))
