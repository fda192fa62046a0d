"""A person as each role sees them: while a registration is contested, settled, and when erased."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.commands import document_of
from tests.support.http_journey import OPENED_AT, Journey
from tests.support.service import LedgerClient

LATER = "2026-03-20T09:00:00+08:00"
ROLES = ("candidate", "agency", "certifier", "registrar", "regulator")


@pytest.fixture
def contested(ledger: LedgerClient) -> Journey:
    """P2 registered with the document of P1, whom an agency registered."""
    first = {"person_id": "P1", "document_type": "resident_id", "document_number": document_of(1)}
    ledger.backdated("agency").at(OPENED_AT).write("persons", first | {"name": "赵一"})
    body = first | {"person_id": "P2", "name": "钱二"}
    ledger.backdated("candidate", "candidate-2").at(OPENED_AT).write("persons", body)
    return Journey(ledger, 2)


def seen(journey: Journey, field: str) -> dict[str, Any]:
    """A field of the candidate's person by role."""
    callers = {role: journey.ledger.caller(role) for role in ROLES[1:]}
    callers["candidate"] = journey.candidate()
    path = f"persons/P{journey.n}"
    return {role: caller.read(path)[field] for role, caller in callers.items()}


def test_who_registers_does_not_see_that_a_registration_is_contested(contested: Journey) -> None:
    """Source: source-document 3.1(1)."""
    contested.apply()
    hidden = {"candidate": None, "agency": None}
    staff = dict.fromkeys(("certifier", "registrar", "regulator"), "contested")
    assert seen(contested, "registration") == staff | hidden


def test_everybody_who_sees_the_person_sees_that_the_registration_was_rejected(
    contested: Journey,
) -> None:
    """Source: source-document 3.1(1)."""
    contested.apply()
    rejection = {"reason": "所持证件与登记不符"}
    contested.staff("certifier", LATER).write("persons/P2/rejection", rejection)
    assert seen(contested, "registration") == dict.fromkeys(ROLES, "rejected")
    refused = contested.candidate().send("applications", _application("P2"))
    assert (refused.status_code, refused.json()["code"]) == (409, "registration_closed")


def test_a_joined_registration_is_no_longer_the_candidates_own(contested: Journey) -> None:
    contested.staff("certifier", LATER).write("persons/P2/joining")
    refused = contested.candidate().get("persons/P2")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_your_own")
    assert contested.candidate().read("persons/P1")["masked"] is False
    assert contested.ledger.caller("certifier").read("persons/P2")["registration"] == "joined"


def test_an_erased_person_whose_name_is_kept_is_shown_as_erased(ledger: LedgerClient) -> None:
    journey = Journey(ledger)
    journey.register()
    journey.apply()
    journey.candidate(LATER).write("applications/A1/withdrawal", {"reason": "个人原因"})
    before = ledger.caller("registrar").read("persons/P1")
    journey.erase(LATER)
    after = ledger.caller("registrar").read("persons/P1")
    assert (before["erased"], after["erased"]) == (False, True)
    assert after["name"] == before["name"]


def _application(person: str) -> dict[str, Any]:
    return {
        "person_id": person,
        "occupation": "4-01-02-07",
        "edition": "2021",
        "level": 4,
        "qualifications": {"work_periods": []},
    }
