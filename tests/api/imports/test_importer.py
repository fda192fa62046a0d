"""Import refusals name file, line and column in words, and never repeat personal data.

Covers: api/imports/importer.py, api/imports/source_files.py,
api/imports/row_types.py, api/imports/row_commands.py, api/imports/cell_parsers.py,
api/imports/qualification_parser.py
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from api.imports.cell_parsers import CellFault, day, marks, moment, yuan
from api.imports.importer import Import
from api.imports.qualification_parser import parse_entries
from api.imports.row_types import ROW_TYPES, RowType, row_type_named
from api.imports.source_files import write_refused
from domain.commands import SPECS
from tests.api.routes.test_routers import WITHOUT_ROUTE
from tests.support.cohort import COHORT

NAME, NUMBER = "张若虚", "330199199503150013"
PERSONS = ("id", "occurred_at", "by", "document_type", "document_number", "name", "phone")
GOOD = ("P1", "2026-03-02 09:30", "u1", "resident_id", "330199199503150214", NAME, "10000000001")


def csv_file(path: Path, *lines: Sequence[object], encoding: str = "utf-8") -> Path:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def judged(*paths: Path) -> Import:
    """A dry run: the checks of an import without a ledger."""
    job = Import("omc")
    assert job.read(paths) == []
    job.check()
    return job


def refusals(*paths: Path) -> list[str]:
    return [str(refused) for refused in judged(*paths).summary.refused]


def person(**changes: object) -> list[object]:
    given = dict(zip(PERSONS, GOOD, strict=True)) | changes
    return [given[name] for name in PERSONS]


# --- rows -----------------------------------------------------------------------------------------


def test_a_good_row_is_accepted(tmp_path: Path) -> None:
    job = judged(csv_file(tmp_path / "persons.csv", PERSONS, GOOD))
    assert (job.summary.accepted, job.summary.refused) == (1, [])


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("occurred_at", "", "is empty"),
        ("occurred_at", "2026-03-02", "is not a moment; write 2026-03-02 09:30"),
        ("occurred_at", "2099-01-01 00:00", "lies in the future"),
        ("id", "", "is empty"),
        ("id", "zhang-ruoxu", "an id is one to four capitals and one to ten digits, 32 hex "),
        ("by", "", "is empty"),
        ("document_type", "身份", "is none of: resident_id 居民身份证, "),
        ("name", "", "is empty"),
        ("name", "长" * 81, "is longer than 80 letters"),
    ],
)
def test_a_bad_cell_is_refused_by_line_and_column(
    tmp_path: Path, column: str, cell: str, reason: str
) -> None:
    path = csv_file(tmp_path / "persons.csv", PERSONS, GOOD, person(**{"id": "P2", column: cell}))
    (lines,) = refusals(path)
    assert lines.startswith(f"persons.csv, line 3, column {column}: {reason}")


def test_a_bad_row_does_not_reject_good_rows(tmp_path: Path) -> None:
    bad = person(id="P2", document_type="")
    path = csv_file(tmp_path / "persons.csv", PERSONS, GOOD, bad, person(id="P3"))
    job = judged(path)
    assert (job.summary.accepted, len(job.summary.refused)) == (2, 1)


def test_no_refusal_repeats_personal_data(tmp_path: Path) -> None:
    bad = [
        person(id="P2", name=NAME * 30),
        person(id="P3", phone=NUMBER * 3),
        person(id="P4", document_number=NUMBER * 3),
        person(id="P5", by="registrar.01", occurred_at=NAME),
    ]
    applying = ("id", "occurred_at", "by", "person_id", "occupation", "edition", "level")
    applied = ("A1", "2026-03-02 09:31", "u1", "P1", "4-01-02-07", "2021", "4")
    applications = csv_file(
        tmp_path / "applications.csv",
        (*applying, "work_periods", "birth_date"),
        (*applied, f"{NAME}~2020-01-01 {NUMBER}", ""),
        ("A2", *applied[1:], "2020-05-06~2019-01-02 本职业", ""),
        ("A3", *applied[1:], "", NUMBER),
    )
    lines = refusals(csv_file(tmp_path / "persons.csv", PERSONS, *bad), applications)
    assert len(lines) == 7
    for line in lines:
        assert NAME not in line
        assert NUMBER not in line
        assert "2020-05-06" not in line


def test_a_repeated_id_is_refused_with_its_first_place(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "persons.csv", PERSONS, GOOD, GOOD)
    assert refusals(path) == [
        "persons.csv, line 3, column id: is repeated, first in persons.csv, line 2"
    ]


def test_a_record_over_several_lines_is_reported_by_its_first_line(tmp_path: Path) -> None:
    header = ("id", "occurred_at", "by", "application_id", "reason")
    first = ("W1", "2026-03-02 09:30", "u1", "A1", "一\n二\n三")
    path = csv_file(tmp_path / "withdrawals.csv", header, first, ("W2", "", "u1", "A1", "x"))
    assert refusals(path) == ["withdrawals.csv, line 5, column occurred_at: is empty"]


def test_a_login_missing_from_the_staff_list_has_the_rights_of_a_candidate(tmp_path: Path) -> None:
    reviews = csv_file(
        tmp_path / "reviews.csv",
        ("id", "occurred_at", "by", "role", "application_id", "stage", "verdict"),
        ("R1", "2026-03-02 09:30", "u1", "", "A1", "初审", "通过"),
        ("R2", "2026-03-02 09:30", "u1", "examiner", "A1", "初审", "通过"),
        ("R3", "2026-03-02 09:30", "u1", "报名机构", "A1", "初审", "通过"),
    )
    assert refusals(reviews) == [
        "reviews.csv, line 2, column by: is not in the staff list; add it or a role",
        "reviews.csv, line 3, column by: has the role examiner, which may not do this",
    ]


def test_a_missing_or_invalid_document_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.pdf").write_text("not a PDF")
    header = ("id", "occurred_at", "by", "application_id", "kind", "path")
    path = csv_file(
        tmp_path / "documents.csv",
        header,
        ("D1", "2026-03-02 09:30", "u1", "A1", "身份证明文件", "gone.pdf"),
        ("D2", "2026-03-02 09:30", "u1", "A1", "身份证明文件", "note.pdf"),
    )
    lines = refusals(path)
    assert lines[0] == "documents.csv, line 2: names a file that is not there"
    assert lines[1].startswith("documents.csv, line 3: ")
    assert lines[1].endswith("(upload_type_unknown)")


def test_rows_of_all_files_are_sent_in_the_order_in_which_they_happened(tmp_path: Path) -> None:
    late = csv_file(tmp_path / "persons.csv", PERSONS, person(occurred_at="2026-03-02 09:31"))
    header = ("id", "occurred_at", "by", "person_id", "reason", "role")
    early = csv_file(
        tmp_path / "erasures.csv", header, ("E1", "2026-03-02 09:30", "r", "P1", "x", "registrar")
    )
    job = judged(late, early)
    assert [row.cells.kind.name for row in job._rows] == ["erasures", "persons"]


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_utf8_and_gb18030_tables_are_read(tmp_path: Path, encoding: str) -> None:
    header = ("编号", "发生时间", "经办人", "证件类型", "证件号码", "姓名", "电话")
    row = ("P1", "2026年3月2日 9:30", "u1", "居民身份证", *GOOD[4:])
    job = judged(csv_file(tmp_path / "人员.csv", header, row, encoding=encoding))
    assert (job.summary.accepted, job.summary.refused) == (1, [])


def test_a_workbook_keeps_its_dates_and_row_numbers(tmp_path: Path) -> None:
    ledger = Workbook()
    sheet = ledger.active
    sheet.append(["2026年3月报考人员"])
    sheet.append(list(PERSONS))
    sheet.append(["P1", datetime(2026, 3, 2, 9, 30), "u1", "居民身份证", *GOOD[4:]])
    sheet.append(["P2", datetime(2026, 3, 2, 9, 31), "u2", "居民身份证", 330199199503150214])
    sheet.append(["P3", datetime(2026, 3, 2, 9, 32), "u3", "居民身份证", "=1+1", NAME])
    ledger.save(tmp_path / "persons.xlsx")
    job = judged(tmp_path / "persons.xlsx")
    assert job.summary.accepted == 1
    assert [r.cells.line for r in job.summary.refused] == [4, 5]
    assert {r.column for r in job.summary.refused} == {"document_number"}


def test_bad_json_lines_are_refused_one_by_one(tmp_path: Path) -> None:
    good = dict(zip(PERSONS, GOOD, strict=True))
    lines = [json.dumps(good), "{broken", "", json.dumps(good | {"id": "P2", "name": None})]
    path = tmp_path / "persons-2.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    job = judged(path)
    assert job.summary.accepted == 1
    lines = [str(refused) for refused in job.summary.refused]
    assert lines[0].startswith("persons-2.jsonl, line 2")
    assert lines[1] == "persons-2.jsonl, line 4, column name: is empty"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("people-and-more.txt", b"", "is none of .csv, .xlsx, .json, .jsonl"),
        ("something.csv", b"id,occurred_at,by\n", "its name begins with no kind of file"),
        ("persons.csv", b"id,occurred_at,by,nmae\n", "column 'nmae' is none of id, occurred_at"),
        ("persons.csv", b"id,occurred_at,by,name\n", "has no column document_type"),
        ("persons.csv", b"id,by,occurred_at,name,\xe5\xa7\x93\xe5\x90\x8d\n", "two columns mean"),
        ("persons.csv", b"\x00\x01", "UTF-8"),
        ("persons.json", b"[{]", "is not JSON in UTF-8"),
        ("persons.xlsx", b"PK no", "XLSX"),
    ],
)
def test_an_unreadable_file_stops_the_import(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (fault,) = Import("omc").read([tmp_path / name])
    assert str(fault).startswith(f"{name}: ") or name in str(fault)
    assert reason in str(fault)


def test_a_folder_is_read_without_its_readme() -> None:
    job = Import("omc")
    assert job.read([COHORT]) == []
    assert len(job) > 4_000


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    ["2026-03-02 09:30", "2026/3/2 9:30", "2026年3月2日 9时30分", "2026-03-02T09:30:00+08:00",
     "2026-03-02T01:30:00Z", datetime(2026, 3, 2, 9, 30), "２０２６-03-02 09:30"],
)  # fmt: skip
def test_a_moment_without_a_zone_is_chinese_time(written: Any) -> None:
    assert moment(written) == datetime(2026, 3, 2, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("written", ["2026-02-30", "30.02.2026", "yesterday", "2026-3"])
def test_an_impossible_day_is_refused(written: str) -> None:
    with pytest.raises(CellFault) as refusal:
        day(written)
    assert written not in str(refusal.value)


def test_amounts_in_yuan_become_fen_and_are_never_rounded() -> None:
    assert [yuan(v) for v in ("1280.00", "¥1,280.5", "0", "0.01元", 12.5)] == [
        128_000, 128_050, 0, 1, 1_250
    ]  # fmt: skip
    for wrong in ("1.005", "abc", "NaN", "1e999"):
        with pytest.raises(CellFault):
            yuan(wrong)


def test_absent_differs_from_zero_marks() -> None:
    assert marks("缺考") is None
    assert [str(marks(v)) for v in ("0", "59.5", 60, 60.0)] == ["0", "59.5", "60", "60"]
    with pytest.raises(CellFault):
        marks("59.4")


def test_qualifications_in_words_and_in_json_are_equal() -> None:
    words = "2019-03-01~2023-06-30 本职业 某某公司；2023-07-01~至今 相关职业"
    entries = parse_entries("work_periods", words)
    meant = json.dumps(
        [
            {"started_on": "2019-03-01", "ended_on": "2023-06-30", "relation": "own",
             "employer": "某某公司"},
            {"started_on": "2023/7/1", "ended_on": None, "relation": "相关"},
        ]
    )  # fmt: skip
    assert parse_entries("work_periods", meant) == entries
    assert entries[1]["relation"] == "related"


def test_an_unknown_word_in_a_qualification_is_reported_by_its_place() -> None:
    with pytest.raises(CellFault, match="entry 2: word 3 is not understood"):
        parse_entries("education", "技工学校 本专业 2022-06-30; 技师学院 本专业 某某学校")


# --- the whole ------------------------------------------------------------------------------------


def test_every_command_can_be_imported() -> None:
    listed = [spec for row_type in ROW_TYPES for spec in row_type.specs]
    importable = [spec for spec in SPECS if spec.command.__name__ not in WITHOUT_ROUTE]
    assert len(listed) == len(importable)
    assert {spec.command for spec in listed} == {spec.command for spec in importable}


def test_the_commands_of_a_row_type_are_for_the_same_roles() -> None:
    for row_type in ROW_TYPES:
        assert {spec.roles for spec in row_type.specs} == {row_type.roles}


def test_the_id_of_a_row_fills_a_field_of_its_command() -> None:
    for row_type in ROW_TYPES:
        for spec in row_type.specs if row_type.id_field else ():
            assert row_type.id_field in spec.command.model_fields


@pytest.mark.parametrize("kind", ROW_TYPES, ids=lambda kind: kind.name)
def test_a_row_type_is_found_by_each_of_its_names(kind: RowType) -> None:
    for name in (kind.name, *kind.titles, f"{kind.name}-2026", f"{kind.titles[0]}2026年"):
        found = row_type_named(name)
        assert found is not None
        assert found.name == kind.name
    assert row_type_named("unheard-of") is None


def test_refused_rows_can_be_corrected_and_imported(tmp_path: Path) -> None:
    bad = person(id="P2", document_type="身份")
    first = judged(csv_file(tmp_path / "persons.csv", PERSONS, GOOD, bad))
    errors = tmp_path / "refused.csv"
    write_refused(errors, [(r.cells, r.column, r.reason) for r in first.summary.refused])
    assert errors.stat().st_mode & 0o077 == 0
    text = errors.read_text(encoding="utf-8-sig")
    assert "is none of" in text
    assert len(refusals(errors)) == 1
    errors.write_text(text.replace("身份", "居民身份证"), encoding="utf-8")
    mended = judged(errors)
    assert (mended.summary.accepted, mended.summary.refused) == (1, [])
