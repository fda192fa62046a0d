"""The whole way of a candidate over HTTP, from registration to what everybody may look up.

Covers: api/routes/ledgers.py, api/routes/persons.py, api/routes/applications.py,
api/routes/payments.py, api/routes/reviews.py, api/routes/admission_tickets.py,
api/routes/certificates.py
"""

from __future__ import annotations

from tests.support.http_journey import Journey, certified
from tests.support.service import LedgerClient

TOPICS = [
    "application_opened.v1", "eligibility_confirmed.v1", "fee_paid.v1",
    "document_submitted.v1", "document_submitted.v1", "document_submitted.v1",
    "documents_submitted.v1", "initial_review_passed.v1", "second_review_passed.v1",
    "final_review_passed.v1", "admission_ticket_issued.v1",
    "theory_score_recorded.v1", "fee_item_used.v1",
    "practical_score_recorded.v1", "fee_item_used.v1", "scores_verified.v1",
    "result_published.v1", "certificate_numbered.v1", "certificate_numbered.v1",
    "certificate_issued.v1", "certificate_issued.v1",
]  # fmt: skip


def test_a_candidate_goes_all_the_way_to_two_certificates(ledger: LedgerClient):
    journey, numbers = certified(ledger)
    assert numbers["national"].startswith(ledger.site_code)
    assert numbers["omc"].startswith("OMC-2026-4-")
    entries = ledger.caller("agency").read(f"{journey.application}/history")["data"]
    assert [entry["topic"] for entry in entries] == TOPICS
    head = ledger.caller("regulator").read("events")["head"]
    ledger.caller("registrar").read("statistics/talent", min_position=head)
    found = ledger.client.post(
        "/lookup", json={"certificate_number": numbers["national"], "name": "钱一"}
    ).json()
    assert found["certificates"][0]["standing"] == "valid"


def test_every_receipt_says_where_its_facts_stand(ledger: LedgerClient):
    journey = Journey(ledger)
    made = [journey.register(), journey.apply(), journey.pay()]
    events = ledger.caller("regulator").read("events", limit=50)["data"]
    by_position = {event["position"]: event["envelope"] for event in events}
    for receipt in made:
        stretch = range(receipt["first_position"], receipt["last_position"] + 1)
        facts = [by_position[position] for position in stretch]
        assert [fact["topic"] for fact in facts] == receipt["topics"]
        assert {fact["command_id"] for fact in facts} == {receipt["command_id"]}
        assert facts[0]["stream"] == receipt["stream"]
    assert sorted(by_position) == list(range(1, len(by_position) + 1))
