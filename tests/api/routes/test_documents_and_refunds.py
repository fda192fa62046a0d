"""Documents over HTTP, reviews by the right people, and money that goes back.

Covers: api/routes/applications.py, api/routes/reviews.py, api/routes/refunds.py,
api/http/multipart.py
"""

from __future__ import annotations

import hashlib

import pytest

from tests.support.commands import document_of, name_of
from tests.support.http_journey import HANDED_IN_AT, REVIEWED_AT, Journey, portrait, scan
from tests.support.service import LedgerClient

PHOTO = f"{name_of(1)}_{document_of(1)}.jpg"
LATER = "2026-03-20T09:00:00+08:00"


@pytest.fixture
def paid(ledger: LedgerClient) -> Journey:
    journey = Journey(ledger)
    journey.register()
    journey.apply()
    journey.pay()
    return journey


def test_a_document_comes_back_byte_for_byte_under_a_name_without_a_person(paid: Journey):
    data = scan(33)
    sent = paid.upload("identity_proof", data, "id.png", "image/png", HANDED_IN_AT)
    assert sent.status_code == 201
    assert sent.headers["location"].endswith("/applications/A1/documents/identity_proof")
    got = paid.ledger.caller("agency").get(f"{paid.application}/documents/identity_proof")
    assert got.content == data
    assert got.headers["content-type"] == "image/png"
    assert got.headers["content-disposition"] == 'attachment; filename="identity_proof.png"'
    assert "sandbox" in got.headers["content-security-policy"]


def test_every_fault_of_a_photo_is_named_at_once(paid: Journey):
    small = scan(240)
    answer = paid.upload("photo", small, "photo.png", "image/png", HANDED_IN_AT)
    assert (answer.status_code, answer.json()["code"]) == (422, "document_faulty")
    codes = {fault["code"] for fault in answer.json()["errors"]}
    assert {"photo_name_malformed", "photo_not_two_inch", "photo_too_few_pixels"} <= codes
    english = paid.candidate(HANDED_IN_AT).send(
        f"{paid.application}/documents",
        data={"kind": "photo", "taken_on": "2026-03-01"},
        files={"file": ("photo.png", small, "image/png")},
        headers={"Accept-Language": "en"},
    )
    assert all(fault["detail"].isascii() for fault in english.json()["errors"])


def test_a_file_named_after_somebody_else_is_refused_without_saying_who(paid: Journey):
    name = f"{name_of(2)}_{document_of(2)}.jpg"
    answer = paid.upload("photo", portrait(), name, "image/jpeg", HANDED_IN_AT)
    assert {f["code"] for f in answer.json()["errors"]} == {
        "photo_name_person_differs",
        "photo_name_number_differs",
    }
    for private in (name_of(1), name_of(2), document_of(1), document_of(2)):
        assert private not in answer.text


@pytest.mark.parametrize(
    ("fields", "file", "status", "code"),
    [
        ({}, ("a.png", scan(1), "image/png"), 422, "field_invalid"),
        ({"kind": "diary"}, ("a.png", scan(1), "image/png"), 422, "field_invalid"),
        ({"kind": "photo", "taken_on": "today"}, ("a.png", scan(1), "image/png"), 422,
         "field_invalid"),
        ({"kind": "work_history"}, None, 422, "upload_missing"),
        ({"kind": "work_history"}, ("a.png", b"", "image/png"), 422, "upload_empty"),
        ({"kind": "work_history"}, ("a.txt", b"hello", "text/plain"), 415, "upload_type_unknown"),
        ({"kind": "work_history"}, ("a.pdf", scan(1), "application/pdf"), 415,
         "upload_type_differs"),
        ({"kind": "work_history"}, ("a.png", scan(1)[:-20], "image/png"), 422,
         "picture_unreadable"),
        ({"kind": "work_history"}, ("a.png", scan(1) + b"x" * 13_000_000, "image/png"), 413,
         "body_too_large"),
    ],
)  # fmt: skip
def test_a_form_that_is_wrong_is_refused_by_name(paid: Journey, fields, file, status, code):
    files = {"file": file} if file else {"other": ("a.png", scan(1), "image/png")}
    answer = paid.candidate(HANDED_IN_AT).send(
        f"{paid.application}/documents", data=fields, files=files
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "content", [b"", b"--x\r\n", b"no form at all", b"--x\r\nContent-Disposition: form-data\r\n"]
)
def test_a_body_that_is_no_form_is_400_or_misses_its_fields(paid: Journey, content: bytes):
    answer = paid.candidate(HANDED_IN_AT).send(
        f"{paid.application}/documents",
        content=content,
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.json()["code"] in ("malformed_multipart", "field_invalid", "upload_missing")
    assert answer.status_code in (400, 422)


def test_nothing_is_reviewed_before_it_is_complete(paid: Journey):
    answer = paid.candidate(HANDED_IN_AT).send(f"{paid.application}/submission")
    assert answer.json()["code"] == "documents_incomplete"
    assert {f["code"] for f in answer.json()["errors"]} == {"missing_material"}


def test_reviews_are_given_in_order_by_the_right_people_once(paid: Journey):
    paid.hand_in()
    reviews = f"{paid.application}/reviews"
    passed = {"verdict": "pass"}

    def code(role: str, stage: str, **given: str) -> str:
        caller = paid.ledger.caller(role, backfill=True, **given).at(REVIEWED_AT)
        return str(caller.send(f"{reviews}/{stage}", passed).json().get("code"))

    assert code("certifier", "second") == "review_out_of_order"
    assert code("province", "initial") == "wrong_reviewer"
    paid.staff("agency", REVIEWED_AT).write(f"{reviews}/initial", passed)
    assert code("certifier", "second", organisation="org of agency") == "reviewed_before"
    rejected = paid.staff("certifier", REVIEWED_AT).send(f"{reviews}/second", {"verdict": "reject"})
    assert rejected.json()["code"] == "reason_missing"


ACCOUNT = "招商银行信用卡0403"


def refund_of(journey: Journey, component: str) -> dict[str, str]:
    return {"payment_id": f"PAY{journey.n}", "component": component}


def test_a_rejected_candidate_gets_both_components_back(paid: Journey):
    paid.hand_in()
    paid.review("pr")
    ledger, path = paid.ledger, f"{paid.application}/refunds"
    options = paid.candidate().read(paid.application)["refund_options"]
    assert {o["option"] for o in options} == {"refundable"}
    made = paid.candidate(LATER).write(path, refund_of(paid, "certification_fee"))
    number = made["outcome"]["refund_no"]
    finance = ledger.backdated("finance", "finance-2").at(LATER)
    again = finance.send(path, refund_of(paid, "certification_fee"))
    assert (again.status_code, again.json()["code"]) == (409, "already_refunded")
    finance.write(f"{path}/{number}/approval")
    finance.write(f"{path}/{number}/outcome",
                 {"outcome": "accepted", "provider_refund_id": "503"})  # fmt: skip
    settled = finance.write(
        f"{path}/{number}/outcome",
        {"outcome": "settled", "provider_refund_id": "503", "channel": "original",
         "settled_at": LATER, "received_account": ACCOUNT},
    )  # fmt: skip
    listed = finance.read("refunds", state="settled", min_position=settled["last_position"])
    assert [(r["refund_no"], r["amount_fen"]) for r in listed["data"]] == [(number, 30_000)]
    assert finance.read("refunds", state="ordered")["data"] == []
    reply = finance.read(f"refunds/{number}/steps")
    steps = [step["step"] for step in reply["steps"]]
    assert steps == ["ordered", "approved", "accepted", "settled"]
    accounts = [step["received_account"] for step in reply["steps"]]
    assert accounts == [None, None, None, ACCOUNT]
    assert ACCOUNT in paid.candidate().get(f"{paid.application}/history").text
    assert ACCOUNT not in finance.get(f"{paid.application}/history").text
    assert ACCOUNT not in ledger.caller("regulator").get("events", limit=500).text
    assert reply["steps"][0]["role"] == "candidate"
    assert "candidate-1" not in str(reply), "a login is shown to nobody"
    before = finance.read(f"refunds/{number}/steps", as_of=str(made["last_position"]))
    assert [step["step"] for step in before["steps"]] == ["ordered"]
    assert finance.get("refunds/R404/steps").json()["code"] == "not_found"


def test_used_material_does_not_go_back_and_the_refusal_is_recorded(paid: Journey):
    paid.candidate(LATER).write(f"{paid.application}/item-uses", {"item": "handbook"})
    paid.candidate(LATER).write(f"{paid.application}/withdrawal", {"reason": "放弃"})
    made = paid.candidate(LATER).write(
        f"{paid.application}/refunds", refund_of(paid, "study_material")
    )
    assert made["topics"] == ["refund_refused.v1"]
    assert made["outcome"] == {"refused": "study_material_used", "clause": "2.4(1)"}


def test_who_ordered_a_refund_does_not_approve_it(paid: Journey):
    paid.candidate(LATER).write(f"{paid.application}/withdrawal", {"reason": "放弃"})
    finance = paid.staff("finance", LATER)
    path = f"{paid.application}/refunds"
    number = finance.write(path, refund_of(paid, "certification_fee"))["outcome"]["refund_no"]
    answer = finance.send(f"{path}/{number}/approval")
    assert (answer.status_code, answer.json()["code"]) == (403, "second_person_needed")
    other = paid.staff("finance", LATER, "finance-2")
    other.write(f"{path}/{number}/decline", {"reason": "金额不符"})
    assert other.send(f"{path}/{number}/approval").json()["code"] == "refund_out_of_order"


def test_money_that_nobody_owed_is_taken_and_owed_back(paid: Journey):
    twice = paid.payment() | {"payment_id": "PAY12", "provider_transaction_id": "4200x"}
    made = paid.staff("finance", LATER).write(f"{paid.application}/payments", twice)
    assert made["outcome"]["excess"] is True
    same = paid.staff("finance", LATER).send(
        f"{paid.application}/payments", twice | {"payment_id": "PAY13"}
    )
    assert (same.status_code, same.json()["code"]) == (409, "claim_taken")


def test_a_candidate_neither_pays_nor_reviews_nor_acts_for_others(paid: Journey):
    stranger = paid.ledger.backdated("candidate", "somebody-else").at(LATER)
    answer = stranger.send(f"{paid.application}/withdrawal", {"reason": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_your_own")
    answer = paid.candidate(LATER).send(f"{paid.application}/payments", paid.payment(LATER))
    assert answer.json()["code"] == "role_not_allowed"


def test_a_person_is_found_by_document_and_put_right(paid: Journey):
    agency = paid.ledger.backdated("agency").at(LATER)
    wanted = {"document_type": "resident_id", "document_number": document_of(1)}
    found = agency.ask("POST", "persons/search", json=wanted | {"name": "钱一"}).json()
    assert found["person_id"] == "P1"
    other = agency.ask("POST", "persons/search", json=wanted | {"name": "钱二"})
    assert (other.status_code, other.json()["code"]) == (404, "not_found")
    unnamed = agency.ask("POST", "persons/search", json=wanted)
    assert (unnamed.status_code, unnamed.json()["code"]) == (422, "search_needs_name")
    agency.write("persons/P1/corrections", wanted | {"name": "钱壹", "reason": "录入有误"})
    assert agency.read("persons/P1")["name"] == "钱壹"
    stranger = paid.ledger.caller("candidate", "somebody-else")
    unknown = wanted | {"document_number": document_of(2)}
    answers = [stranger.ask("POST", "persons/search", json=each) for each in (wanted, unknown)]
    reply = [(a.status_code, a.json()["code"], a.json()["detail"]) for a in answers]
    # Whether somebody else is registered here is nobody's business.
    assert reply[0] == reply[1]
    assert reply[0][:2] == (404, "not_found")
    own = paid.candidate(LATER).ask("POST", "persons/search", json=wanted)
    assert own.json()["person_id"] == "P1"


def test_the_stored_file_is_the_one_the_fact_names(paid: Journey):
    data = scan(77)
    paid.upload("work_history", data, "w.png", "image/png", HANDED_IN_AT)
    entries = paid.ledger.caller("agency").read(f"{paid.application}/history")["data"]
    fact = next(e["data"] for e in entries if e["topic"] == "document_submitted.v1")
    assert fact["plain_sha256"] == hashlib.sha256(data).hexdigest()
    assert fact["sha256"] != fact["plain_sha256"]
    assert "w.png" not in str(entries)
