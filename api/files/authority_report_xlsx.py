"""Files for the authorities: the upward report, the acceptance file, the talent statistics.

The upward report is put together from its stored rows whenever it is asked for, and the same rows
must give the same bytes. Workbooks are therefore written with a fixed clock, and not deflated
(compressors differ between machines); a test pins a digest, to detect a change of openpyxl's XML.
Identifiers are text cells: a spreadsheet would round 18 digits.
Reading order: safe workbooks and CSV, the upward report, the acceptance file, the statistics.
Source: source-document 5.3, 5.4.
"""

import csv
import hashlib
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, TypeVar

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.files.tables import CellProblem, Column, one_of, read_table
from domain.errors import LedgerError
from domain.values.certificate_numbers import NumberKind, classify_number, normalise_number
from domain.values.primitives import Level

REPORT_ROWS_MAX = 10_000
"""Rows of one report: about 7 MB, below common upload limits."""
Cell = str | int
Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200,
                           pattern=r"^[^\x00-\x1f\x7f]+$")
]  # fmt: skip


class ReportRowRepeated(LedgerError):
    """Certificate number {certificate_number} appears twice in one report."""

    code = "report_row_repeated"


class ReportSizeWrong(LedgerError):
    """A report has 1 to {limit} rows, not {count}."""

    code = "report_size_wrong"


class Sheet(NamedTuple):
    """One sheet to write: a bold header, then rows; str cells are text, int cells numbers."""

    title: str
    header: Sequence[str]
    rows: Iterable[Sequence[Cell]]


def write_xlsx(sheets: Sequence[Sheet]) -> bytes:
    """A workbook whose bytes depend on its cells alone.

    Text that resembles a formula stays text, with the quote prefix that keeps it text when a
    person edits the cell.
    """
    workbook = Workbook(write_only=True)
    for one in sheets:
        page = workbook.create_sheet(one.title)
        page.freeze_panes = "A2"
        for at, title in enumerate(one.header, 1):
            page.column_dimensions[get_column_letter(at)].width = max(12, 2 * len(title) + 6)
        page.append([_text_cell(page, title, bold=True) for title in one.header])
        for row in one.rows:
            page.append([cell if isinstance(cell, int) else _text_cell(page, cell) for cell in row])
    buffer = io.BytesIO()
    workbook.save(buffer)
    return _reproducible(buffer.getvalue())


def _text_cell(page: Any, text: str, *, bold: bool = False) -> Any:
    cell: Any = WriteOnlyCell(page, text)
    cell.data_type = "s"  # openpyxl takes a leading = for a formula; here it never is one
    cell.number_format = "@"
    cell.quotePrefix = int(_looks_like_formula(text))
    if bold:
        cell.font = Font(bold=True)
    return cell


def _looks_like_formula(text: str) -> bool:
    return text.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r"))


_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def _reproducible(workbook: bytes) -> bytes:
    """The same workbook with a fixed clock and fixed flags, stored instead of deflated."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook)) as made,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as fixed,
    ):
        for name in sorted(made.namelist()):
            content = made.read(name)
            if name == "docProps/core.xml":
                content = _STAMP.sub(b"2000-01-01T00:00:00Z", content)
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # otherwise it names the machine's operating system
            entry.external_attr = 0o600 << 16
            fixed.writestr(entry, content)
    return buffer.getvalue()


def write_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """CSV in UTF-8 with BOM (so that Excel shows Chinese), CRLF.

    A cell that resembles a formula gets a leading ', because CSV has no text type.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    for row in (header, *rows):
        writer.writerow(
            f"'{cell}" if isinstance(cell, str) and _looks_like_formula(cell) else cell
            for cell in row
        )
    return text.getvalue().encode("utf-8-sig")


# --- the upward report ----------------------------------------------------------------------------


class BatchKind(StrEnum):
    """Purpose of a report (批次类型)."""

    NEW = "新增"
    CORRECTION = "更正"
    LATE = "补录"


class SheetRow(BaseModel):
    """One certificate of an upward report (证书数据上报). Source: source-document 5.3."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Text
    document_type_code: str = Field(
        pattern=r"^[0-9]{3}$",
        description="证件类型 (domain.values.identity_documents.report_code), such as 201",
    )
    document_number: Text
    employer: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    occupation: Text
    job: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    level: Level
    certificate_number: str = Field(pattern=r"^[A-Z]{1,2}[0-9]{20,21}$")
    issued_on: date
    evaluator: Text = Field(description="评价机构")
    issuer: Text = Field(description="发证机构")


class ReportBatch(BaseModel):
    """The batch of a report; written on its own sheet, after the sheet of fixed columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Text = Field(description="批次号, such as 251120S0013650000010005")
    kind: BatchKind
    prepared_on: date = Field(description="制表日期")


class FrozenRow(NamedTuple):
    """A row as it was reported. cells: by REPORT_HEADER; None of a person who was erased since."""

    certificate_number: str
    cells: Sequence[str] | None


class ReportFile(NamedTuple):
    """A report as a file: its bytes, their SHA-256 (hex), and its number of rows."""

    content: bytes
    sha256: str
    row_count: int


REPORT_HEADER = (
    "姓名", "证件类型", "证件号码", "所在单位", "职业名称", "工种名称",
    "职业技能等级", "证书编号", "发证日期", "评价机构", "发证机构",
)  # fmt: skip


R = TypeVar("R", bound=SheetRow | FrozenRow)


def in_report_order(rows: Iterable[R]) -> list[R]:
    """The rows of a report sorted by certificate number, as they are stored and shown.

    Raises: ReportRowRepeated, ReportSizeWrong.
    """
    ordered = sorted(rows, key=lambda row: row.certificate_number)
    if not 1 <= len(ordered) <= REPORT_ROWS_MAX:
        raise ReportSizeWrong(count=len(ordered), limit=REPORT_ROWS_MAX)
    _refuse_repeats(row.certificate_number for row in ordered)
    return ordered


def build_report(batch: ReportBatch, rows: Iterable[SheetRow | FrozenRow]) -> ReportFile:
    """The report of one batch as XLSX: first sheet the 11 fixed columns, second the batch.

    The same set of rows gives the same bytes. Raises: ReportRowRepeated, ReportSizeWrong.
    Source: source-document 5.3
    """
    ordered = in_report_order(rows)
    summary = (
        ("批次号", batch.number),
        ("批次类型", batch.kind.value),
        ("制表日期", batch.prepared_on.isoformat()),
        ("证书数量", len(ordered)),
        ("首个证书编号", ordered[0].certificate_number),
        ("末个证书编号", ordered[-1].certificate_number),
    )
    content = write_xlsx(
        (
            Sheet("证书数据", REPORT_HEADER, map(_report_cells, ordered)),
            Sheet("批次信息", ("项目", "内容"), summary),
        )
    )
    return ReportFile(content, hashlib.sha256(content).hexdigest(), len(ordered))


ERASED = "个人信息已删除"
"""Instead of the name in the row of a person who was erased."""


def frozen_row(row: SheetRow) -> FrozenRow:
    """A row with its cells."""
    return FrozenRow(row.certificate_number, _report_cells(row))


def _report_cells(row: SheetRow | FrozenRow) -> Sequence[str]:
    if isinstance(row, FrozenRow):
        erased = (ERASED, *[""] * 6, row.certificate_number, *[""] * 3)
        return erased if row.cells is None else row.cells
    return (
        row.name, row.document_type_code, row.document_number, row.employer.strip() or "其他",
        row.occupation, row.job.strip(), str(int(row.level)), row.certificate_number,
        row.issued_on.isoformat(), row.evaluator, row.issuer,
    )  # fmt: skip


class ReportFileUnreadable(LedgerError):
    """The file is no report in the eleven columns: line {line}, {column}: {reason}"""

    code = "report_file_unreadable"


_REPORT_COLUMNS = tuple(
    Column(title, (title,), required=title in ("姓名", "证件号码", "证书编号"))
    for title in REPORT_HEADER
)


def read_report(data: bytes, filename: str) -> list[FrozenRow]:
    """The rows of a report that was made by somebody else, with its cells as they are.

    Returns: in order of certificate number.
    Raises: ReportFileUnreadable for the first bad cell, ReportRowRepeated, ReportSizeWrong; the
        errors of `api.files.tables.read_table` when the file as a whole cannot be read.
    Source: source-document 5.3
    """
    table = read_table(data, filename, _REPORT_COLUMNS)
    for problem in table.problems:
        raise ReportFileUnreadable(line=problem.line, column=problem.column, reason=problem.reason)
    return in_report_order(
        FrozenRow(values["证书编号"], [values.get(title) or "" for title in REPORT_HEADER])
        for _, values in table.rows
    )


# --- the acceptance file --------------------------------------------------------------------------


class AnswerRow(NamedTuple):
    """The authority's decision on one reported certificate (受理结果)."""

    line: int
    certificate_number: str
    accepted: bool
    reason: str | None


class Answer(NamedTuple):
    """The acceptance file: its good rows, and every bad cell by line and column."""

    rows: tuple[AnswerRow, ...]
    problems: tuple[CellProblem, ...]


def _national_number(text: str) -> str:
    """A parser of certificate numbers. Raises: ValueError."""
    if classify_number(text) not in (NumberKind.NATIONAL, NumberKind.NATIONAL_SENIOR):
        raise ValueError("不是职业技能等级证书编号（22位）")
    return normalise_number(text)


_ANSWER_COLUMNS = (
    Column("certificate_number", parse=_national_number, required=True),
    Column(
        "result",
        parse=one_of(
            {"接受": True, "受理": True, "通过": True, "accepted": True,
             "退回": False, "拒绝": False, "不通过": False, "rejected": False}
        ),
        required=True,
    ),
    Column("reason"),
)  # fmt: skip


def read_answer(data: bytes, filename: str) -> Answer:
    """The acceptance file (受理结果), row by row: 证书编号, 受理结果 接受/退回, 原因.

    A returned row needs a reason; a number may appear once. Faulty rows are left out.
    Raises: the errors of `api.files.tables.read_table` when the file as a whole cannot be read.
    Source: source-document 5.3
    """
    table = read_table(data, filename, _ANSWER_COLUMNS)
    problems = list(table.problems)
    rows: list[AnswerRow] = []
    lines: dict[str, int] = {}
    for line, values in table.rows:
        number, reason = values["certificate_number"], values.get("reason")
        if number in lines:
            problems.append(CellProblem(line, "证书编号", f"与第{lines[number]}行重复"))
            continue
        lines[number] = line
        if not values["result"] and reason is None:
            problems.append(CellProblem(line, "原因", "退回的证书须写明原因"))
            continue
        rows.append(AnswerRow(line, number, values["result"], reason))
    return Answer(tuple(rows), tuple(sorted(problems)))


# --- the city's talent statistics -----------------------------------------------------------------


class TalentRow(BaseModel):
    """One person with a valid certificate, for the city's talent statistics (人才统计).

    The columns are those of the upward report that describe a person and a certificate, with
    性别 and 文化程度, by which skill statistics are commonly broken down. The city has not
    published a form of its own; a blank stays blank. Source: source-document 5.4.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Text
    sex: str = Field(default="", pattern=r"^(男|女|)$")
    document_type: Text = Field(description="证件类型, such as 居民身份证")
    document_number: Text
    education: str = Field(default="", max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")
    employer: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    occupation: Text
    job: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    level: Level
    certificate_number: Text
    issued_on: date
    evaluator: Text


class TalentExport(NamedTuple):
    """The statistics in both forms; each CSV is one of the workbook's two sheets."""

    xlsx: bytes
    counts_csv: bytes
    people_csv: bytes


COUNTS_HEADER = ("发证月份", "职业名称", "职业技能等级", "人次")
PEOPLE_HEADER = (
    "序号", "姓名", "性别", "证件类型", "证件号码", "文化程度", "所在单位", "职业名称",
    "工种名称", "职业技能等级", "证书编号", "发证日期", "评价机构",
)  # fmt: skip


def build_talent_export(rows: Iterable[TalentRow]) -> TalentExport:
    """Counts by month of issue, occupation and level, with a total; and the list of people.

    rows: valid certificates only; the caller leaves out revoked ones. One person with two
        certificates counts twice (人次).
    Raises: ReportRowRepeated for a repeated certificate number.
    Source: source-document 5.4
    """
    ordered = sorted(rows, key=lambda row: (row.issued_on, row.certificate_number))
    _refuse_repeats(row.certificate_number for row in ordered)
    groups = Counter((f"{row.issued_on:%Y-%m}", row.occupation, -int(row.level)) for row in ordered)
    counts: list[Sequence[Cell]] = [
        (month, occupation, Level(-level).chinese_name, count)
        for (month, occupation, level), count in sorted(groups.items())
    ]
    counts.append(("合计", "", "", len(ordered)))
    people: list[Sequence[Cell]] = [
        (number, *_person_cells(row)) for number, row in enumerate(ordered, 1)
    ]
    sheets = Sheet("统计", COUNTS_HEADER, counts), Sheet("人员名单", PEOPLE_HEADER, people)
    return TalentExport(
        write_xlsx(sheets),
        write_csv(COUNTS_HEADER, counts),
        write_csv(PEOPLE_HEADER, people),
    )


def _person_cells(row: TalentRow) -> tuple[str, ...]:
    return (
        row.name, row.sex, row.document_type, row.document_number, row.education,
        row.employer, row.occupation, row.job, row.level.chinese_name,
        row.certificate_number, row.issued_on.isoformat(), row.evaluator,
    )  # fmt: skip


def _refuse_repeats(numbers: Iterable[str]) -> None:
    """Raises: ReportRowRepeated for the first repeated number."""
    seen: set[str] = set()
    for number in numbers:
        if number in seen:
            raise ReportRowRepeated(certificate_number=number)
        seen.add(number)
