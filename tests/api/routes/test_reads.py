"""Reads: read-your-writes, as-of, pages, entity tags, masking, and rights of candidates.

Covers: api/routes/application_detail.py, api/routes/history.py, api/routes/journal.py,
api/routes/masking.py, api/routes/stream_listing.py, api/routes/finance.py, api/routes/health.py,
api/http/pagination.py, api/http/read_models.py, api/routes/statistics.py, api/routes/rows.py
"""

from __future__ import annotations

import httpx
import pytest

from projections.catalogue import VIEWS
from tests.support.commands import document_of
from tests.support.http_journey import Journey, certified
from tests.support.service import LedgerClient, new_ledger
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def completed(client: httpx.Client) -> tuple[LedgerClient, Journey, dict[str, str]]:
    """A ledger with one candidate who completed every step."""
    ledger = new_ledger(client, "2026-03-01T08:00:00+08:00")
    journey, numbers = certified(ledger)
    return ledger, journey, numbers


def test_an_application_shows_its_status_and_next_step(ledger: LedgerClient):
    journey = Journey(ledger)
    journey.register()
    journey.apply()

    def shown_now() -> dict:
        return journey.candidate().read(journey.application)

    assert shown_now()["due"] == {"step": "payment", "by": ["finance"]}
    journey.pay()
    shown = shown_now()
    assert shown["due"]["step"] == "documents"
    assert shown["documents"]["missing"] == ["identity_proof", "work_history", "photo"]
    assert {o["component"]: o["option"] for o in shown["refund_options"]} == {
        "certification_fee": "not_yet",
        "study_material": "not_yet",
    }
    journey.hand_in()
    assert shown_now()["due"] == {"step": "initial_review", "by": ["agency"]}
    journey.review("pp")
    assert shown_now()["due"] == {"step": "final_review", "by": ["province"]}
    ledger.backdated("province").at("2026-03-05T09:00:00+08:00").write(
        f"{journey.application}/reviews/final", {"verdict": "pass"}
    )
    shown = shown_now()
    assert (shown["status"], shown["due"]["step"]) == ("enrolled", "seat")
    assert {o["clause"] for o in shown["refund_options"]} == {"2.4(2)"}


def test_a_completed_application_shows_marks_and_certificates(completed):
    ledger, journey, numbers = completed
    shown = ledger.caller("registrar").read(journey.application)
    assert shown["exam"]["theory"] == "78"
    assert shown["exam"]["passed"] is True
    assert {c["kind"]: c["number"] for c in shown["certificates"]} == numbers
    assert shown["due"] == {"step": "report", "by": ["registrar"]}


def test_an_ineligible_application_is_recorded_with_what_is_missing(ledger: LedgerClient):
    journey = Journey(ledger)
    journey.register()
    made = journey.apply(since="2025-01-01")
    assert made["outcome"]["eligible"] is False
    assert made["outcome"]["missing"][0]["needed"]
    assert journey.candidate().read(journey.application)["due"] == {"step": "nothing", "by": []}


def test_a_known_version_is_304(completed):
    ledger, journey, _ = completed
    caller = ledger.caller("registrar")
    first = caller.get(journey.application)
    tag = first.headers["etag"]
    shown = first.json()
    assert tag == f'"{shown["version"]}.{shown["person"]["version"]}"'
    for given in (tag, f'"0", {tag}', f"W/{tag}", "*"):
        again = caller.get(journey.application, headers={"If-None-Match": given})
        assert (again.status_code, again.content) == (304, b"")
    assert caller.get(journey.application, headers={"If-None-Match": '"0"'}).status_code == 200


def test_a_corrected_name_changes_the_entity_tag(ledger: LedgerClient):
    journey = Journey(ledger)
    journey.register()
    journey.apply()
    agency = ledger.backdated("agency").at("2026-04-01T09:00:00+08:00")
    tag = agency.get(journey.application).headers["etag"]
    agency.write(
        "persons/P1/corrections",
        {"document_type": "resident_id", "document_number": document_of(1), "name": "钱壹",
         "reason": "录入有误"},
    )  # fmt: skip
    again = agency.get(journey.application, headers={"If-None-Match": tag})
    assert (again.status_code, again.json()["person"]["name"]) == (200, "钱壹")


# --- whose it is ----------------------------------------------------------------------------------

OWN = ("", "/history", "/ticket", "/ticket.pdf", "/documents/photo")


@pytest.mark.parametrize("part", OWN)
def test_a_candidate_reads_only_their_own_application(completed, part: str):
    ledger, journey, _ = completed
    assert journey.candidate().get(journey.application + part).status_code == 200
    stranger = ledger.caller("candidate", "somebody-else").get(journey.application + part)
    assert (stranger.status_code, stranger.json()["code"]) == (403, "not_your_own")


def test_a_candidate_reads_no_other_person_and_no_list(completed):
    ledger, journey, _ = completed
    stranger = ledger.caller("candidate", "somebody-else")
    assert stranger.get("persons/P1").json()["code"] == "not_your_own"
    assert stranger.get("applications").json()["code"] == "not_your_own"
    assert stranger.get("applications", person_id="P1").json()["code"] == "not_your_own"
    mine = journey.candidate().read("applications", person_id="P1")
    assert [row["application_id"] for row in mine["data"]] == ["A1"]


def test_names_and_numbers_are_masked_unless_the_role_needs_them(completed):
    ledger, journey, _ = completed
    for role in ("registrar", "agency", "certifier", "province"):
        person = ledger.caller(role).read(journey.application)["person"]
        assert (person["name"], person["masked"]) == ("钱一", False)
    for role in ("finance", "regulator", "examiner", "score_verifier"):
        person = ledger.caller(role).read(journey.application)["person"]
        assert (person["name"], person["masked"]) == ("钱*", True)
        assert person["document_number"].count("*") == 13
    assert journey.candidate().read("persons/P1")["name"] == "钱一"


def test_a_history_is_complete_and_masked(completed):
    ledger, journey, _ = completed
    full = ledger.caller("agency").read(f"{journey.application}/history")["data"]
    masked = ledger.caller("regulator").read(f"{journey.application}/history")["data"]
    assert [e["version"] for e in full] == list(range(1, len(full) + 1))
    assert full[0]["topic"] == "application_opened.v1"
    confirmed = next(i for i, e in enumerate(full) if e["topic"].startswith("eligibility"))
    assert "2021-01-01" in full[confirmed]["data"]["qualifications"]
    assert masked[confirmed]["data"]["qualifications"] is None
    assert masked[confirmed]["masked"] == ["qualifications"]
    assert full[0]["actor"]["name"] == "P1", "a candidate is named by their id"
    assert "candidate-1" not in str(full)


def test_the_regulator_reads_every_event_with_personal_fields_sealed(completed):
    ledger, _, _ = completed
    regulator = ledger.caller("regulator")
    first = regulator.read("events", limit=20)
    assert [e["position"] for e in first["data"]] == list(range(1, 21))
    rest = regulator.read("events", after=first["next_after"], limit=200)
    assert rest["data"][0]["position"] == 21
    assert regulator.read("events", after=rest["head"])["data"] == []
    text = regulator.get("events", limit=200).text
    assert "钱一" not in text
    envelopes = [each["envelope"] for each in (*first["data"], *rest["data"])]
    person = next(each for each in envelopes if each["topic"] == "person_registered.v1")
    assert set(person["data"]["name"]) == {"key", "sealed"}


# --- pages ----------------------------------------------------------------------------------------


def test_a_list_continues_at_its_cursor(ledger: LedgerClient):
    for n in range(1, 6):
        journey = Journey(ledger, n)
        journey.register()
        journey.apply()
    agency = ledger.caller("agency")
    found: list[str] = []
    cursor = None
    for _ in range(10):
        page = agency.read("applications", limit=2, **({"cursor": cursor} if cursor else {}))
        found += [row["application_id"] for row in page["data"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == ["A5", "A4", "A3", "A2", "A1"]
    only = agency.read("applications", status="paid")
    assert only["data"] == []


def test_a_cursor_of_another_list_or_a_forged_one_is_400(ledger: LedgerClient):
    for n in (1, 2):
        Journey(ledger, n).register()
        Journey(ledger, n).apply()
    agency = ledger.caller("agency")
    cursor = agency.read("applications", limit=1)["next"]
    for bad in ("x", "", cursor[:-2], cursor + "AA", "é" * 5, "A" * 3000):
        assert agency.get("applications", cursor=bad).status_code in (400, 422), bad
    assert agency.get("sessions", cursor=cursor).json()["code"] == "cursor_invalid"
    wrong = agency.get("applications", cursor=cursor, status="paid")
    assert wrong.json()["code"] == "cursor_invalid"


# --- views ----------------------------------------------------------------------------------------


def test_a_read_with_min_position_sees_the_own_write(ledger: LedgerClient):
    journey = Journey(ledger)
    journey.register()
    journey.apply()
    made = journey.pay()
    finance = ledger.caller("finance")
    totals = finance.read("refunds/totals", min_position=made["last_position"])
    paid = {row["component"]: row["paid_fen"] for row in totals["by_state"]}
    assert paid == {"certification_fee": 30_000, "study_material": 18_000}
    assert all(row["holds"] for row in totals["invariants"])


def test_waiting_for_a_future_position_ends_with_503(ledger: LedgerClient):
    answer = ledger.caller("finance").get("refunds", min_position=10**9)
    assert (answer.status_code, answer.json()["code"]) == (503, "view_behind")
    assert answer.json()["retryable"] is True
    assert answer.headers["retry-after"]


def test_a_view_is_read_as_of_a_position(completed):
    ledger, _, _ = completed
    finance = ledger.caller("finance")
    now = finance.read("postings")["data"]
    assert now
    first = now[0]["position"]
    then = finance.read("postings", as_of=str(first))["data"]
    assert {row["position"] for row in then} == {first}
    assert finance.read("postings", as_of="2026-01-01T00:00:00+08:00")["data"] == []
    for bad in ("2999-01-01T00:00:00Z", "yesterday", "-1"):
        assert finance.get("postings", as_of=bad).json()["code"] == "as_of_invalid"


def test_every_voucher_sums_to_zero(completed):
    ledger, _, _ = completed
    sums: dict[int, int] = {}
    for row in ledger.caller("finance").read("postings")["data"]:
        entry = row["entry_no"]
        sums[entry] = sums.get(entry, 0) + row["debit_fen"] - row["credit_fen"]
    assert sums
    assert set(sums.values()) == {0}
    assert sorted(sums) == list(range(1, len(sums) + 1))


def test_health_reports_every_view(completed):
    ledger, _, _ = completed
    assert ledger.client.get("/health").json()["database"] == "ok"

    def reported() -> set[str]:
        health = ledger.client.get("/health").json()
        return {v["view"] for v in health["views"] if v["ledger"] == ledger.name}

    wait_until(lambda: reported() == {view.name for view in VIEWS})
    assert ledger.client.get("/ready").json()["status"] == "ready"
