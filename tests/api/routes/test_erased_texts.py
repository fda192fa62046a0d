"""What somebody writes about a person is sealed, shown to those who work with it, and erasable.

Covers: api/routes/history.py, api/routes/rows.py, api/routes/journal.py
"""

from __future__ import annotations

import json

import pytest

from tests.support.commands import document_of
from tests.support.http_journey import Journey
from tests.support.service import LedgerClient

LATER = "2026-03-20T09:00:00+08:00"
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
    journey.staff("registrar", LATER).write("persons/P1/erasure", {"reason": "request"})
    assert set(reasons_in(journey).values()) == {None}
    for place, text in texts_of(journey).items():
        assert not [secret for secret in SECRETS if secret in text], place
    [refund] = journey.ledger.caller("finance").read("refunds")["data"]
    assert (refund["state"], refund["reason"]) == ("declined", None)


def test_what_is_written_about_an_erased_person_is_sealed_for_the_matter(
    journey: Journey,
) -> None:
    journey.staff("registrar", LATER).write("persons/P1/erasure", {"reason": "court"})
    order = {"payment_id": "PAY1", "component": "certification_fee"}
    finance = journey.staff("finance", LATER, "finance-1")
    refund = finance.write("applications/A1/refunds", order)["outcome"]["refund_no"]
    decision = f"applications/A1/refunds/{refund}/decline"
    journey.staff("finance", LATER, "finance-2").write(decision, {"reason": "账户已注销"})
    events = journey.ledger.caller("regulator").read("events", limit=500)["data"]
    assert events[-1]["envelope"]["data"]["reason"]["key"] == "matter/application-A1/1"
    assert reasons_in(journey)["refund_declined.v1"] == "账户已注销"


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
    journey.staff("registrar", LATER).write("persons/P1/erasure", {"reason": "request"})
    assert missing("agency")["figures"] is None
