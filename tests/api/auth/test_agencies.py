"""What an agency sees and changes of another agency's applications and persons: nothing.

Every operation of the OpenAPI document is asked with the token of a foreign agency.
Covers: api/auth/permissions.py, api/http/dependencies.py, domain/steps/agency_rights.py
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.routes.routers import ACCESS
from domain.actors import Role
from tests.support.commands import document_of, name_of
from tests.support.http_journey import Journey, certified, scan
from tests.support.service import Caller, LedgerClient

SHARED = {
    "list_applications",  # without those of others
    "list_sessions",
    "get_session",  # with null for the applications of others
    "register_person",  # a person of its own
}
"""Operations for agencies that answer a foreign one, too."""

IDS = {
    "person_id": "P1", "application_id": "A1", "session_id": "S1", "notice_id": "N1",
    "stage": "initial", "kind": "photo",
}  # fmt: skip


@pytest.fixture(scope="module")
def journey(module_ledger: LedgerClient) -> Journey:
    """A candidate with certificates, whose application the agency `org of agency` reviewed."""
    found, _ = certified(module_ledger)
    return found


@pytest.fixture(scope="module")
def foreign(journey: Journey) -> Caller:
    return journey.ledger.caller("agency", "agency-9", organisation="another agency")


@pytest.fixture(scope="module")
def operations(client: httpx.Client) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every operation that agencies may call."""
    paths = client.get("/openapi.json").json()["paths"]
    found = [
        (method.upper(), path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if (roles := ACCESS.get(operation["operationId"])) and Role.AGENCY in roles
    ]
    assert len(found) > 20
    return found


PERSON = {"document_type": "resident_id", "document_number": document_of(1)}
EXAMPLES: dict[str, dict[str, Any]] = {
    "register_person": {**PERSON, "document_number": document_of(5), "name": name_of(5)},
    "find_person": {**PERSON, "name": name_of(2)},
    "correct_person": {**PERSON, "name": name_of(3), "reason": "姓名录入有误"},
    "reject_registration": {"reason": "不符"},
    "open_application": {
        "person_id": "P1", "occupation": "4-01-02-07", "edition": "2021", "level": 5,
        "qualifications": {"work_periods": []},
    },
    "withdraw_application": {"reason": "个人原因"},
    "use_item": {"item": "handbook"},
    "review": {"verdict": "pass", "round": 1},
    "order_refund": {"payment_id": "PAY1", "component": "study_material"},
    "assign_seat": {"application_id": "A1"},
    "file_objection": {"application_id": "A1", "objector_id": "P1", "text": "漏判"},
}  # fmt: skip


def ask(caller: Caller, method: str, path: str, operation: dict[str, Any]) -> httpx.Response:
    url = path.format(ledger=caller.ledger, **IDS)
    if method == "GET":
        return caller.get(url)
    if operation["operationId"] == "submit_document":
        files = {"file": ("id.png", scan(77), "image/png")}
        return caller.send(url, data={"kind": "identity_proof"}, files=files)
    body = EXAMPLES.get(operation["operationId"])
    return caller.send(url, body, method=method)


def test_every_operation_of_an_agency_refuses_what_is_another_agencys(
    journey: Journey, foreign: Caller, operations: list[tuple[str, str, dict[str, Any]]]
) -> None:
    """Source: source-document 3.1(1), 3.2(2)."""
    before = journey.ledger.caller("registrar").read("applications/A1")
    for method, path, operation in operations:
        name = operation["operationId"]
        answer = ask(foreign, method, path, operation)
        assert name_of(1) not in answer.text, name
        assert document_of(1) not in answer.text, name
        assert '"A1"' not in answer.text, name
        if name in SHARED:
            assert answer.is_success, f"{name}: {answer.text}"
        elif name == "find_person":
            assert answer.status_code == 404, answer.text
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "not_your_own"), name
    assert journey.ledger.caller("registrar").read("applications/A1") == before


def test_the_agency_itself_reads_all_of_it(
    journey: Journey, operations: list[tuple[str, str, dict[str, Any]]]
) -> None:
    own = journey.ledger.caller("agency")
    for method, path, operation in operations:
        if method == "GET":
            answer = ask(own, method, path, operation)
            assert answer.is_success, f"{operation['operationId']}: {answer.text}"
    assert own.read("persons/P1")["name"] == name_of(1)
    assert [row["application_id"] for row in own.read("applications")["data"]] == ["A1"]
    assert [seat["application_id"] for seat in own.read("sessions/S1")["seats"]] == ["A1"]


def test_a_list_does_not_tell_a_foreign_agency_who_applied(
    journey: Journey, foreign: Caller
) -> None:
    known, unknown = (foreign.get("applications", person_id=each) for each in ("P1", "P999"))
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


def test_a_foreign_agency_sees_that_a_seat_is_taken_and_not_by_whom(
    journey: Journey, foreign: Caller
) -> None:
    [seat] = foreign.read("sessions/S1")["seats"]
    assert (seat["seat"], seat["application_id"]) == ("101#1", None)


def test_an_agency_that_recognises_somebody_gets_the_applications_it_opens_only(
    journey: Journey, foreign: Caller
) -> None:
    """Source: source-document 3.1(1)."""
    found = foreign.write("persons", {**PERSON, "name": name_of(1)})
    assert found["outcome"]["person_id"] == "P1"
    work = {"started_on": "2021-01-01", "ended_on": None, "relation": "own"}
    opened = foreign.write(
        "applications",
        {
            **EXAMPLES["open_application"],
            "application_id": "A51",
            "qualifications": {"work_periods": [work]},
        },
    )
    assert opened["outcome"]["eligible"]
    listed = foreign.read("applications", person_id="P1")["data"]
    assert [row["application_id"] for row in listed] == ["A51"]
    assert foreign.get("applications/A1").status_code == 403
    corrected = foreign.send("persons/P1/corrections", EXAMPLES["correct_person"])
    assert (corrected.status_code, corrected.json()["code"]) == (403, "not_your_own")
