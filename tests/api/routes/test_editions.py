"""Editions of rules over HTTP: two persons adopt one, and everybody sees what holds."""

from __future__ import annotations

from typing import Any

import pytest

from domain.editions.edition import EditionKind
from domain.editions.packaged import packaged_editions
from tests.support.editions import calendar_2027, packaged_content
from tests.support.http_journey import (
    PUBLISHED_AT,
    Journey,
    hold,
    schedule,
    score,
    seat,
)
from tests.support.service import LedgerClient

MORNING = "2026-09-01T09:00:00+08:00"
OCTOBER = "2026-10-02T09:00:00+08:00"
PROVISIONAL = "The end is provisional"


def body_of(proposal: Any) -> dict[str, Any]:
    body = proposal.model_dump(mode="json")
    del body["kind"]
    return dict(body)


def short_calendar() -> dict[str, Any]:
    """A calendar that ends with September: it does not know the national holiday."""
    content = packaged_content(EditionKind.CALENDAR)
    known = {
        "known_through": "2026-09-30",
        "holidays": [h for h in content["holidays"] if h["last"] <= "2026-09-30"],
        "makeup_workdays": [day for day in content["makeup_workdays"] if day <= "2026-09-30"],
    }
    return {"edition": "cn-short", "valid_from": "2026-09-01", "content": content | known}


def whole_calendar() -> dict[str, Any]:
    content = packaged_content(EditionKind.CALENDAR)
    return {"edition": "cn-whole", "valid_from": "2026-10-01", "content": content}


def adopt(ledger: LedgerClient, body: dict[str, Any], at: str) -> dict[str, Any]:
    """Two persons adopt a calendar. Returns: the receipt of the adoption."""
    operator, certifier = ledger.backdated("operator"), ledger.backdated("certifier")
    proposed = operator.at(at).write("editions/calendar", body)
    digest = proposed["outcome"]["sha256"]
    return certifier.at(at).write(f"editions/calendar/{digest}/adoption")


def test_everybody_sees_the_editions_that_hold(module_ledger: LedgerClient):
    found = module_ledger.stranger.read("editions", valid_at="2026-11-28")
    assert found["valid_at"] == "2026-11-28"
    names = {(row["kind"], row["edition"]) for row in found["data"]}
    assert names >= {
        (kind.value, edition.edition)
        for kind in set(EditionKind) - {EditionKind.FEES}
        for edition in packaged_editions(kind)
    }
    assert ("fees", "fees-1") in names


def test_an_edition_is_shown_with_its_content_and_hash(module_ledger: LedgerClient):
    found = module_ledger.stranger.read("editions/calendar")
    (packaged,) = packaged_editions(EditionKind.CALENDAR)
    (shown,) = found["in_force"]
    assert (shown["edition"], shown["sha256"]) == (packaged.edition, packaged.sha256)
    assert shown["content"] == packaged.content
    assert [row["edition"] for row in found["adopted"]] == ["cn-2026.1"]


def test_a_proposal_waits_for_another_person_and_holds_from_its_first_day(ledger: LedgerClient):
    operator, certifier = ledger.caller("operator"), ledger.caller("certifier")
    receipt = operator.write("editions/calendar", body_of(calendar_2027()))
    digest = receipt["outcome"]["sha256"]
    (waiting,) = certifier.read("editions/calendar/proposals")["data"]
    assert (waiting["edition"], waiting["sha256"]) == ("cn-2027.1", digest)
    address = f"editions/calendar/{digest}/adoption"
    assert operator.send(address).json()["code"] == "second_person_needed"
    assert len(ledger.stranger.read("editions/calendar")["adopted"]) == 1

    adopted = certifier.write(address)
    assert certifier.read("editions/calendar/proposals")["data"] == []

    def name(**at: Any) -> str:
        return str(ledger.stranger.read("editions/calendar", **at)["in_force"][0]["edition"])

    assert name(valid_at="2026-11-30") == "cn-2026.1"
    assert name(valid_at="2026-12-01") == "cn-2027.1"
    before = adopted["first_position"] - 1
    assert name(valid_at="2026-12-01", as_of=before) == "cn-2026.1"
    assert name(valid_at="2026-12-01", as_of=adopted["recorded_at"]) == "cn-2027.1"
    assert name(valid_at="2026-12-01", as_of="2026-03-01T09:00:00+08:00") == "cn-2026.1"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"known_through": "2027-12-31"}, "malformed_edition"),
        ({"surprise": [1.5, None]}, "malformed_edition"),
        ({"source": "长" * 2001}, "malformed_edition"),
    ],
)
def test_a_faulty_content_is_refused_with_its_place(
    module_ledger: LedgerClient, change: dict[str, Any], code: str
):
    content = packaged_content(EditionKind.CALENDAR) | change
    body = {"edition": "cn-faulty", "valid_from": "2026-12-01", "content": content}
    answer = module_ledger.caller("operator").send("editions/calendar", body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert "content" in answer.json()["detail"]


def test_a_table_that_no_event_holds_is_refused(module_ledger: LedgerClient):
    fee = {"level": 4, "certification_fee_fen": 1, "study_material_fee_fen": 1}
    fees = [fee | {"occupation": f"{n:0100d}"} for n in range(400)]
    content = {"source": "收费公示", "fees": fees}
    body = {"edition": "fees-large", "valid_from": "2026-12-01", "content": content}
    answer = module_ledger.caller("operator").send("editions/fees", body)
    assert (answer.status_code, answer.json()["code"]) == (413, "edition_too_large")


def test_an_unknown_kind_is_refused(module_ledger: LedgerClient):
    answer = module_ledger.stranger.get("editions/holidays")
    assert answer.status_code == 422


def test_a_provisional_notice_gets_its_day_when_the_calendar_is_adopted(ledger: LedgerClient):
    """Source: source-document 5.1."""
    adopt(ledger, short_calendar(), MORNING)
    journey = Journey(ledger).enrol()
    schedule(ledger)
    ticket = seat(journey)
    hold(ledger)
    score(ledger, {ticket: ("78", "81.5")})
    certifier = ledger.backdated("certifier")
    opened = certifier.at(PUBLISHED_AT).write("notices", {"notice_id": "N1", "session_id": "S1"})

    def notice(position: int) -> dict[str, Any]:
        shown = ledger.stranger.read("notices/N1", min_position=position)
        return dict(shown["notice"])

    def page() -> str:
        headers = {"Accept": "text/html", "Accept-Language": "en"}
        return ledger.stranger.ask("GET", "scores/N1", headers=headers).text

    shown = notice(opened["last_position"])
    assert (shown["ends_on_is_provisional"], shown["calendar_edition"]) == (True, "cn-short")
    assert PROVISIONAL in page()
    extension = "notices/N1/extension"
    assert certifier.at(OCTOBER).send(extension).json()["code"] == "notice_end_provisional"

    adopted = adopt(ledger, whole_calendar(), OCTOBER)
    answer = certifier.at(OCTOBER).send(extension)
    if not answer.is_success:  # the background worker was quicker
        assert answer.json()["code"] == "notice_end_known"
    shown = notice(adopted["last_position"] + 1)
    assert (shown["ends_on"], shown["ends_on_is_provisional"]) == ("2026-10-13", False)
    assert shown["calendar_edition"] == "cn-whole"
    assert PROVISIONAL not in page()
