"""Scores by the sheet, notices and objections, numbers by the list, and the report upward.

Covers: api/routes/exam_sessions.py, api/routes/scores.py, api/routes/notices.py,
api/routes/score_board.py, api/routes/authority_reports.py, api/routes/certificates.py,
api/routes/application_certificates.py, api/http/batch.py
"""

from __future__ import annotations

import base64
import hashlib
import io
import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from openpyxl import Workbook, load_workbook
from pypdf import PdfReader

from tests.support.commands import document_of, name_of
from tests.support.http_journey import (
    CLOSED_AT,
    ENDED_AT,
    ISSUED_AT,
    PUBLISHED_AT,
    SCORED_AT,
    Journey,
    certify,
    hold,
    publish_and_close,
    schedule,
    score,
    seat,
)
from tests.support.service import Caller, LedgerClient

EMPTY_BOX = "照  片"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def workbook(*rows: tuple[object, ...]) -> bytes:
    ledger = Workbook()
    for row in rows:
        ledger.active.append(row)
    buffer = io.BytesIO()
    ledger.save(buffer)
    return buffer.getvalue()


def table(
    caller: Caller, path: str, data: bytes, name: str, key: str | None = None
) -> httpx.Response:
    return caller.send(path, key=key, files={"file": (name, data, "application/octet-stream")})


@pytest.fixture
def seated(ledger: LedgerClient) -> dict[int, str]:
    """Two enrolled candidates with seats in a session that was held; n -> ticket."""
    schedule(ledger)
    tickets = {n: seat(Journey(ledger, n).enrol()) for n in (1, 2)}
    hold(ledger)
    return tickets


@pytest.fixture
def examiner(ledger: LedgerClient) -> Caller:
    return ledger.backdated("examiner").at(SCORED_AT)


def test_a_ticket_is_there_to_read_and_to_print(ledger: LedgerClient, seated: dict[int, str]):
    candidate = Journey(ledger).candidate()
    ticket = candidate.read("applications/A1/ticket")
    assert ticket["ticket_number"] == seated[1]
    assert (ticket["room"], ticket["seat"], ticket["person"]["name"]) == ("101", 1, "钱一")
    assert [s["subject"] for s in ticket["subjects"]] == ["theory", "practical"]
    pdf = candidate.get("applications/A1/ticket.pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    text = PdfReader(io.BytesIO(pdf.content)).pages[0].extract_text()
    assert seated[1] in text
    assert candidate.get("applications/A1/ticket.pdf").content == pdf.content


def test_a_ticket_whose_photo_is_erased_has_an_empty_box(
    ledger: LedgerClient, seated: dict[int, str]
):
    """Nobody needs the photo of who has failed; their name is in books that are kept."""
    score(ledger, {ticket: ("10", "10") for ticket in seated.values()})
    publish_and_close(ledger)
    tickets = ledger.caller("certifier")

    def printed() -> str:
        pdf = tickets.get("applications/A1/ticket.pdf")
        assert (pdf.status_code, pdf.headers["content-type"]) == (200, "application/pdf")
        return PdfReader(io.BytesIO(pdf.content)).pages[0].extract_text()

    assert EMPTY_BOX not in printed()
    Journey(ledger).erase(CLOSED_AT)
    photo = tickets.get("applications/A1/documents/photo")
    assert (photo.status_code, photo.json()["code"]) == (410, "person_erased")
    assert EMPTY_BOX in printed()
    assert name_of(1) in printed()


def test_nobody_sits_who_is_not_enrolled(ledger: LedgerClient):
    schedule(ledger)
    journey = Journey(ledger)
    journey.register()
    journey.apply()
    none = ledger.caller("certifier").get("applications/A1/ticket")
    assert none.json()["code"] == "not_found"
    answer = (
        ledger.backdated("certifier")
        .at("2026-08-20T09:00:00+08:00")
        .send("sessions/S1/seats", {"application_id": "A1"})
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "not_enrolled")


def test_a_sheet_of_scores_is_taken_row_by_row(
    ledger: LedgerClient, seated: dict[int, str], examiner: Caller
):
    sheet = workbook(
        ("准考证号", "理论成绩", "技能成绩"),
        (seated[1], 78, 81.5),
        (seated[2], "缺考", 59.5),
        ("S1-01-999", 60, 60),
        (seated[1], 99, None),
        (seated[2], 101, 60),
        ("", 60, 60),
    )
    key = uuid.uuid4().hex
    answer = table(examiner, "sessions/S1/scores", sheet, "scores.xlsx", key)
    reply = answer.json()
    assert (reply["recorded"], reply["refused"]) == (4, 5)
    refused = [(r["line"], r.get("column"), r["code"]) for r in reply["rows"]
               if r["status"] == "refused"]  # fmt: skip
    assert refused == [
        (4, None, "not_found"),
        (4, None, "not_found"),
        (5, None, "score_already_recorded"),
        (6, "理论成绩", "bad_cell"),
        (7, "准考证号", "bad_cell"),
    ]
    shown = ledger.caller("certifier").read("applications/A2")["exam"]
    assert (shown["theory"], shown["practical"]) == (None, "59.5")
    assert shown["recorded"] == ["theory", "practical"]
    again = table(examiner, "sessions/S1/scores", sheet, "scores.xlsx", key).json()
    assert (again["recorded"], again["replayed"], again["refused"]) == (0, 4, 5)
    other = table(examiner, "sessions/S1/scores", sheet + b" ", "scores.xlsx", key)
    assert other.status_code == 422


def test_a_sheet_with_one_subject_a_line_is_understood_too(
    ledger: LedgerClient, seated: dict[int, str], examiner: Caller
):
    rows = f"准考证号,科目,成绩\r\n{seated[1]},理论,60\r\n{seated[1]},技能,缺考\r\n"
    reply = table(examiner, "sessions/S1/scores", rows.encode("gb18030"), "s.csv").json()
    assert (reply["recorded"], reply["refused"]) == (2, 0)


@pytest.mark.parametrize(
    ("data", "name", "status", "code"),
    [
        (b"a,b\r\n1,2\r\n", "s.csv", 422, "table_header_wrong"),
        (b"\x00\x01", "s.doc", 415, "table_type_unknown"),
        (b"PK\x03\x04broken", "s.xlsx", 422, "table_unreadable"),
        (b"", "s.csv", 422, "table_unreadable"),
    ],
)
def test_a_table_that_is_none_is_refused_whole(
    ledger: LedgerClient, seated, examiner: Caller, data: bytes, name: str, status: int, code: str
):
    answer = table(examiner, "sessions/S1/scores", data, name)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_rows_of_json_are_checked_before_anything_is_recorded(
    ledger: LedgerClient, seated: dict[int, str], examiner: Caller
):
    rows = [{"ticket_number": seated[1], "subject": "theory", "marks": 60.5}]
    answer = examiner.send("sessions/S1/scores", {"rows": rows})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["pointer"] == "#/rows/0/marks"
    assert examiner.send("sessions/S9/scores", {"rows": rows}).json()["code"] == "not_found"


def test_scores_are_verified_by_another_person_who_reads_the_same(
    ledger: LedgerClient, seated: dict[int, str], examiner: Caller
):
    rows = [{"ticket_number": seated[1], "subject": s, "marks": "70"}
            for s in ("theory", "practical")]  # fmt: skip
    examiner.write("sessions/S1/scores", {"rows": rows})
    verifier = ledger.backdated("score_verifier").at(SCORED_AT)
    path = "sessions/S1/score-verification"
    wrong = [{"ticket_number": seated[1], "theory": "70", "practical": "71"}]
    reply = verifier.write(path, {"rows": wrong})
    assert [row["code"] for row in reply["rows"]] == ["score_differs"]
    sheet = workbook(("准考证号", "理论成绩", "技能成绩"), (seated[1], 70, 70), (seated[2], 1, 1))
    reply = table(verifier, path, sheet, "v.xlsx").json()
    assert [row.get("code") for row in reply["rows"]] == [None, "score_missing"]
    examiner.write("applications/A1/score-corrections",
                  {"subject": "theory", "marks": "72", "reason": "漏判"})  # fmt: skip
    same = ledger.backdated("score_verifier", "examiner-1").at(SCORED_AT)
    answer = same.send("applications/A1/score-verification", {"theory": "72", "practical": "70"})
    assert answer.json()["code"] == "second_person_needed"


# --- the notice -----------------------------------------------------------------------------------


def test_an_objection_holds_its_row_until_it_is_settled(
    ledger: LedgerClient, seated: dict[int, str]
):
    score(ledger, {seated[1]: ("78", "81"), seated[2]: ("40", None)})
    certifier = ledger.backdated("certifier")
    certifier.at(PUBLISHED_AT).write("notices", {"notice_id": "N1", "session_id": "S1"})
    candidate = Journey(ledger, 2).candidate("2026-10-09T09:00:00+08:00")
    filed = candidate.write(
        "notices/N1/objections",
        {"application_id": "A2", "objector_id": "P2", "text": "疑似漏判", "objection_id": "O1"},
    )
    rows = certifier.read("notices/N1/rows", min_position=filed["last_position"])["data"]
    assert {r["application_id"]: r["state"] for r in rows} == {
        "A1": "published",
        "A2": "under_objection",
    }
    closing = certifier.at(CLOSED_AT)
    assert closing.send("notices/N1/close").json()["code"] == "objections_open"
    [objection] = ledger.caller("score_verifier").read("notices/N1/objections")["data"]
    assert (objection["text"], objection["state"]) == ("疑似漏判", "open")
    closing.write("notices/N1/objections/O1/resolution",
                 {"outcome": "dismissed", "reason": "复核无误"})  # fmt: skip
    closed = closing.write("notices/N1/close")
    assert closed["outcome"] == {"final": 2, "withheld": []}
    then = certifier.read("notices/N1/rows", as_of=str(filed["last_position"]))["data"]
    assert "under_objection" in {r["state"] for r in then}


def test_the_public_sees_masked_rows_while_the_notice_runs(client: httpx.Client):
    """Held last week, published today: the only notice here that is public today."""
    from tests.support.service import new_ledger

    ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
    journey = Journey(ledger).enrol()
    now = datetime.now(UTC)
    begins = now - timedelta(days=7)
    body = {
        "session_id": "S2", "name": "上周场", "occupation": "4-01-02-07", "level": 4,
        "place": "杭州考点", "address": "杭州市西湖区示例路1号",
        "theory_starts_at": begins.isoformat(),
        "practical_starts_at": (begins + timedelta(hours=4)).isoformat(),
        "rooms": [{"room": "101", "seats": 2}],
    }  # fmt: skip
    before = (begins - timedelta(days=1)).isoformat()
    certifier = ledger.backdated("certifier")
    certifier.at(before).write("sessions", body)
    made = certifier.at(before).write("sessions/S2/seats", {"application_id": "A1"})
    ticket = made["outcome"]["ticket_number"]
    ended = (begins + timedelta(hours=6)).isoformat()
    ledger.backdated("examiner").at(ended).write("sessions/S2/end", {"ended_at": ended})
    rows = [{"ticket_number": ticket, "subject": s, "marks": "60"} for s in ("theory", "practical")]
    ledger.caller("examiner").write("sessions/S2/scores", {"rows": rows})
    ledger.caller("score_verifier").write(
        f"{journey.application}/score-verification", {"theory": "60", "practical": "60"}
    )
    opened = ledger.caller("certifier").write("notices", {"notice_id": "N2", "session_id": "S2"})
    board = ledger.stranger.read("scores", min_position=opened["last_position"])
    assert board["rows_shown"] is True
    [row] = board["rows"]
    assert (row["masked_name"], row["theory"], row["passed"]) == ("钱*", "60", True)
    assert name_of(1) not in str(board)
    assert document_of(1) not in str(board)
    assert "person_id" not in row
    assert "application_id" not in row
    assert board["totals"]["passed"] == 1
    assert ledger.stranger.read("notices/N2")["rows"] == board["rows"]
    listed = ledger.stranger.read("notices", status="open")["data"]
    assert [notice["notice_id"] for notice in listed] == ["N2"]


def test_after_the_period_only_the_totals_stay_public(ledger: LedgerClient, seated: dict[int, str]):
    score(ledger, {seated[1]: ("78", "81"), seated[2]: (None, None)})
    publish_and_close(ledger)
    head = ledger.caller("regulator").read("events")["head"]
    shown = ledger.stranger.read("notices/N1", min_position=head)
    assert (shown["rows_shown"], shown["rows"]) == (False, [])
    assert shown["totals"] == {"rows": 2, "passed": 1, "failed": 0, "absent": 1, "withheld": 0,
                               "under_objection": 0, "final": 2}  # fmt: skip
    assert ledger.stranger.read("scores")["notice"] is None
    assert ledger.stranger.get("notices/N9").json()["code"] == "not_found"


def test_a_late_notice_needs_its_reason(ledger: LedgerClient, seated: dict[int, str]):
    score(ledger, {seated[1]: ("78", "81"), seated[2]: ("60", "60")})
    late = ledger.backdated("certifier").at("2026-10-20T09:00:00+08:00")
    answer = late.send("notices", {"session_id": "S1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "notice_too_late")
    made = late.write("notices", {"session_id": "S1", "late_reason": "系统故障"})
    assert made["outcome"]["rows"] == 2


# --- certificates and the report ------------------------------------------------------------------


@pytest.fixture
def final(ledger: LedgerClient, seated: dict[int, str]) -> LedgerClient:
    """Both candidates passed, and their results are final."""
    score(ledger, {seated[1]: ("78", "81"), seated[2]: ("60", "60")})
    publish_and_close(ledger)
    return ledger


def test_numbers_from_the_province_are_taken_over_by_the_list(
    final: LedgerClient, seated: dict[int, str]
):
    registrar = final.backdated("registrar").at(ISSUED_AT)
    number = f"{final.site_code}264"
    sheet = workbook(
        ("准考证号", "证书编号"),
        (seated[1], f"{number}000101"),
        (seated[2], "S999933000123264000001"),
        ("S9-01-001", f"{number}000103"),
    )
    reply = table(registrar, "certificates/import", sheet, "numbers.xlsx").json()
    assert [row.get("code") for row in reply["rows"]] == [None, "foreign_number", "not_found"]
    rows = {"rows": [{"application_id": "A2", "number": f"{number}000102"}]}
    assert registrar.write("certificates/import", rows)["recorded"] == 1
    mixed = registrar.send("applications/A2/certificates/numbers", {})
    assert mixed.json()["code"] == "numbered_already"


def test_a_report_is_frozen_answered_and_shown(final: LedgerClient):
    for n in (1, 2):
        certify(Journey(final, n))
    registrar = final.backdated("registrar").at("2026-10-16T09:00:00+08:00")
    body = {"report_id": "REP1", "batch_type": "new", "application_ids": ["A1", "A2"]}
    key = uuid.uuid4().hex
    made = registrar.send("reports", body, key=key)
    assert made.status_code == 201, made.text
    again = registrar.send("reports", body, key=key)
    assert again.content == made.content
    assert again.headers["idempotency-replayed"] == "true"
    report = registrar.read("reports/REP1")
    file = registrar.get("reports/REP1/file")
    assert hashlib.sha256(file.content).hexdigest() != report["file_sha256"]
    digest = base64.b64encode(hashlib.sha256(file.content).digest()).decode()
    assert file.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert registrar.get("reports/REP1/file").content == file.content
    cells = list(load_workbook(io.BytesIO(file.content)).worksheets[0].values)
    assert len(cells[0]) == 11
    assert {row[0] for row in cells[1:]} == {name_of(1), name_of(2)}
    assert {row[1] for row in cells[1:]} == {"201"}
    numbers = [row["number"] for row in report["rows"]]
    sheet = workbook(
        ("证书编号", "受理结果", "原因"),
        (numbers[0], "接受", None),
        (numbers[1], "退回", "照片不清"),
    )
    reply = table(registrar, "reports/REP1/answers", sheet, "answer.xlsx").json()
    assert (reply["recorded"], reply["refused"]) == (2, 0)
    assert [row["progress"] for row in registrar.read("reports/REP1")["rows"]] == [
        "accepted",
        "rejected",
    ]
    shown = {"scope": "province", "seen_on": "2026-10-16"}
    registrar.write("applications/A1/visibility", shown)
    twice = registrar.send("applications/A1/visibility", shown)
    assert twice.json()["code"] == "seen_already"


def test_a_report_of_what_is_not_issued_is_refused_and_leaves_nothing(final: LedgerClient):
    registrar = final.backdated("registrar").at(ISSUED_AT)
    body = {"batch_type": "new", "application_ids": ["A1"]}
    assert registrar.send("reports", body).json()["code"] == "not_found"
    registrar.write("applications/A1/certificates/numbers", {"year": 2026})
    answer = registrar.send("reports", body)
    assert (answer.status_code, answer.json()["code"]) == (409, "certificate_out_of_order")


def test_talent_is_counted_and_listed_for_those_who_may(final: LedgerClient):
    for n in (1, 2):
        certify(Journey(final, n))
    head = final.caller("regulator").read("events")["head"]
    province = final.caller("province")
    reply = province.read("statistics/talent", min_position=head)
    assert reply["total"] == 2
    assert reply["data"][0]["month"] == "2026-10"
    csv = province.get("statistics/talent", format="csv")
    assert csv.content.decode("utf-8-sig").splitlines()[0] == "发证月份,职业名称,职业技能等级,人次"
    names = {role: people(final, role) for role in ("province", "regulator")}
    assert names["province"] == {name_of(1), name_of(2)}
    assert names["regulator"] == {f"{name_of(1)[0]}*", f"{name_of(2)[0]}*"}
    earlier = province.read("statistics/talent", issued_before="2026-10-01")
    assert earlier == {"data": [], "total": 0}


def people(ledger: LedgerClient, role: str) -> set[str]:
    answer = ledger.caller(role).get("statistics/talent", format="xlsx")
    assert answer.headers["content-type"] == XLSX
    sheet = load_workbook(io.BytesIO(answer.content)).worksheets[1]
    return {row[1] for row in list(sheet.values)[1:]}


def test_the_end_of_a_session_stands_once(ledger: LedgerClient, seated):
    answer = (
        ledger.backdated("examiner").at(ENDED_AT).send("sessions/S1/end", {"ended_at": ENDED_AT})
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "already_exists")
    shown = ledger.caller("examiner").read("sessions/S1")
    assert (shown["seats_total"], shown["seats_taken"], len(shown["seats"])) == (30, 2, 2)
    assert ledger.caller("candidate").read("sessions/S1")["seats"] is None
    assert [s["session_id"] for s in ledger.caller("agency").read("sessions")["data"]] == ["S1"]
