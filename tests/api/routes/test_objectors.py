"""Who objects need not be registered: named, sealed under keys of their own, shown to few, erased.

Covers: api/routes/notices.py, api/routes/score_board.py, api/routes/masking.py
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.editions import adopt_over_http, no_retention
from tests.support.http_journey import (
    CLOSED_AT,
    PUBLISHED_AT,
    Journey,
    hold,
    schedule,
    score,
    seat,
)
from tests.support.service import LedgerClient, new_ledger

DAY = "2026-10-09T09:00:00+08:00"
LATER = "2026-10-16T10:00:00+08:00"
NAME, CONTACT, TEXT = "王秘密", "0571-87654321", "实操时有人代考"
OUTSIDER = {
    "application_id": "A1",
    "objection_id": "O1",
    "objector_id": "W1",
    "objector_name": NAME,
    "objector_contact": CONTACT,
    "text": TEXT,
}
SECRETS = (NAME, CONTACT, TEXT)


@pytest.fixture
def published(client: httpx.Client) -> LedgerClient:
    """A notice with one row."""
    ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
    schedule(ledger)
    ticket = seat(Journey(ledger).enrol())
    hold(ledger)
    score(ledger, {ticket: ("40", "81")})
    notice = {"notice_id": "N1", "session_id": "S1"}
    ledger.backdated("certifier").at(PUBLISHED_AT).write("notices", notice)
    return ledger


@pytest.fixture
def objected(published: LedgerClient) -> LedgerClient:
    """An outsider has objected to it, at an agency."""
    agency = published.backdated("agency").at(DAY)
    outcome = agency.write("notices/N1/objections", OUTSIDER)["outcome"]
    assert outcome == {"objection_id": "O1", "objector_id": "W1"}
    return published


def objections(ledger: LedgerClient, role: str) -> list[dict[str, Any]]:
    head = ledger.caller("regulator").read("events", limit=1)["head"]
    shown: list[dict[str, Any]] = ledger.caller(role).read(
        "notices/N1/objections", min_position=head
    )["data"]
    return shown


def stored(ledger: LedgerClient) -> str:
    return ledger.caller("regulator").get("events", limit=500).text


def keys_of(ledger: LedgerClient, topic: str) -> dict[str, str]:
    """Field -> the key that seals it, in the only event of a topic."""
    events = ledger.caller("regulator").read("events", limit=500)["data"]
    [data] = [e["envelope"]["data"] for e in events if e["envelope"]["topic"] == topic]
    return {name: value["key"] for name, value in data.items() if isinstance(value, dict)}


def test_name_contact_and_text_lie_under_keys_of_who_objects(objected: LedgerClient):
    assert keys_of(objected, "objector_named.v1") == {
        "name": "person/W1/identity/1",
        "contact": "person/W1/contact/1",
    }
    assert keys_of(objected, "objection_filed.v1") == {"text": "person/W1/remarks/1"}
    found = stored(objected)
    assert not [secret for secret in SECRETS if secret in found]


def test_those_who_settle_objections_see_who_objects(objected: LedgerClient):
    [full] = objections(objected, "certifier")
    assert (full["objector_id"], full["objector_name"]) == ("W1", NAME)
    assert (full["objector_contact"], full["text"]) == (CONTACT, TEXT)
    [masked] = objections(objected, "score_verifier")
    assert (masked["objector_name"], masked["objector_contact"]) == ("王**", None)
    assert masked["text"] == TEXT
    person = objected.caller("registrar").read("persons/W1")
    assert (person["name"], person["document_type"], person["registration"]) == (
        *(NAME, None, "objector"),
    )
    assert objected.caller("regulator").read("persons/W1")["name"] == "王**"


@pytest.mark.parametrize("role", ["candidate", "agency", "province", "examiner", "finance"])
def test_nobody_else_learns_who_objected_or_what_they_wrote(objected: LedgerClient, role: str):
    """Neither the applicant nor an agency, also not the one that took the objection."""
    caller = objected.caller(role, "candidate-1" if role == "candidate" else None)
    for path in (
        *("notices/N1/objections", "persons/W1", "notices/N1", "notices/N1/rows"),
        *("applications/A1", "applications/A1/history", "scores?notice_id=N1"),
    ):
        answer = caller.get(path)
        assert not [secret for secret in SECRETS if secret in answer.text], path
    assert caller.get("notices/N1/objections").status_code == 403
    assert caller.get("persons/W1").status_code in (403, 404)


@pytest.mark.parametrize(
    ("role", "organisation"),
    [("candidate", "public"), ("agency", "another agency"), ("province", "province")],
)
def test_an_objector_is_nobody_to_those_who_do_not_settle_objections(
    objected: LedgerClient, role: str, organisation: str
):
    caller = objected.caller(role, organisation=organisation)
    for path in ("persons/{}", "applications?person_id={}"):
        known, unknown = (caller.get(path.format(each)) for each in ("W1", "W999"))
        assert same(known, "W1") == same(unknown, "W999"), path
    if role != "province":
        backdated = objected.caller(role, organisation=organisation, backfill=True).at(DAY)
        known, unknown = (
            backdated.send(
                "notices/N1/objections",
                {"application_id": "A1", "objector_id": each, "text": TEXT},
            )
            for each in ("W1", "W999")
        )
        assert known.status_code == 404
        assert same(known, "W1") == same(unknown, "W999")


def same(answer: httpx.Response, person: str) -> tuple[int, Any]:
    """An answer without the id that was asked for, and without its trace."""
    shown = answer.json()
    for name in ("instance", "trace_id"):
        shown.pop(name, None)
    return answer.status_code, str(shown).replace(person, "ID")


def test_the_agency_that_named_an_objector_objects_for_them_again(objected: LedgerClient):
    body = {"application_id": "A1", "objection_id": "O2", "objector_id": "W1", "text": TEXT}
    made = objected.backdated("agency").at(DAY).write("notices/N1/objections", body)["outcome"]
    assert made == {"objection_id": "O2", "objector_id": "W1"}


def test_a_registered_person_objects_and_is_named_by_their_registration(published: LedgerClient):
    body = {"application_id": "A1", "objector_id": "P1", "text": TEXT}
    Journey(published).candidate(DAY).write("notices/N1/objections", body)
    [shown] = objections(published, "certifier")
    assert (shown["objector_name"], shown["objector_contact"]) == ("钱一", None)


def test_an_objection_without_an_objector_is_refused_with_the_reason(published: LedgerClient):
    agency = published.backdated("agency").at(DAY)
    answer = agency.send("notices/N1/objections", {"application_id": "A1", "text": TEXT})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    body = OUTSIDER | {"objector_id": "13800000000"}
    answer = agency.send("notices/N1/objections", body)
    assert answer.json()["errors"][0]["code"] == "not_an_opaque_id"
    body = {"application_id": "A1", "objector_name": NAME, "text": TEXT}
    made = agency.write("notices/N1/objections", body)["outcome"]["objector_id"]
    assert len(made) == 32


def settle_and_close(ledger: LedgerClient) -> None:
    adopt_over_http(ledger, no_retention())
    certifier = ledger.backdated("certifier").at(CLOSED_AT)
    said = {"outcome": "dismissed", "reason": "复核无误"}
    certifier.write("notices/N1/objections/O1/resolution", said)
    certifier.write("notices/N1/close")


def erase(ledger: LedgerClient, person: str) -> dict[str, Any]:
    """Two persons erase somebody's data."""
    registrar = ledger.backdated("registrar").at(LATER)
    proposed = registrar.send(f"persons/{person}/erasure", {"reason": "request"})
    assert proposed.status_code == 202, proposed.text
    findings = proposed.json()["outcome"]
    confirmation = f"persons/{person}/erasure/{findings['proposal']}/confirmation"
    regulator = ledger.backdated("regulator").at(LATER)
    hashed = {"findings_sha256": findings["findings_sha256"]}
    outcome: dict[str, Any] = regulator.write(confirmation, hashed)["outcome"]
    return outcome


def test_the_erasure_of_an_objector_leaves_the_applicants_row(objected: LedgerClient):
    settle_and_close(objected)
    erase(objected, "W1")
    [shown] = objections(objected, "certifier")
    assert (shown["objector_name"], shown["objector_contact"], shown["text"]) == (None,) * 3
    assert (shown["state"], shown["reason"]) == ("dismissed", "复核无误")
    answer = objected.caller("registrar").get("persons/W1")
    assert (answer.status_code, answer.json()["code"]) == (410, "person_erased")
    assert objected.caller("certifier").read("persons/P1")["name"] == "钱一"


def test_the_erasure_of_an_applicant_leaves_what_the_objector_wrote(objected: LedgerClient):
    settle_and_close(objected)
    assert "identity" in erase(objected, "P1")["destroyed"]
    [shown] = objections(objected, "certifier")
    assert (shown["objector_name"], shown["text"], shown["reason"]) == (NAME, TEXT, None)


def test_an_objector_is_kept_while_the_notice_runs(objected: LedgerClient):
    registrar = objected.backdated("registrar").at(DAY)
    proposed = registrar.send("persons/W1/erasure", {"reason": "request"})
    kept = proposed.json()["outcome"]["findings"]["kept"]
    assert {(each["data_class"], each["because"]) for each in kept} == {
        (each, "open_objection") for each in ("identity", "contact", "remarks")
    }
