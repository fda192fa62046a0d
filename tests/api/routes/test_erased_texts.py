"""What somebody writes about a person is sealed, shown to those who work with it, and erasable.

Covers: api/routes/history.py, api/routes/rows.py, api/routes/journal.py
"""

from __future__ import annotations

import json

import pytest

from tests.support.commands import document_of
from tests.support.editions import adopt_over_http, no_retention
from tests.support.http_journey import Journey
from tests.support.service import LedgerClient

LATER = "2026-03-20T09:00:00+08:00"
THE_DAY_AFTER = "2026-03-21T09:00:00+08:00"
SECRETS = ("欧阳秘密", "E58927491", "13900002749")
REASON = "本人欧阳秘密,护照E58927491,电话13900002749"


@pytest.fixture
def journey(ledger: LedgerClient) -> Journey:
    """A candidate about whom everybody writes name, number and phone as a reason."""
    journey = Journey(ledger)
    journey.register()
    journey.apply()
    journey.pay()
    correction = {
        "document_type": "resident_id",
        "document_number": document_of(1),
        "name": "欧阳秘密",
        "reason": REASON,
    }
    journey.staff("agency", LATER).write("persons/P1/corrections", correction)
    candidate = journey.candidate(LATER)
    candidate.write("applications/A1/withdrawal", {"reason": REASON})
    order = {"payment_id": "PAY1", "component": "certification_fee"}
    refund = candidate.write("applications/A1/refunds", order)["outcome"]["refund_no"]
    decision = f"applications/A1/refunds/{refund}/decline"
    journey.staff("finance", LATER, "finance-2").write(decision, {"reason": REASON})
    return journey


def settle_everything(journey: Journey) -> None:
    """All money goes back, and no rule keeps anything any more."""
    adopt_over_http(journey.ledger, no_retention())
    finance = journey.staff("finance", LATER)
    for number, component in enumerate(("certification_fee", "study_material"), start=1):
        order = {"payment_id": "PAY1", "component": component}
        refund = finance.write("applications/A1/refunds", order)["outcome"]["refund_no"]
        step = f"applications/A1/refunds/{refund}"
        journey.staff("finance", LATER, "finance-2").write(f"{step}/approval")
        named = {"provider_refund_id": f"5030{number}"}
        finance.write(f"{step}/outcome", {"outcome": "accepted", **named})
        settled = {"outcome": "settled", "channel": "original", "settled_at": LATER}
        finance.write(f"{step}/outcome", settled | named)


def texts_of(journey: Journey) -> dict[str, str]:
    """Everything that is read about the person, by place."""
    ledger = journey.ledger
    agency, finance = ledger.caller("agency"), ledger.caller("finance")
    regulator = ledger.caller("regulator")
    head = regulator.read("events", limit=1)["head"]
    return {
        "history": agency.get("applications/A1/history").text,
        "history for finance": finance.get("applications/A1/history").text,
        "refunds": finance.get("refunds", min_position=head).text,
        "events": regulator.get("events", limit=500).text,
        "person": agency.get("persons/P1").text,
    }


def reasons_in(journey: Journey) -> dict[str, str | None]:
    """Topic -> reason, as the history of the application shows it."""
    entries = journey.ledger.caller("agency").read("applications/A1/history")["data"]
    return {e["topic"]: e["data"]["reason"] for e in entries if "reason" in e["data"]}


def test_a_reason_is_shown_to_those_who_work_with_it_and_sealed_in_the_events(
    journey: Journey,
) -> None:
    shown = reasons_in(journey)
    assert shown == {"application_withdrawn.v1": REASON, "refund_declined.v1": REASON}
    found = texts_of(journey)
    assert REASON in found["refunds"]
    assert REASON in found["history for finance"]
    assert not [secret for secret in SECRETS if secret in found["events"]]
    sealed = json.loads(found["events"])["data"]
    keys = {
        envelope["topic"]: envelope["data"]["reason"]["key"]
        for each in sealed
        if isinstance((envelope := each["envelope"])["data"].get("reason"), dict)
    }
    assert set(keys.values()) == {"person/P1/remarks/1"}
    assert {"person_corrected.v1", *shown} == keys.keys()


def test_after_an_erasure_no_reason_is_read_anywhere(journey: Journey) -> None:
    settle_everything(journey)
    erased = journey.erase(THE_DAY_AFTER)
    assert "remarks" in erased["outcome"]["destroyed"]
    assert set(reasons_in(journey).values()) == {None}
    for place, text in texts_of(journey).items():
        assert not [secret for secret in SECRETS if secret in text], place
    answer = journey.ledger.caller("agency").get("persons/P1")
    assert (answer.status_code, answer.json()["code"]) == (410, "person_erased")


def test_what_the_law_keeps_is_not_erased_and_the_answer_says_until_when(
    journey: Journey,
) -> None:
    registrar = journey.staff("registrar", LATER)
    proposed = registrar.send("persons/P1/erasure", {"reason": "request"})
    assert proposed.status_code == 202
    kept = proposed.json()["outcome"]["findings"]["kept"]
    assert {each["because"] for each in kept if each["data_class"] == "remarks"} == {
        "assessment_records",
        "open_refund",
    }
    [records] = [
        each
        for each in kept
        if (each["data_class"], each["because"]) == ("statements", "assessment_records")
    ]
    assert (records["until"], records["years"]) == ("2031-03-20", 5)
    journey.erase(LATER)
    assert REASON in reasons_in(journey).values()


def test_one_person_alone_erases_nobody(journey: Journey) -> None:
    registrar = journey.staff("registrar", LATER)
    proposed = registrar.write("persons/P1/erasure", {"reason": "request"})["outcome"]
    path = f"persons/P1/erasure/{proposed['proposal']}/confirmation"
    answer = registrar.send(path, {"findings_sha256": proposed["findings_sha256"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "second_person_needed")
    other = journey.staff("registrar", LATER, "registrar-2")
    answer = other.send(path, {"findings_sha256": "0" * 64})
    assert (answer.status_code, answer.json()["code"]) == (409, "findings_changed")
    other.write(path, {"findings_sha256": proposed["findings_sha256"]})


def test_what_is_written_about_an_erased_person_is_sealed_for_the_matter(
    journey: Journey,
) -> None:
    settle_everything(journey)
    journey.erase(THE_DAY_AFTER, "court")
    finance = journey.staff("finance", THE_DAY_AFTER, "finance-1")
    again = {"payment_id": "PAY9", "provider_transaction_id": "429900000000000000000001"}
    finance.write("applications/A1/payments", journey.payment(LATER) | again)
    order = {"payment_id": "PAY9", "component": "certification_fee"}
    refund = finance.write("applications/A1/refunds", order)["outcome"]["refund_no"]
    decision = f"applications/A1/refunds/{refund}/decline"
    journey.staff("finance", THE_DAY_AFTER, "finance-2").write(decision, {"reason": "账户已注销"})
    events = journey.ledger.caller("regulator").read("events", limit=500)["data"]
    assert events[-1]["envelope"]["data"]["reason"]["key"] == "matter/application-A1/1"
    assert reasons_in(journey)["refund_declined.v1"] == "账户已注销"


def test_no_uploaded_file_of_an_erased_person_is_given_out(ledger: LedgerClient) -> None:
    journey = Journey(ledger)
    journey.register()
    journey.apply()
    journey.pay()
    journey.hand_in()
    journey.candidate(LATER).write("applications/A1/withdrawal", {"reason": REASON})
    settle_everything(journey)
    agency, kinds = ledger.caller("agency"), ("photo", "identity_proof", "work_history")
    documents = [f"applications/A1/documents/{kind}" for kind in kinds]
    assert {agency.get(each).status_code for each in documents} == {200}
    journey.erase(THE_DAY_AFTER)
    answers = [agency.get(each) for each in documents]
    assert {answer.status_code for answer in answers} == {410}
    assert {answer.json()["code"] for answer in answers} == {"person_erased"}


def test_the_reason_of_an_erasure_is_one_of_a_list(journey: Journey) -> None:
    registrar = journey.staff("registrar", LATER)
    answer = registrar.send("persons/P1/erasure", json={"reason": REASON})
    assert answer.status_code == 422
    assert not [secret for secret in SECRETS if secret in answer.text]


def test_an_unmet_condition_is_worded_when_it_is_read(ledger: LedgerClient) -> None:
    journey = Journey(ledger)
    journey.register()
    made = journey.apply(since="2025-01-01")
    assert all(each.keys() >= {"needed", "needed_en"} for each in made["outcome"]["missing"])

    def missing(role: str) -> dict[str, object]:
        history = ledger.caller(role).read("applications/A1/history")["data"]
        [refused] = [e for e in history if e["topic"] == "eligibility_refused.v1"]
        return refused["data"]["missing"][0]

    shown = missing("agency")
    assert shown["text"].startswith("累计工作1年")
    assert "short" in shown["text_en"]
    assert missing("regulator")["figures"] is None
    assert "text" not in missing("regulator")
    adopt_over_http(ledger, no_retention())
    journey.erase(LATER)
    assert missing("agency")["figures"] is None
