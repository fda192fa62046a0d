"""The example cohort: made again byte for byte, and what is loaded agrees with a plain recount.

The recount reads the files with the standard library and knows the rules in a line each; it shares
no code with the decisions, the import or the views.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import chinese_calendar
import pytest

from domain.eligibility.qualifications import Qualifications
from domain.events import CATALOGUE, CERTIFICATE_TEXT
from domain.lawfulness.judge import KEY_GONE
from domain.service.ledger import Ledger
from domain.service.public_cards import card_at
from domain.store.mapper import JournalEntry
from domain.store.tlog.audit import verify
from domain.values.identity_documents import DocumentType
from projections.catalogue import VIEWS
from projections.engine.catch_up import catch_up
from projections.refund_ledger import queries as refund_queries
from projections.score_board import queries as board_queries
from tests.projections import recount
from tests.support.cohort import COHORT, applications, empty_ledger, load, rows
from tests.support.ledgers import SECRETS
from tests.support.postgres import Database
from tests.support.recorded_histories import judged_journal

ROOT = COHORT.parents[1]
LAST_DAY = "2026-11-20"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort, generated again."""
    folder = tmp_path_factory.mktemp("made") / "cohort"
    command = [sys.executable, str(ROOT / "scripts" / "make_cohort.py"), "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def loaded(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger with the whole cohort in it."""
    folder = tmp_path_factory.mktemp("blobs")
    with empty_ledger(module_database, folder) as (ledger, blobs):
        summary = load(ledger, blobs, COHORT)
        assert [str(refused) for refused in summary.refused] == []
        assert verify(ledger.journal).is_good
        yield ledger


@pytest.fixture(scope="module")
def facts(loaded: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Everything the loaded cohort recorded, by topic: straight from the journal."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in loaded.journal.events():
        envelope = json.loads(event.envelope)
        found[envelope["topic"].removesuffix(".v1")].append(
            envelope["data"] | {"at": envelope["occurred_at"]}
        )
    return found


@pytest.fixture(scope="module")
def entries(loaded: Ledger) -> list[JournalEntry]:
    """The same as facts of the domain, in order."""
    return loaded.mapper.entries(loaded.journal.events())


@pytest.fixture(scope="module")
def views(loaded: Ledger, module_database: Database) -> Database:
    """The live tables of all three views, at the head of the journal."""
    catch_up(module_database.dsn, SECRETS, loaded.name, VIEWS, seconds=60)
    return module_database


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "README.md"
    }


# --- the files ------------------------------------------------------------------------------------


def test_every_event_of_the_cohort_could_have_been_decided(loaded: Ledger) -> None:
    judge = judged_journal(loaded.journal, loaded.vault)
    assert judge.unlawful == []
    # Of the one person who was erased the phone is gone; the law keeps the other records.
    assert judge.reasons == Counter({KEY_GONE: 1})
    assert judge.judged + judge.not_judged == loaded.journal.head().position > 1_000


def test_the_committed_cohort_is_what_its_seed_makes(made: Path) -> None:
    committed, again = files_of(COHORT), files_of(made)
    assert sorted(committed) == sorted(again)
    assert [name for name in committed if committed[name] != again[name]] == []


def test_the_size_of_the_cohort_is_within_its_limits() -> None:
    assert len(rows("persons")) >= 220
    sizes = {name: len(data) for name, data in files_of(COHORT).items()}
    assert sum(sizes.values()) < 3_000_000
    assert max(size for name, size in sizes.items() if name.endswith(".jpg")) <= 51_200
    assert max(size for name, size in sizes.items() if name.endswith(".pdf")) < 2_048


def test_everything_in_the_cohort_is_past() -> None:
    moments = [row["occurred_at"] for row in applications()]
    for kind in ("persons", "reviews", "issues", "visibility", "certificate_changes"):
        moments += [row["occurred_at"] for row in rows(kind)]
    assert min(moments) > "2026-03-01"
    assert max(moments) < LAST_DAY + "T24"


def test_every_kind_of_identity_document_is_shown_by_somebody() -> None:
    shown = {row["document_type"] for row in rows("persons")}
    assert shown == {kind.value for kind in DocumentType}


def test_no_person_of_the_cohort_can_be_a_real_one() -> None:
    citizens = [r for r in rows("persons") if r["document_type"] == "resident_id"]
    assert {row["document_number"][4:6] for row in citizens} == {"99"}
    assert {row["phone"][:3] for row in rows("persons")} == {"100"}


# --- eligibility ----------------------------------------------------------------------------------


def test_every_alternative_of_level_four_is_met_by_somebody(facts: dict[str, Any]) -> None:
    met = Counter((f["edition"], f["alternative"]) for f in facts["eligibility_confirmed"])
    assert {("2021", f"1.2({n})") for n in (1, 2, 3, 4)} <= set(met)
    assert {edition for edition, _ in met} == {"2021", "G2018", "G2023"}
    levels = {(f["edition"], f["level"]) for f in facts["application_opened"]}
    assert {level for edition, level in levels if edition == "2021"} == {1, 2, 3, 4, 5}


def test_a_refused_applicant_gets_the_nearest_alternative(facts: dict[str, Any]) -> None:
    refused = facts["eligibility_refused"]
    assert len(refused) >= 15
    assert len({(f["edition"], f["nearest"]) for f in refused}) >= 6
    assert all(f["missing"] for f in refused)
    paying = {row["报考编号"] for row in rows("payments")}
    assert not paying & {f["application_id"] for f in refused}
    assert len(refused) + len(facts["eligibility_confirmed"]) == len(applications())


def test_the_qualifications_of_the_second_file_are_those_of_the_domain() -> None:
    fields = {key for row in applications() for key in row.get("qualifications", {})}
    assert fields
    assert fields <= set(Qualifications.model_fields)


# --- money ----------------------------------------------------------------------------------------


def refund_rules() -> Counter[str]:
    """What becomes of each refund asked for, from the files alone. Source: 2.4."""
    enrolled = {r["application_id"]: r["occurred_at"] for r in reviews("final", "pass")}
    first_use: dict[str, str] = {}
    for use in rows("item_uses"):
        first_use.setdefault(use["application_id"], use["occurred_at"])
    found: Counter[str] = Counter()
    for asked in rows("refunds"):
        application, at = asked["application_id"], asked["occurred_at"]
        if asked["payment_id"] in excess_payments():
            found["excess"] += 1
        elif enrolled.get(application, "9") < at:
            found["final_review_passed 2.4(2)"] += 1
        elif asked["component"] == "study_material" and first_use.get(application, "9") < at:
            found["study_material_used 2.4(1)"] += 1
        else:
            found["2.4(1)"] += 1
    return found


def reviews(stage: str, verdict: str) -> list[dict[str, str]]:
    return [r for r in rows("reviews") if (r["stage"], r["verdict"]) == (stage, verdict)]


def excess_payments() -> set[str]:
    """Second payments, and those that came after the application was given up."""
    given_up = {row["application_id"]: row["occurred_at"] for row in rows("withdrawals")}
    seen: set[str] = set()
    excess = set()
    for payment in rows("payments"):
        application = payment["报考编号"]
        if application in seen or given_up.get(application, "9") < payment["发生时间"]:
            excess.add(payment["编号"])
        seen.add(application)
    return excess


def test_refunds_come_out_by_rule_as_a_recount_says(facts: dict[str, Any]) -> None:
    recorded = Counter(f["clause"] for f in facts["refund_ordered"])
    recorded += Counter(f"{f['refusal']} {f['clause']}" for f in facts["refund_refused"])
    assert recorded == refund_rules()
    assert min(recorded.values()) >= 3


def test_every_fen_that_was_paid_was_recorded(facts: dict[str, Any]) -> None:
    components = ("认证费用(元)", "学员资料(元)")
    written = sum(100 * Decimal(row[name]) for row in rows("payments") for name in components)
    payments = facts["fee_paid"] + facts["excess_payment_received"]
    assert written == sum(line["amount_fen"] for f in payments for line in f["lines"])
    assert {f["payment_id"] for f in facts["excess_payment_received"]} == excess_payments()


def test_refunds_fail_in_every_way_they_can(facts: dict[str, Any]) -> None:
    said = Counter(row["outcome"] for row in rows("refund_outcomes"))
    assert set(said) == {"accepted", "settled", "closed", "abnormal"}
    assert len(facts["refund_settled"]) == said["settled"]
    assert facts["refund_declined"]
    channels = {f["channel"] for f in facts["refund_settled"]}
    assert channels == {"original", "other_bankcard", "bank_transfer"}


# --- reviews, exams, notices ----------------------------------------------------------------------


def test_every_review_stage_rejects_and_returns_somebody(facts: dict[str, Any]) -> None:
    for stage in ("initial", "second", "final"):
        for verdict, word in (("reject", "rejected"), ("return", "returned"), ("pass", "passed")):
            wanted = len(reviews(stage, verdict))
            assert wanted >= 1
            assert len(facts[f"{stage}_review_{word}"]) == wanted


def marks() -> dict[str, dict[str, Decimal | None]]:
    """Application -> subject -> marks after corrections; None: absent."""
    seats = {
        f"{r['session_id']}-{int(r['room'][0]):02d}-{int(r['seat']):03d}": r["application_id"]
        for r in rows("seats")
    }
    found: dict[str, dict[str, Decimal | None]] = defaultdict(dict)
    for score in rows("scores"):
        subject = {"理论": "theory", "技能": "practical"}[score["科目"]]
        mark = None if score["成绩"] == "缺考" else Decimal(score["成绩"])
        found[seats[score["准考证号"]]][subject] = mark
    for correction in rows("score_corrections"):
        found[correction["application_id"]][correction["subject"]] = Decimal(correction["marks"])
    return found


def passed() -> set[str]:
    return {
        application
        for application, both in marks().items()
        if all(mark is not None and mark >= 60 for mark in both.values())
    }


def test_exactly_those_who_passed_have_both_certificates(facts: dict[str, Any]) -> None:
    issued: dict[str, list[str]] = defaultdict(list)
    for fact in facts["certificate_issued"]:
        issued[fact["application_id"]].append(fact["kind"])
    assert set(issued) == passed()
    assert all(sorted(kinds) == ["national", "omc"] for kinds in issued.values())
    numbers = [fact["number"] for fact in facts["certificate_numbered"]]
    assert len(set(numbers)) == len(numbers) == 2 * len(passed())


def test_every_version_of_a_certificate_has_the_card_whose_hash_is_recorded(
    loaded: Ledger, entries: list[JournalEntry]
) -> None:
    """Source: source-document 5.2, 5.3."""
    texts: list[Any] = [each.fact for each in entries if isinstance(each.fact, CERTIFICATE_TEXT)]
    assert len(texts) > 200
    for fact in texts:
        given = card_at(loaded, fact.application_id, fact.kind, fact.number, fact.version)
        assert given.sha256 == fact.card_sha256


def test_marks_are_on_both_sides_of_the_pass_line(facts: dict[str, Any]) -> None:
    results = [tuple(both.values()) for both in marks().values()]
    line, below = Decimal("60"), Decimal("59.5")
    assert (line, line) in results
    assert any(below in result and max(p or 0 for p in result) >= 60 for result in results)
    assert (None, None) in results
    assert any(None in result and result != (None, None) for result in results)
    assert len(results) - len(passed()) >= 30
    corrected = {f["objection_id"] for f in facts["score_corrected"]}
    assert None in corrected
    assert corrected - {None} == {f["objection_id"] for f in facts["objection_upheld"]}
    assert facts["objection_dismissed"]


def test_a_notice_is_public_for_five_working_days(facts: dict[str, Any]) -> None:
    opened = {f["notice_id"]: f for f in facts["public_notice_opened"]}
    assert len({f["session_id"] for f in opened.values()}) >= 3
    for fact in opened.values():
        first, last = (date.fromisoformat(fact[key]) for key in ("published_on", "ends_on"))
        days = chinese_calendar.get_workdays(first, last)
        assert len([day for day in days if day > first]) == 5
        assert last in days
    for fact in facts["public_notice_closed"]:
        closed = datetime.fromisoformat(fact["at"])
        assert closed.date().isoformat() > opened[fact["notice_id"]]["ends_on"]
    over_the_holiday = opened["N2609-4"]
    assert over_the_holiday["published_on"] == "2026-09-30"
    assert over_the_holiday["ends_on"] == "2026-10-13"
    assert {"main", "supplementary"} == {f["kind"] for f in opened.values()}


# --- views ----------------------------------------------------------------------------------------


def test_the_refund_ledger_agrees_with_a_recount_of_the_journal(
    views: Database, entries: list[JournalEntry]
) -> None:
    columns = ("paid_fen", "entitled_fen", "ordered_fen", "settled_fen")
    sql = f"SELECT payment_id, component, {', '.join(columns)} FROM views.refund_lines"
    lines = {
        (payment, component): dict(zip(columns, amounts, strict=True))
        for payment, component, *amounts in views.execute(sql)
    }
    assert len(lines) == 2 * len(rows("payments"))
    assert lines == recount.refund_amounts(entries)
    with views.connect() as connection, connection.cursor() as cursor:
        balance = refund_queries.trial_balance(cursor, "omc")
        broken = [row for row in refund_queries.invariants(cursor, "omc") if not row["holds"]]
    balances = {row["account"]: row["balance_fen"] for row in balance if row["balance_fen"]}
    assert balances == recount.balances(entries)
    assert broken == []


def test_the_score_board_agrees_with_a_recount_of_the_journal(
    views: Database, entries: list[JournalEntry]
) -> None:
    wanted = ("theory", "practical", "passed", "state")
    with views.connect() as connection, connection.cursor() as cursor:
        shown = {
            (row["notice_id"], row["application_id"]): {name: row[name] for name in wanted}
            for notice in board_queries.notices(cursor, "omc")
            for row in board_queries.rows(cursor, "omc", notice["notice_id"], limit=100_000)
        }
    assert len(shown) >= 100
    assert shown == recount.board(entries)


def test_the_registry_agrees_with_a_recount_of_the_journal(
    views: Database, entries: list[JournalEntry]
) -> None:
    columns = ("standing", "version", "progress", "application_id")
    sql = f"SELECT kind, number, {', '.join(columns)} FROM views.certificates"
    shown = {
        (kind, number): dict(zip(columns, values, strict=True))
        for kind, number, *values in views.execute(sql)
    }
    assert len(shown) == 2 * len(passed())
    assert shown == recount.certificates(entries)


# --- certificates ---------------------------------------------------------------------------------


def test_reported_rows_are_accepted_or_rejected_and_reported_again(facts: dict[str, Any]) -> None:
    answers = Counter(row["accepted"] for row in rows("report_answers"))
    assert len(facts["certificate_accepted"]) == answers["yes"]
    assert len(facts["certificate_rejected"]) == answers["no"] >= 4
    rejected = {f["application_id"] for f in facts["certificate_rejected"]}
    assert rejected <= {f["application_id"] for f in facts["certificate_accepted"]}
    assert {row["batch_type"] for row in rows("reports")} == {"new", "correction", "addendum"}


def test_certificates_become_visible_as_the_files_say(facts: dict[str, Any]) -> None:
    seen = Counter(f["scope"] for f in facts["certificate_visible"])
    assert seen == Counter(row["scope"] for row in rows("visibility"))
    assert set(seen) == {"province", "nation"}


def test_certificates_are_corrected_lost_suspended_and_revoked(facts: dict[str, Any]) -> None:
    changes = Counter(row["change"] for row in rows("certificate_changes"))
    assert set(changes) == {"correct", "reissue", "suspend", "reinstate", "revoke"}
    for change, topic in (
        ("correct", "corrected"), ("reissue", "reissued"), ("suspend", "suspended"),
        ("reinstate", "reinstated"), ("revoke", "revoked"),
    ):  # fmt: skip
        assert len(facts[f"certificate_{topic}"]) == changes[change]


def test_one_person_was_erased_by_two_and_the_records_are_kept(facts: dict[str, Any]) -> None:
    (erased,) = facts["erasure_confirmed"]
    assert erased["person_id"] == rows("erasures")[0]["person_id"]
    assert {each["because"] for each in erased["kept"]} == {
        *("assessment_records", "accounting_records", "bank_statements"),
    }
    assert len(facts["person_registered"]) == len(rows("persons"))


def test_the_cohort_shows_every_fact_of_a_journey_but_some(facts: dict[str, Any]) -> None:
    topics = {topic.removesuffix(".v1") for topic in CATALOGUE}
    # A notice is extended only where the calendar of its year was not known yet.
    # Keys, addresses, the continued log and the ledger `service` are the business of operators.
    # The database was never restored, so that no erasure was done again.
    # Nobody registers with another's document, everybody registers once, and who objects has.
    assert topics - set(facts) == {
        *("registration_contested", "registration_joined", "registration_rejected"),
        *("login_assigned", "person_recognised", "objector_named"),
        *("public_notice_extended", "issuer_url_set", "erasure_continued", "erasure_repeated"),
        *("key_introduced", "key_retired", "log_continued_elsewhere"),
        *("service_opened", "edition_copied"),
    }
