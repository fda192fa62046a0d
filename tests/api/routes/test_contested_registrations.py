"""The list of contested registrations, for who settles them and not for who registers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.commands import document_of, name_of
from tests.support.http_journey import OPENED_AT, Journey
from tests.support.service import LedgerClient

LATER = "2026-03-20T09:00:00+08:00"


def register(ledger: LedgerClient, n: int, document: int, role: str = "candidate") -> None:
    login = f"candidate-{n}" if role == "candidate" else None
    body = {"person_id": f"P{n}", "document_type": "resident_id", "name": name_of(n)}
    caller = ledger.backdated(role, login).at(OPENED_AT)
    caller.write("persons", body | {"document_number": document_of(document)})


@pytest.fixture
def contested(ledger: LedgerClient) -> Journey:
    """P2 and P3 registered with the document of P1, whom an agency registered; P2 applied."""
    register(ledger, 1, 1, "agency")
    register(ledger, 2, 1)
    register(ledger, 3, 1)
    journey = Journey(ledger, 2)
    journey.apply()
    return journey


def listed(journey: Journey, role: str = "certifier", **params: Any) -> dict[str, Any]:
    return journey.ledger.caller(role).read("contested-registrations", **params)


@pytest.mark.parametrize("role", ["certifier", "province", "registrar"])
def test_who_settles_or_reviews_finds_what_is_contested(contested: Journey, role: str) -> None:
    """Source: source-document 3.1(1)."""
    rows = {row["person_id"]: row for row in listed(contested, role)["data"]}
    assert list(rows) == ["P3", "P2"]
    assert rows["P2"] == {
        "person_id": "P2", "held_by": "P1", "agency": None, "applications": ["A2"], "version": 1,
    }  # fmt: skip
    assert rows["P3"]["applications"] == []


@pytest.mark.parametrize("role", ["candidate", "agency"])
def test_the_list_is_no_answer_to_who_tries_numbers(contested: Journey, role: str) -> None:
    """Source: source-document 3.1(1)."""
    answer = contested.ledger.caller(role).get("contested-registrations")
    assert (answer.status_code, answer.json()["code"]) == (403, "role_not_allowed")


def test_what_is_settled_leaves_the_list(contested: Journey) -> None:
    certifier = contested.staff("certifier", LATER)
    certifier.write("persons/P3/rejection", {"reason": "所持证件与登记不符"})
    assert [row["person_id"] for row in listed(contested)["data"]] == ["P2"]
    right = {"document_type": "resident_id", "document_number": document_of(2)}
    again = right | {"name": name_of(2), "reason": "证件号录入有误"}
    contested.staff("registrar", LATER).write("persons/P2/corrections", again)
    assert listed(contested)["data"] == []


def test_a_correction_to_another_persons_document_enters_the_list(contested: Journey) -> None:
    register(contested.ledger, 4, 4, "agency")
    wrong = {"document_type": "resident_id", "document_number": document_of(1)}
    body = wrong | {"name": name_of(4), "reason": "证件号录入有误"}
    contested.staff("agency", LATER).write("persons/P4/corrections", body)
    [first, *_] = listed(contested)["data"]
    assert (first["person_id"], first["agency"]) == ("P4", "org of agency")


def test_the_list_comes_in_pages(contested: Journey) -> None:
    first = listed(contested, limit=1)
    second = listed(contested, limit=1, cursor=first["next"])
    assert [row["person_id"] for row in (*first["data"], *second["data"])] == ["P3", "P2"]
    assert second["next"] is None
