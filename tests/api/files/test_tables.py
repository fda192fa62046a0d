"""Uploaded tables: formats read alike, bad cells are reported one by one, nothing is guessed.

Covers: api/files/tables.py, api/files/table_readers.py
"""

import io
import json
import random
import zipfile
from datetime import date, datetime

import pytest
from openpyxl import Workbook

from api.files.table_readers import TableTooManyColumns, TableTooManyRows, TableUnreadable
from api.files.tables import (
    CellProblem,
    Column,
    TableHasBadCells,
    TableHeaderWrong,
    TableTooLarge,
    TableTypeUnknown,
    UploadTable,
    one_of,
    read_table,
)
from domain.errors import LedgerError
from domain.values.primitives import Marks

SCORES = (
    Column("ticket_number", required=True),
    Column("theory_marks", parse=Marks, required=True),
    Column("practical_marks", parse=Marks),
)
HEADER = ["准考证号", "理论成绩", "实操成绩"]


def xlsx(rows: list[list[object]], *, title: str = "成绩") -> bytes:
    ledger = Workbook()
    sheet = ledger.active
    sheet.title = title
    for row in rows:
        sheet.append(row)
    buffer = io.BytesIO()
    ledger.save(buffer)
    return buffer.getvalue()


def repacked(workbook: bytes, changed: dict[str, bytes]) -> bytes:
    """A workbook with parts added or replaced."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in {*old.namelist(), *changed}:
            new.writestr(name, changed[name] if name in changed else old.read(name))
    return buffer.getvalue()


def read_texts(data: bytes, filename: str, *headers: str) -> UploadTable:
    """A table of text columns, each named by its header."""
    return read_table(data, filename, [Column(header) for header in headers])


def csv(*lines: str, encoding: str = "utf-8") -> bytes:
    return "\r\n".join(lines).encode(encoding)


@pytest.mark.parametrize(
    ("data", "filename"),
    [
        (csv("准考证号,理论成绩,实操成绩", "0017,59.5,60", "0018,100,"), "scores.csv"),
        (csv("准考证号,理论成绩,实操", "0017,59.5,60", "0018,100,", encoding="gb18030"), "a.CSV"),
        (csv("\ufeffTicket No,Theory_Marks,practical marks", "0017,59.5,60", "0018,100,"), "b.csv"),
        (xlsx([HEADER, ["0017", 59.5, 60], ["0018", 100, None]]), "scores.xlsx"),
        (xlsx([HEADER, ["0017", "59.5", "60"], ["0018", 100.0, " "]]), "scores.xlsx"),
        (
            json.dumps(
                [
                    {"ticket_number": "0017", "理论成绩": 59.5, "实操": 60},
                    {"ticket_number": "0018", "理论成绩": "100", "实操": None},
                ]
            ).encode(),
            "scores.json",
        ),
        (
            b'{"rows": [{"ticket_number": "0017", "theory_marks": 59.5, "practical_marks": 60},'
            b' {"ticket_number": "0018", "theory_marks": 100}]}',
            "scores.json",
        ),
    ],
)
def test_the_same_scores_read_the_same_from_every_format(data: bytes, filename: str):
    rows = read_table(data, filename, SCORES).valid_rows()
    assert [row.values for row in rows] == [
        {
            "ticket_number": "0017",
            "theory_marks": Marks("59.5"),
            "practical_marks": Marks(60),
        },
        {"ticket_number": "0018", "theory_marks": Marks(100), "practical_marks": None},
    ]


def test_bad_cells_are_reported_by_line_column_and_reason_and_good_rows_are_read():
    table = read_table(
        csv("准考证号,理论成绩,实操成绩", "0017,101,60", "", ",70,=1+1", "0019,80,90"),
        "scores.csv",
        SCORES,
    )
    assert [row.line for row in table.rows] == [5]
    assert table.problems == (
        CellProblem(2, "理论成绩", "marks lie between 0 and 100"),
        CellProblem(4, "准考证号", "不能为空"),
        CellProblem(4, "实操成绩", "不接受公式，请改为数值或文本"),
    )
    with pytest.raises(TableHasBadCells) as caught:
        table.valid_rows()
    assert caught.value.count == 3
    assert caught.value.problems[0] == {
        "line": 2,
        "column": "理论成绩",
        "reason": "marks lie between 0 and 100",
    }
    assert "第2行" in str(caught.value)


def test_a_record_over_several_lines_has_the_number_of_its_first_line():
    table = read_texts(csv("姓名,备注", '"王","一\r\n二"', '"李","=x"'), "t.csv", "姓名", "备注")
    assert [row.line for row in table.rows] == [2]
    assert table.problems[0][:2] == (4, "备注")


def test_a_title_above_the_header_is_skipped():
    data = xlsx([["2026年第3批次成绩登记表"], [], HEADER, ["0017", 60, 60]])
    table = read_table(data, "scores.xlsx", SCORES)
    assert [row.line for row in table.valid_rows()] == [4]


def test_decorated_headers_are_found_and_unknown_ones_are_reported():
    data = csv("* 准考证号（必填）, 理论成绩：,监考员", "0017,60,甲")
    table = read_table(data, "scores.csv", SCORES)
    assert table.valid_rows()[0].values["ticket_number"] == "0017"
    assert table.ignored_headers == ("监考员",)


def test_a_missing_or_repeated_header_is_refused_by_name():
    with pytest.raises(TableHeaderWrong, match="理论成绩"):
        read_table(csv("准考证号,实操成绩", "0017,60"), "scores.csv", SCORES)
    with pytest.raises(TableHeaderWrong, match="重复列 准考证号"):
        read_table(csv("准考证号,准考证号码,理论成绩", "1,2,60"), "scores.csv", SCORES)
    with pytest.raises(TableHeaderWrong, match="重复列 甲"):
        read_texts(csv("甲,甲", "1,2"), "t.csv", "甲")


def test_a_row_longer_than_the_header_is_refused():
    table = read_texts(csv("姓名,等级", "王,四,多"), "t.csv", "姓名", "等级")
    assert table.rows == ()
    assert table.problems[0].reason == "该行的列数多于表头"


@pytest.mark.parametrize("formula", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-1+1", "＝1"])
def test_a_formula_is_refused_in_every_format(formula: str):
    for data, filename in (
        (csv("姓名", f'"{formula}"'), "t.csv"),
        (json.dumps([{"姓名": formula}]).encode(), "t.json"),
        (xlsx([["姓名"], [formula]]), "t.xlsx"),
    ):
        table = read_texts(data, filename, "姓名")
        assert table.rows == ()
        assert [problem.reason for problem in table.problems] == ["不接受公式，请改为数值或文本"]


@pytest.mark.parametrize("text", ["-5", "+86", "-", "3-4", "a=b", "-3.5"])
def test_signed_numbers_and_dashes_are_not_formulas(text: str):
    assert read_texts(csv("备注", text), "t.csv", "备注").valid_rows()[0].values == {"备注": text}


def test_a_number_too_long_for_a_spreadsheet_is_refused_not_rounded():
    table = read_texts(xlsx([["证件号码"], [110105194912310021]]), "t.xlsx", "证件号码")
    assert "15位" in table.problems[0].reason
    exact = read_texts(b'[{"id": 110105194912310021}]', "t.json", "id")
    assert exact.rows[0].values == {"id": "110105194912310021"}


def test_spreadsheet_dates_truths_and_error_values_have_one_reading():
    data = xlsx([["发证日期", "缺考", "备注"], [date(2026, 3, 1), True, "#N/A"]])
    table = read_texts(data, "t.xlsx", "发证日期", "缺考", "备注")
    assert table.problems == (CellProblem(2, "备注", "单元格是错误值"),)
    data = xlsx([["发证日期", "缺考"], [datetime(2026, 3, 1, 8, 30), False]])
    assert read_texts(data, "t.xlsx", "发证日期", "缺考").valid_rows()[0].values == {
        "发证日期": "2026-03-01 08:30:00",
        "缺考": "FALSE",
    }
    data = xlsx([["发证日期"], [date(2026, 3, 1)]])
    assert read_texts(data, "t.xlsx", "发证日期").rows[0].values == {"发证日期": "2026-03-01"}


def test_a_choice_outside_the_list_names_the_list():
    parse = one_of({"接受": True, "accepted": True, "退回": False})
    assert parse("ACCEPTED") is True and parse("退回") is False
    with pytest.raises(ValueError, match="接受、accepted、退回"):
        parse("也许")


def test_reasons_never_repeat_the_content_of_a_cell():
    secret = "王小明110105"
    data = csv("准考证号,理论成绩", f"1,{secret}", f"2,={secret}", f"3,{secret * 500}")
    table = read_table(data, "t.csv", SCORES)
    assert len(table.problems) == 3
    assert secret not in str(table.problems)


def test_row_column_and_size_limits_hold():
    rows = csv("姓名", *["王"] * 20_000)
    assert len(read_texts(rows, "t.csv", "姓名").rows) == 20_000
    with pytest.raises(TableTooManyRows):
        read_texts(rows + b"\r\n\xe7\x8e\x8b", "t.csv", "姓名")
    with pytest.raises(TableTooManyRows):
        read_texts(json.dumps([{"a": 1}] * 20_001).encode(), "t.json")
    with pytest.raises(TableTooManyRows):
        read_texts(b"name\n" + b"\n" * 200_001, "t.csv")
    with pytest.raises(TableTooManyColumns):
        read_texts(csv(",".join(map(str, range(101)))), "t.csv")
    with pytest.raises(TableTooManyColumns):
        read_texts(xlsx([list(range(101))]), "t.xlsx")
    with pytest.raises(TableTooLarge):
        read_texts(b"a" * 10_485_761, "t.csv")


def test_no_more_than_a_thousand_problems_are_listed():
    table = read_texts(csv("姓名", *["=x"] * 1_500), "t.csv", "姓名")
    assert len(table.problems) == 1_000


def test_a_workbook_with_a_row_far_below_is_not_read_to_the_end():
    data = repacked(
        xlsx([["a"]]),
        {
            "xl/worksheets/sheet1.xml": b'<worksheet xmlns="http://schemas.openxmlformats.org/'
            b'spreadsheetml/2006/main"><dimension ref="A1:XFD1048576"/><sheetData>'
            b'<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576">'
            b"<v>1</v></c></row></sheetData></worksheet>"
        },
    )
    with pytest.raises((TableTooManyRows, TableTooManyColumns)):
        read_texts(data, "t.xlsx")


@pytest.mark.parametrize(
    ("data", "filename"),
    [
        (b"\xd0\xcf\x11\xe0old", "t.xls"),
        (b"\xd0\xcf\x11\xe0old", "t.xlsx"),
        (xlsx([["a"]]), "t.csv"),
        (csv("a"), "t.xlsx"),
        (csv("a"), "t.txt"),
        (csv("a"), ""),
    ],
)
def test_a_file_whose_extension_and_bytes_disagree_is_refused(data: bytes, filename: str):
    with pytest.raises(TableTypeUnknown):
        read_texts(data, filename)


@pytest.mark.parametrize(
    ("data", "filename"),
    [
        (b"", "t.csv"),
        (b"\r\n\r\n", "t.csv"),
        (b'"open', "t.csv"),
        (b'"a"b,c', "t.csv"),
        (b"a\0b", "t.csv"),
        ("姓名".encode("utf-16"), "t.csv"),
        (b"a,b\n\xff\xff\xff\xff", "t.csv"),
        (b"", "t.json"),
        (b"[", "t.json"),
        (b"[]", "t.json"),
        (b"[1]", "t.json"),
        (b'{"a": 1}', "t.json"),
        (b'[{"a": 1, "a": 2}]', "t.json"),
        (b"[" * 100_000, "t.json"),
        ('[{"姓名": "王"}]'.encode("gb18030"), "t.json"),
        (b"PK\x03\x04broken", "t.xlsx"),
        (xlsx([["a"]])[:-40], "t.xlsx"),
        (xlsx([]), "t.xlsx"),
        (repacked(xlsx([["a"]]), {"xl/vbaProject.bin": b"x"}), "t.xlsx"),
        (repacked(xlsx([["a"]]), {"xl/media/x.bin": b"\0" * 63_000_000}), "t.xlsx"),
        (repacked(xlsx([["a"]]), {f"x/{n}": b"" for n in range(1_001)}), "t.xlsx"),
        (repacked(xlsx([["a"]]), {"xl/worksheets/sheet1.xml": b"<worksheet>"}), "t.xlsx"),
        (
            repacked(
                xlsx([["a"]]),
                {"xl/sharedStrings.xml": b'<!DOCTYPE x [<!ENTITY a "aaaa">]><sst>&a;</sst>'},
            ),
            "t.xlsx",
        ),
    ],
)
def test_a_damaged_or_hostile_file_is_refused(data: bytes, filename: str):
    with pytest.raises(TableUnreadable):
        read_texts(data, filename)


def test_a_nested_value_in_json_is_a_bad_cell():
    table = read_texts(b'[{"a": {"b": 1}}, {"a": [1]}, {"a": true}]', "t.json", "a")
    assert [problem.line for problem in table.problems] == [1, 2]
    assert table.rows[0].values == {"a": "TRUE"}


def test_a_randomly_damaged_workbook_is_read_or_refused_with_a_ledger_error():
    chance, refused = random.Random(2), 0
    original = xlsx([HEADER, ["0017", 59.5, 60]])
    for _ in range(150):
        damaged = bytearray(original)
        for _ in range(chance.randrange(1, 20)):
            damaged[chance.randrange(4, len(damaged))] = chance.randrange(256)
        try:
            read_texts(bytes(damaged), "t.xlsx")
        except LedgerError:
            refused += 1
    assert refused > 50
