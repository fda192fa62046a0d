"""The upward report (证书数据上报), the acceptance file, and the city's talent statistics."""

import csv
import hashlib
import io
import random
import zipfile
from datetime import date

import pytest
from openpyxl import load_workbook
from pydantic import ValidationError

from api.files.authority_report_xlsx import (
    REPORT_HEADER,
    BatchKind,
    FrozenRow,
    ReportBatch,
    ReportFileUnreadable,
    ReportRowRepeated,
    ReportSizeWrong,
    Sheet,
    SheetRow,
    TalentRow,
    build_report,
    build_talent_export,
    frozen_row,
    read_answer,
    read_report,
    write_csv,
    write_xlsx,
)
from api.files.tables import Column, TableHeaderWrong, read_table
from domain.values.primitives import Level

BATCH = ReportBatch(
    number="251120S0013650000010005", kind=BatchKind.NEW, prepared_on=date(2026, 11, 20)
)
# Frozen on purpose: the digest of a report is in the journal. If this changes, reports made
# before can no longer be made again byte for byte, and the change must say so.
DIGEST_OF_TWO_ROWS = "e8365538ce49ce5dd6a85da1a4a6b0fcde3d94a995ce4e54e6b1ef4a587bdc24"


def certificate(serial: int, level: int = 4) -> str:
    return f"S00003300012326{level}{serial:06d}"


def row(serial: int = 1, **changed: object) -> SheetRow:
    fields: dict[str, object] = {
        "name": "王小明",
        "document_type_code": "201",
        "document_number": "11010519491231002X",
        "occupation": "互联网营销师",
        "job": "直播销售员",
        "level": 4,
        "certificate_number": certificate(serial),
        "issued_on": date(2026, 11, 18),
        "evaluator": "浙江今日头条科技有限公司",
        "issuer": "浙江今日头条科技有限公司",
    }
    return SheetRow.model_validate(fields | changed)


def person(serial: int = 1, **changed: object) -> TalentRow:
    fields: dict[str, object] = {
        "name": "王小明",
        "sex": "男",
        "document_type": "居民身份证",
        "document_number": "110105194912310021",
        "occupation": "互联网营销师",
        "level": 4,
        "certificate_number": certificate(serial),
        "issued_on": date(2026, 11, 18),
        "evaluator": "浙江今日头条科技有限公司",
    }
    return TalentRow.model_validate(fields | changed)


def sheets(content: bytes) -> dict[str, list[tuple]]:
    ledger = load_workbook(io.BytesIO(content))
    return {page.title: list(page.iter_rows(values_only=True)) for page in ledger}


def csv_rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_a_report_has_the_eleven_columns_in_their_order():
    report = build_report(BATCH, [row(2, employer="示例电商公司"), row(1)])
    pages = sheets(report.content)
    assert pages["证书数据"] == [
        REPORT_HEADER,
        (
            "王小明", "201", "11010519491231002X", "其他", "互联网营销师", "直播销售员", "4",
            certificate(1), "2026-11-18", "浙江今日头条科技有限公司", "浙江今日头条科技有限公司",
        ),
        (
            "王小明", "201", "11010519491231002X", "示例电商公司", "互联网营销师", "直播销售员",
            "4", certificate(2), "2026-11-18", "浙江今日头条科技有限公司",
            "浙江今日头条科技有限公司",
        ),
    ]  # fmt: skip
    assert len(REPORT_HEADER) == 11
    assert report.row_count == 2


@pytest.mark.parametrize("kind", list(BatchKind))
def test_the_second_sheet_holds_the_batch_and_its_kind(kind: BatchKind):
    batch = BATCH.model_copy(update={"kind": kind})
    summary = dict(sheets(build_report(batch, [row(7)]).content)["批次信息"])
    assert summary["批次类型"] == kind.value
    assert summary["批次号"] == "251120S0013650000010005"
    assert summary["证书数量"] == 1
    assert summary["首个证书编号"] == summary["末个证书编号"] == certificate(7)


def test_every_identifier_is_a_text_cell():
    ledger = load_workbook(io.BytesIO(build_report(BATCH, [row()]).content))
    cells = list(ledger["证书数据"].iter_rows())[1]
    assert {cell.data_type for cell in cells} == {"s"}
    assert {cell.number_format for cell in cells} == {"@"}


@pytest.mark.parametrize("text", ["=1+1", "+86", "-1", "@x", "＝HYPERLINK(1)"])
def test_text_that_resembles_a_formula_stays_text(text: str):
    ledger = load_workbook(io.BytesIO(build_report(BATCH, [row(name=text)]).content))
    cell = ledger["证书数据"]["A2"]
    assert (cell.value, cell.data_type, bool(cell.quotePrefix)) == (text, "s", True)
    assert not ledger["证书数据"]["B2"].quotePrefix


def test_the_same_rows_give_the_same_bytes_in_any_order_at_any_hour():
    rows = [row(serial) for serial in range(1, 40)]
    report = build_report(BATCH, rows)
    random.Random(4).shuffle(rows)
    again = build_report(BATCH, rows)
    assert again.content == report.content
    assert report.sha256 == hashlib.sha256(report.content).hexdigest()
    with zipfile.ZipFile(io.BytesIO(report.content)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"2000-01-01T00:00:00Z" in archive.read("docProps/core.xml")


def test_the_digest_of_a_known_report_does_not_change():
    assert build_report(BATCH, [row(1), row(2)]).sha256 == DIGEST_OF_TWO_ROWS


def test_one_changed_letter_changes_the_digest():
    assert build_report(BATCH, [row(name="王小朋")]).sha256 != build_report(BATCH, [row()]).sha256


def test_stored_rows_give_the_bytes_of_the_report_that_was_frozen():
    frozen = [frozen_row(row(2)), frozen_row(row(1))]
    assert build_report(BATCH, frozen) == build_report(BATCH, [row(1), row(2)])


def test_the_row_of_who_was_erased_shows_its_number_only():
    erased = FrozenRow(row(1).certificate_number, None)
    report = build_report(BATCH, [frozen_row(row(2)), erased])
    cells = list(load_workbook(io.BytesIO(report.content)).worksheets[0].values)[1:]
    assert [cell for cell in cells[0] if cell] == ["个人信息已删除", row(1).certificate_number]
    assert cells[1][7] == row(2).certificate_number
    assert report.row_count == 2


def test_a_report_of_somebody_else_is_read_with_its_cells_as_they_are():
    end = ("", "互联网营销师", "", "4")
    rows = [(f"姓名{n}", "外国人", f"E{n}", *end, f"S{n}", "2026", "甲", "乙") for n in (2, 1)]
    found = read_report(write_csv(REPORT_HEADER, rows), "r.csv")
    assert [each.certificate_number for each in found] == ["S1", "S2"]
    assert [tuple(each.cells or ()) for each in found] == [rows[1], rows[0]]
    with pytest.raises(ReportFileUnreadable) as refused:
        read_report(write_csv(REPORT_HEADER, [("", *rows[0][1:])]), "r.csv")
    assert (refused.value.line, refused.value.column) == (2, "姓名")


def test_a_certificate_is_reported_once_in_a_batch():
    with pytest.raises(ReportRowRepeated) as caught:
        build_report(BATCH, [row(1), row(2), row(1, name="李四")])
    assert caught.value.certificate_number == certificate(1)


def test_an_empty_or_endless_report_is_refused():
    with pytest.raises(ReportSizeWrong):
        build_report(BATCH, [])
    with pytest.raises(ReportSizeWrong, match="10001"):
        build_report(BATCH, [row(serial) for serial in range(1, 10_002)])


@pytest.mark.parametrize(
    "changed",
    [
        {"name": ""},
        {"name": "王\x07"},
        {"document_type_code": "20"},
        {"certificate_number": "S0001"},
        {"level": 6},
        {"job": "a\nb"},
        {"extra": 1},
    ],
)
def test_a_row_that_cannot_be_reported_is_refused_at_once(changed: dict[str, object]):
    with pytest.raises(ValidationError) as caught:
        row(**changed)
    assert "11010519491231002X" not in str(caught.value)


# --- the answer -----------------------------------------------------------------------------------


def answer_csv(*lines: str, encoding: str = "utf-8") -> bytes:
    return "\n".join(("证书编号,受理结果,原因", *lines)).encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_an_acceptance_file_is_read_row_by_row(encoding: str):
    data = answer_csv(
        f"{certificate(1)},接受,", f"{certificate(2)},退回,姓名与证件号不符", encoding=encoding
    )
    answer = read_answer(data, "答复.csv")
    assert answer.problems == ()
    assert [tuple(one) for one in answer.rows] == [
        (2, certificate(1), True, None),
        (3, certificate(2), False, "姓名与证件号不符"),
    ]


def test_an_acceptance_file_may_be_a_workbook_with_more_columns():
    data = write_xlsx(
        [
            Sheet(
                "受理",
                ("姓名", "证书编号", "受理结果", "退回原因"),
                [("王小明", certificate(1), "通过", ""), ("李四", certificate(2), "拒绝", "重复")],
            )
        ]
    )
    answer = read_answer(data, "answer.xlsx")
    assert [(one.line, one.accepted, one.reason) for one in answer.rows] == [
        (2, True, None),
        (3, False, "重复"),
    ]


def test_errors_of_an_acceptance_file_are_reported_by_line_and_column():
    answer = read_answer(
        answer_csv(
            f"{certificate(1)},接受,",
            f"{certificate(1)},退回,重复",
            "S0001,接受,",
            f"{certificate(3)},也许,",
            f"{certificate(4)},退回,",
            ",接受,",
            f"{certificate(6)},=1,",
        ),
        "answer.csv",
    )
    assert [one.certificate_number for one in answer.rows] == [certificate(1)]
    assert [(problem.line, problem.column) for problem in answer.problems] == [
        (3, "证书编号"),
        (4, "证书编号"),
        (5, "受理结果"),
        (6, "原因"),
        (7, "证书编号"),
        (8, "受理结果"),
    ]
    assert answer.problems[0].reason == "与第2行重复"


def test_an_acceptance_file_without_its_columns_is_refused():
    with pytest.raises(TableHeaderWrong, match="受理结果"):
        read_answer("证书编号,原因\n1,2\n".encode(), "answer.csv")


# --- the statistics -------------------------------------------------------------------------------


def test_talent_is_counted_by_month_occupation_and_level():
    export = build_talent_export(
        [
            person(1),
            person(2),
            person(3, level=3, certificate_number=certificate(3, 3)),
            person(4, issued_on=date(2026, 10, 31)),
            person(5, occupation="电工"),
        ]
    )
    expected = [
        ["发证月份", "职业名称", "职业技能等级", "人次"],
        ["2026-10", "互联网营销师", "四级/中级工", "1"],
        ["2026-11", "互联网营销师", "四级/中级工", "2"],
        ["2026-11", "互联网营销师", "三级/高级工", "1"],
        ["2026-11", "电工", "四级/中级工", "1"],
        ["合计", "", "", "5"],
    ]
    assert csv_rows(export.counts_csv) == expected
    in_workbook = [["" if cell is None else str(cell) for cell in one]
               for one in sheets(export.xlsx)["统计"]]  # fmt: skip
    assert in_workbook == expected


def test_counts_add_up_to_the_list_of_people():
    chance = random.Random(9)
    people = [
        person(
            serial,
            level=(level := chance.choice(list(Level))),
            certificate_number=certificate(serial, int(level)),
            issued_on=date(2026, chance.randrange(1, 13), 15),
        )
        for serial in range(1, 200)
    ]
    export = build_talent_export(people)
    counts = csv_rows(export.counts_csv)[1:]
    assert sum(int(one[3]) for one in counts[:-1]) == int(counts[-1][3]) == 199
    assert len(csv_rows(export.people_csv)) == 200


def test_the_list_of_people_has_the_columns_of_the_upward_report():
    export = build_talent_export([person(education="大专", employer="示例公司")])
    (header, line) = csv_rows(export.people_csv)
    assert dict(zip(header, line, strict=True)) == {
        "序号": "1",
        "姓名": "王小明",
        "性别": "男",
        "证件类型": "居民身份证",
        "证件号码": "110105194912310021",
        "文化程度": "大专",
        "所在单位": "示例公司",
        "职业名称": "互联网营销师",
        "工种名称": "",
        "职业技能等级": "四级/中级工",
        "证书编号": certificate(1),
        "发证日期": "2026-11-18",
        "评价机构": "浙江今日头条科技有限公司",
    }
    assert read_table(export.people_csv, "people.csv", [Column("姓名")]).rows[0].values == {
        "姓名": "王小明"
    }


def test_statistics_without_rows_have_a_total_of_zero():
    assert csv_rows(build_talent_export([]).counts_csv)[1:] == [["合计", "", "", "0"]]


def test_statistics_refuse_a_certificate_counted_twice():
    with pytest.raises(ReportRowRepeated):
        build_talent_export([person(1), person(1)])


def test_a_csv_disarms_formulas_and_shows_chinese_in_excel():
    content = write_csv(("姓名",), [["=1+1"], ["@x"], ["王"], [3]])
    assert content.startswith(b"\xef\xbb\xbf")
    assert csv_rows(content) == [["姓名"], ["'=1+1"], ["'@x"], ["王"], ["3"]]
    assert content.count(b"\r\n") == 5
