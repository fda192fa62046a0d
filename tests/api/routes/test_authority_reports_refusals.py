"""A report upward is refused for the fault that the decision would name first."""

from __future__ import annotations

from tests.support.http_journey import certified
from tests.support.service import LedgerClient


def test_a_report_is_refused_for_its_first_fault_in_the_order_of_the_decision(ledger: LedgerClient):
    certified(ledger)
    registrar = ledger.backdated("registrar").at("2026-10-16T09:00:00+08:00")

    def refusal(report: str, *applications: str) -> str:
        body = {"report_id": report, "batch_type": "new", "application_ids": applications}
        return str(registrar.send("reports", body).json()["code"])

    assert refusal("REP1", "A1", "A1", "A2") == "row_twice"
    body = {"report_id": "REP1", "batch_type": "new", "application_ids": ["A1"]}
    registrar.write("reports", body)
    assert refusal("REP1", "A2") == "already_exists"
    assert refusal("REP2", "A1", "A2") == "certificate_out_of_order"


def test_an_unreported_number_is_reported_although_its_holder_was_erased(ledger: LedgerClient):
    journey, _ = certified(ledger)
    at = "2026-10-16T09:00:00+08:00"
    journey.erase(at)
    body = {"batch_type": "new", "application_ids": ["A1"]}
    ledger.backdated("registrar").at(at).write("reports", body)
