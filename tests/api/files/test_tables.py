"""Tables people send: every format reads the same, every bad cell is named, nothing is guessed."""

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
    day,
    one_of,
    read_table,
)
from domain.errors import LedgerError
from domain.values.primitives import Marks

SCORES = (
    Column("ticket_number"),
    Column("theory_marks", parse=Marks),
    Column("practical_marks", parse=Marks, required=False),
)
HEADER = ["准考证号", "理论成绩", "实操成绩"]


def xlsx(rows: list[list[object]], *, title: str = "成绩") -> bytes:
    book = Workbook()
    sheet = book.active
    sheet.title = title
    for row in rows:
        sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
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
    rows = read_table(data, filename, SCORES).sound()
    assert [row.values for row in rows] == [
        {
            "ticket_number": "0017",
            "theory_marks": Marks("59.5"),
            "practical_marks": Marks(60),
        },
        {"ticket_number": "0018", "theory_marks": Marks(100), "practical_marks": None},
    ]


def test_without_columns_known_headers_are_translated_and_others_kept():
    table = read_table(csv("姓名,证件号,座右铭", "王小明,110105,勤"), "people.csv")
    assert table.rows[0].values == {"name": "王小明", "document_number": "110105", "座右铭": "勤"}
    assert table.ignored_headers == ()


def test_bad_cells_are_named_by_line_column_and_reason_and_good_rows_kept():
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
        table.sound()
    assert caught.value.count == 3
    assert caught.value.problems[0] == {
        "line": 2,
        "column": "理论成绩",
        "reason": "marks lie between 0 and 100",
    }
    assert "第2行" in str(caught.value)


def test_a_record_over_several_lines_counts_as_the_line_where_it_begins():
    table = read_table(csv("姓名,备注", '"王","一\r\n二"', '"李","=x"'), "t.csv")
    assert [row.line for row in table.rows] == [2]
    assert table.problems[0][:2] == (4, "备注")


def test_a_title_above_the_header_is_passed_over():
    data = xlsx([["2026年第3批次成绩登记表"], [], HEADER, ["0017", 60, 60]])
    table = read_table(data, "scores.xlsx", SCORES)
    assert [row.line for row in table.sound()] == [4]


def test_headers_may_be_decorated_and_strange_ones_are_told():
    data = csv("* 准考证号（必填）, 理论成绩：,监考员", "0017,60,甲")
    table = read_table(data, "scores.csv", SCORES)
    assert table.sound()[0].values["ticket_number"] == "0017"
    assert table.ignored_headers == ("监考员",)


def test_a_missing_or_repeated_header_is_refused_by_name():
    with pytest.raises(TableHeaderWrong, match="理论成绩"):
        read_table(csv("准考证号,实操成绩", "0017,60"), "scores.csv", SCORES)
    with pytest.raises(TableHeaderWrong, match="重复列 准考证号"):
        read_table(csv("准考证号,准考证号码,理论成绩", "1,2,60"), "scores.csv", SCORES)
    with pytest.raises(TableHeaderWrong, match="重复列 甲"):
        read_table(csv("甲,甲", "1,2"), "t.csv")


def test_a_row_longer_than_its_header_is_a_bad_row():
    table = read_table(csv("姓名,等级", "王,四,多"), "t.csv")
    assert table.rows == ()
    assert table.problems[0].reason == "该行的列数多于表头"


@pytest.mark.parametrize("formula", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-1+1", "＝1"])
def test_a_formula_is_refused_in_every_format(formula: str):
    for data, filename in (
        (csv("姓名", f'"{formula}"'), "t.csv"),
        (json.dumps([{"姓名": formula}]).encode(), "t.json"),
        (xlsx([["姓名"], [formula]]), "t.xlsx"),
    ):
        table = read_table(data, filename)
        assert table.rows == ()
        assert [problem.reason for problem in table.problems] == ["不接受公式，请改为数值或文本"]


@pytest.mark.parametrize("text", ["-5", "+86", "-", "3-4", "a=b", "-3.5"])
def test_signed_numbers_and_dashes_are_no_formulas(text: str):
    assert read_table(csv("备注", text), "t.csv").sound()[0].values == {"reason": text}


def test_a_number_too_long_for_a_spreadsheet_is_refused_not_rounded():
    table = read_table(xlsx([["证件号码"], [110105194912310021]]), "t.xlsx")
    assert "15位" in table.problems[0].reason
    exact = read_table(b'[{"id": 110105194912310021}]', "t.json")
    assert exact.rows[0].values == {"document_number": "110105194912310021"}


def test_spreadsheet_dates_truths_and_error_values_have_one_reading():
    data = xlsx([["发证日期", "缺考", "备注"], [date(2026, 3, 1), True, "#N/A"]])
    assert read_table(data, "t.xlsx").problems == (CellProblem(2, "备注", "单元格是错误值"),)
    data = xlsx([["发证日期", "缺考"], [datetime(2026, 3, 1, 8, 30), False]])
    assert read_table(data, "t.xlsx").sound()[0].values == {
        "issued_on": "2026-03-01 08:30:00",
        "absent": "FALSE",
    }
    data = xlsx([["发证日期"], [date(2026, 3, 1)]])
    rows = read_table(data, "t.xlsx", [Column("issued_on", parse=day)]).sound()
    assert rows[0].values == {"issued_on": date(2026, 3, 1)}


@pytest.mark.parametrize(
    "text", ["2026-03-01", "2026/3/1", "20260301", "2026年3月1日", "2026.03.01"]
)
def test_days_are_read_as_people_write_them(text: str):
    assert day(text) == date(2026, 3, 1)


@pytest.mark.parametrize(
    "text", ["2026-02-30", "26-03-01", "202631", "2026-03-01 08:30:00", "今天"]
)
def test_other_days_are_refused_without_repeating_them(text: str):
    with pytest.raises(ValueError) as caught:
        day(text)
    assert text not in str(caught.value)


def test_a_choice_outside_the_list_names_the_list():
    parse = one_of({"接受": True, "accepted": True, "退回": False})
    assert parse("ACCEPTED") is True and parse("退回") is False
    with pytest.raises(ValueError, match="接受、accepted、退回"):
        parse("也许")


def test_reasons_never_repeat_what_stands_in_a_cell():
    secret = "王小明110105"
    data = csv("准考证号,理论成绩", f"1,{secret}", f"2,={secret}", f"3,{secret * 500}")
    table = read_table(data, "t.csv", SCORES)
    assert len(table.problems) == 3
    assert secret not in str(table.problems)


def test_row_column_and_size_limits_hold():
    rows = csv("姓名", *["王"] * 20_000)
    assert len(read_table(rows, "t.csv").rows) == 20_000
    with pytest.raises(TableTooManyRows):
        read_table(rows + b"\r\n\xe7\x8e\x8b", "t.csv")
    with pytest.raises(TableTooManyRows):
        read_table(json.dumps([{"a": 1}] * 20_001).encode(), "t.json")
    with pytest.raises(TableTooManyRows):
        read_table(b"name\n" + b"\n" * 200_001, "t.csv")
    with pytest.raises(TableTooManyColumns):
        read_table(csv(",".join(map(str, range(101)))), "t.csv")
    with pytest.raises(TableTooManyColumns):
        read_table(xlsx([list(range(101))]), "t.xlsx")
    with pytest.raises(TableTooLarge):
        read_table(b"a" * 10_485_761, "t.csv")


def test_no_more_than_a_thousand_problems_are_listed():
    table = read_table(csv("姓名", *["=x"] * 1_500), "t.csv")
    assert len(table.problems) == 1_000


def test_a_workbook_that_hides_rows_far_below_is_not_read_to_the_end():
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
        read_table(data, "t.xlsx")


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
        read_table(data, filename)


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
def test_a_damaged_or_hostile_file_is_refused_by_name(data: bytes, filename: str):
    with pytest.raises(TableUnreadable):
        read_table(data, filename)


def test_a_nested_value_in_json_is_a_bad_cell():
    table = read_table(b'[{"a": {"b": 1}}, {"a": [1]}, {"a": true}]', "t.json")
    assert [problem.line for problem in table.problems] == [1, 2]
    assert table.rows[0].values == {"a": "TRUE"}


def test_random_damage_to_a_workbook_never_escapes_as_anything_but_a_named_refusal():
    chance, refused = random.Random(2), 0
    original = xlsx([HEADER, ["0017", 59.5, 60]])
    for _ in range(150):
        damaged = bytearray(original)
        for _ in range(chance.randrange(1, 20)):
            damaged[chance.randrange(4, len(damaged))] = chance.randrange(256)
        try:
            read_table(bytes(damaged), "t.xlsx")
        except LedgerError:
            refused += 1
    assert refused > 50
