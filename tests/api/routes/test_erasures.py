"""What the second person sees before they confirm an erasure, and the list of open proposals."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tests.support.http_journey import Journey
from tests.support.service import LedgerClient

LATER = "2026-03-20T09:00:00+08:00"
AFTER = "2026-03-21T09:00:00+08:00"
LAST_YEAR = date.fromisoformat(LATER[:10]).year + 5


@pytest.fixture
def withdrawn(ledger: LedgerClient) -> Journey:
    """A candidate whose only application was withdrawn."""
    journey = Journey(ledger)
    journey.register()
    journey.apply()
    journey.candidate(LATER).write("applications/A1/withdrawal", {"reason": "个人原因"})
    return journey


def propose(journey: Journey, proposal: str = "E1", subject: str | None = None) -> dict[str, Any]:
    body = {"reason": "request", "proposal": proposal}
    return journey.staff("registrar", LATER, subject).write(f"persons/P{journey.n}/erasure", body)[
        "outcome"
    ]


def shown(journey: Journey, role: str = "regulator") -> dict[str, Any]:
    return journey.ledger.caller(role).read(f"persons/P{journey.n}/erasure")


def listed(journey: Journey, role: str = "regulator", **params: Any) -> dict[str, Any]:
    return journey.ledger.caller(role).read("erasures", **params)


def test_the_second_person_sees_what_is_destroyed_and_what_is_kept_until_when(
    withdrawn: Journey,
) -> None:
    """PIPL art. 47."""
    proposed = propose(withdrawn)
    erasure = shown(withdrawn)
    assert (erasure["proposal"], erasure["reason"]) == ("E1", "request")
    assert erasure["findings"]["findings_sha256"] == proposed["findings_sha256"]
    assert erasure["findings"]["ends"] == proposed["findings"]["ends"]
    kept = {each["data_class"]: each for each in erasure["findings"]["kept"]}
    assert kept["identity"]["because"] == "assessment_records"
    assert (kept["identity"]["until"], kept["identity"]["years"]) == (f"{LAST_YEAR}-03-20", 5)
    assert kept["identity"]["basis"]
    assert erasure["proposed"]["actor"]["role"] == "registrar"
    assert erasure["proposed"]["occurred_at"] == "2026-03-20T01:00:00.000000Z"
    nothing = (None, None, None, [], None)
    fields = ("refusal", "findings_now", "confirmed", "destroyed", "kept")
    assert tuple(erasure[name] for name in fields) == nothing


def test_a_proposal_whose_findings_changed_shows_both(withdrawn: Journey) -> None:
    """PIPL art. 47."""
    proposed = propose(withdrawn)
    late = withdrawn.payment(AFTER) | {"paid_at": AFTER}
    withdrawn.staff("finance", AFTER).write("applications/A1/payments", late)
    erasure = shown(withdrawn)
    assert erasure["refusal"] == "findings_changed"
    assert erasure["findings"]["findings_sha256"] == proposed["findings_sha256"]
    now = erasure["findings_now"]
    assert "open_refund" in {each["because"] for each in now["kept"]}
    path = "persons/P1/erasure/E1/confirmation"
    answer = withdrawn.staff("regulator", AFTER).send(path, {})
    assert answer.json()["code"] == erasure["refusal"]
    propose_again = withdrawn.staff("registrar", AFTER).write(
        "persons/P1/erasure", {"reason": "request", "proposal": "E2"}
    )
    assert propose_again["outcome"]["findings_sha256"] == now["findings_sha256"]
    assert shown(withdrawn)["refusal"] is None


def test_an_application_that_was_opened_since_is_shown_as_the_refusal(withdrawn: Journey) -> None:
    propose(withdrawn)
    body = {"application_id": "A2", "person_id": "P1", "occupation": "4-01-02-07"}
    work = {"work_periods": [{"started_on": "2021-01-01", "ended_on": None, "relation": "own"}]}
    given = body | {"edition": "2021", "level": 4, "qualifications": work}
    withdrawn.candidate(AFTER).write("applications", given)
    assert shown(withdrawn)["refusal"] == "person_still_needed"
    answer = withdrawn.staff("regulator", AFTER).send("persons/P1/erasure/E1/confirmation", {})
    assert answer.json()["code"] == "person_still_needed"


def test_after_the_confirmation_both_steps_are_shown(withdrawn: Journey) -> None:
    withdrawn.erase(LATER)
    erasure = shown(withdrawn, "registrar")
    assert erasure["confirmed"]["actor"]["role"] == "regulator"
    assert (erasure["refusal"], erasure["findings_now"]) == (None, None)
    assert set(erasure["destroyed"]).isdisjoint(each["data_class"] for each in erasure["kept"])
    assert "identity" in {each["data_class"] for each in erasure["kept"]}


def test_a_person_without_a_proposal_has_no_erasure_to_show(withdrawn: Journey) -> None:
    answer = withdrawn.ledger.caller("regulator").get("persons/P1/erasure")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_list_holds_what_nobody_has_confirmed_page_by_page(ledger: LedgerClient) -> None:
    journeys = [Journey(ledger, n) for n in (1, 2, 3)]
    for journey in journeys:
        journey.register()
        propose(journey, f"E{journey.n}", "registrar-2")
    propose(journeys[0], "E11")
    confirm = {"findings_sha256": None}
    journeys[1].staff("regulator", AFTER).write("persons/P2/erasure/E2/confirmation", confirm)
    first = listed(journeys[0], "registrar", limit=1)
    [newest] = first["data"]
    assert (newest["person_id"], newest["proposal"], newest["is_own"]) == ("P1", "E11", True)
    second = listed(journeys[0], "registrar", limit=1, cursor=first["next"])
    [oldest] = second["data"]
    assert (oldest["proposal"], oldest["is_own"], second["next"]) == ("E3", False, None)
