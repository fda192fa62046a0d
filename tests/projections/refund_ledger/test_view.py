"""Money that came, is owed back and went back; and the vouchers of it.

Covers: projections/refund_ledger/view.py, projections/refund_ledger/tables.py,
projections/refund_ledger/queries.py, projections/refund_ledger/voucher_rows.py,
projections/refund_ledger/chart_of_accounts.py
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from domain.actors import service_actor
from domain.editions.edition import EditionKind
from domain.events import Component, Item, Provider
from domain.steps.edition_adoption import ProposeEdition
from projections.refund_ledger import queries as q
from projections.refund_ledger.chart_of_accounts import ACCOUNTS
from projections.refund_ledger.posting_rules import RULES
from tests.projections.grammar import ProjectedLedger
from tests.support.actors import FINANCE, FINANCE_2, candidate
from tests.support.commands import adopt_edition, copy_of, order, pay, pay_again, use, withdraw
from tests.support.editions import changed
from tests.support.journeys import (
    a_paid_application,
    a_rejected_application,
    an_eligible_application,
    an_enrolled_application,
    published_results,
)
from tests.support.refunds import approve, decline, provider_outcome
from tests.support.world import World

CERT, MATERIAL = Component.CERTIFICATION_FEE, Component.STUDY_MATERIAL


def entries(ledger: ProjectedLedger, *rules: str) -> list[dict[str, int]]:
    """Each voucher as account -> debit minus credit, fen; of some rules, or all."""
    found: dict[int, dict[str, int]] = {}
    for p in ledger.rows("postings", "entry_no, line"):
        if not rules or p["rule_id"] in rules:
            entry = found.setdefault(p["entry_no"], {})
            net = p["debit_fen"] - p["credit_fen"]
            entry[p["account"]] = entry.get(p["account"], 0) + net
    return list(found.values())


def line(ledger: ProjectedLedger, component: Component, payment: str = "PAY1") -> dict[str, Any]:
    return ledger.row("refund_lines", payment_id=payment, component=component.value)


def steps(ledger: ProjectedLedger) -> list[str]:
    with ledger.cursor() as cursor:
        return [step["step"] for step in q.steps(cursor, "omc")]


def moved(world: World, *outcomes: str, number: str = "RPAY1-1", **more: Any) -> World:
    """A refund ordered, approved, and then what the provider says."""
    world.do(approve(number), by=FINANCE_2)
    for outcome in outcomes:
        fields: dict[str, Any] = {"reason": "账户注销"}
        if outcome in ("accepted", "settled"):
            fields = {"provider_refund_id": "5030001"}
        if outcome == "settled":
            fields |= {"channel": "original", "settled_at": world.now} | more
        world.do(provider_outcome(outcome, number, **fields), by=FINANCE)
    return world


def an_ordered_refund(**paid: Any) -> World:
    world = an_eligible_application()
    world.do(pay(1, world, **paid), by=FINANCE)
    world.do(withdraw(), by=candidate())
    world.do(order(CERT), by=FINANCE)
    return world


# --- lines ---------------------------------------------------------------------------------------


def test_a_payment_has_a_line_for_each_component(ledger: ProjectedLedger) -> None:
    """Source: source-document 2.1."""
    ledger.record(a_paid_application()).fold()
    fee = line(ledger, CERT)
    assert (fee["paid_fen"], fee["state"], fee["booked"]) == (30_000, "paid", "advance")
    assert (fee["provider"], fee["merchant_order_no"]) == ("wechat", "ORDER1")
    assert fee["provider_transaction_id"] == "4200000000000000000000000001"
    assert line(ledger, MATERIAL)["paid_fen"] == 18_000


def test_a_failed_application_is_entitled_to_both_components(ledger: ProjectedLedger) -> None:
    """Source: source-document 2.4(1)."""
    ledger.record(a_rejected_application()).fold()
    assert [line(ledger, c)["entitled_fen"] for c in (CERT, MATERIAL)] == [30_000, 18_000]
    assert {line(ledger, c)["state"] for c in (CERT, MATERIAL)} == {"entitled"}
    assert steps(ledger) == ["entitled", "entitled"]


def test_used_material_is_income_and_never_owed_back(ledger: ProjectedLedger) -> None:
    """Source: source-document 2.4(1)."""
    world = a_rejected_application(used=[Item.MOCK_EXAM, Item.HANDBOOK])
    world.do(order(MATERIAL), by=FINANCE)
    ledger.record(world).fold()
    material = line(ledger, MATERIAL)
    assert (material["entitled_fen"], material["booked"]) == (0, "income")
    assert material["used_items"] == ["mock_exam", "handbook"]
    assert (material["refused"], material["refused_clause"]) == ("study_material_used", "2.4(1)")
    assert material["state"] == "refused"
    assert entries(ledger, "material_used") == [{"2203.02": 18_000, "6001.02": -18_000}]
    assert entries(ledger, "refund_entitled") == [{"2203.01": 30_000, "2241.01": -30_000}]


def test_after_the_final_review_nothing_is_refunded(ledger: ProjectedLedger) -> None:
    """Source: source-document 2.4(2)."""
    world = an_enrolled_application()
    world.do(order(CERT), by=FINANCE)
    ledger.record(world).fold()
    fee = line(ledger, CERT)
    assert (fee["state"], fee["refused"], fee["refused_clause"]) == (
        "refused", "final_review_passed", "2.4(2)"
    )  # fmt: skip
    assert line(ledger, MATERIAL)["state"] == "enrolled"
    assert steps(ledger) == ["refused"]


def test_a_refund_is_followed_from_order_to_arrival(ledger: ProjectedLedger) -> None:
    """Source: source-document 2.4(1)."""
    world = moved(an_ordered_refund(), "accepted", "settled")
    ledger.record(world).fold()
    fee = line(ledger, CERT)
    amounts = ("entitled_fen", "ordered_fen", "approved_fen", "accepted_fen", "settled_fen")
    assert [fee[name] for name in amounts] == [30_000] * 5
    assert (fee["state"], fee["refund_no"]) == ("settled", "RPAY1-1")
    assert fee["provider_refund_id"] == "5030001"
    with ledger.cursor() as cursor:
        refund = q.refund(cursor, "omc", "RPAY1-1")
        done = q.steps(cursor, "omc", refund_no="RPAY1-1")
        assert q.refund(cursor, "omc", "RNOBODY-1") is None
    assert refund is not None
    assert (refund["state"], refund["channel"]) == ("settled", "original")
    assert (refund["ordered_by"], refund["approved_by"]) == ("finance-1", "finance-2")
    assert [(s["step"], s["subject"]) for s in done] == [
        ("ordered", "finance-1"),
        ("approved", "finance-2"),
        ("accepted", "finance-1"),
        ("settled", "finance-1"),
    ]


def test_a_declined_refund_frees_its_amount_for_another_order(ledger: ProjectedLedger) -> None:
    world = an_ordered_refund()
    world.do(decline(), by=FINANCE_2)
    ledger.record(world).fold()
    assert (line(ledger, CERT)["ordered_fen"], line(ledger, CERT)["state"]) == (0, "declined")
    world.do(order(CERT), by=FINANCE)
    ledger.record(world).fold()
    assert (line(ledger, CERT)["ordered_fen"], line(ledger, CERT)["refund_no"]) == (
        30_000,
        "RPAY1-2",
    )
    assert [r["state"] for r in ledger.rows("refunds", "refund_no")] == ["declined", "ordered"]


def test_an_excess_payment_is_owed_back_at_once(ledger: ProjectedLedger) -> None:
    world = a_paid_application()
    world.do(pay_again(paid_at=world.now, provider=Provider.ALIPAY), by=FINANCE)
    ledger.record(world).fold()
    again = line(ledger, CERT, "TWIN1")
    assert (again["excess"], again["entitled_fen"], again["state"]) == (
        "component_already_paid", 30_000, "entitled"
    )  # fmt: skip
    assert entries(ledger, "excess_received") == [{"1012.02.1": 48_000, "2241.01": -48_000}]
    world.do(order(CERT, "TWIN1"), by=FINANCE)
    ledger.record(world).fold()
    assert ledger.row("refunds")["clause"] == "excess"


# --- vouchers ------------------------------------------------------------------------------------


def test_vouchers_of_a_journey_that_succeeds(ledger: ProjectedLedger) -> None:
    """Advance, contract, and revenue once the exam is given. Source: source-document 2.4(2)."""
    ledger.record(published_results()).fold()
    assert entries(ledger) == [
        {"1012.01.1": 48_000, "2203.01": -30_000, "2203.02": -18_000},
        {"2203.01": 30_000, "2205.01": -30_000, "2203.02": 18_000, "2205.02": -18_000},
        {"2205.01": 30_000, "6001.01": -30_000},
    ]


def test_material_used_after_the_final_review_is_earned_from_the_contract(
    ledger: ProjectedLedger,
) -> None:
    world = an_enrolled_application()
    world.do(use(Item.RECORDED_COURSE), by=candidate())
    world.do(use(Item.MOCK_EXAM), by=candidate())
    ledger.record(world).fold()
    assert entries(ledger, "material_used") == [{"2205.02": 18_000, "6001.02": -18_000}]
    assert line(ledger, MATERIAL)["state"] == "enrolled"


def rates(edition: str, first: date, material_bp: int) -> ProposeEdition:
    """An edition of posting with a rate of tax on study material."""
    vat = {"certification_fee": 600, "study_material": material_bp}
    return changed(EditionKind.POSTING, edition, first, vat_rate_bp=vat)


def test_the_tax_in_a_price_is_that_of_the_edition_that_held_when_it_was_posted(
    ledger: ProjectedLedger,
) -> None:
    """Adopted before, and begun by the day of the use. Source: source-document 2.4(1)."""
    world = an_enrolled_application(2, an_enrolled_application(1))
    adopt_edition(world, rates("posting-1", date(2026, 1, 1), 1_300))
    adopt_edition(world, rates("posting-2", date(2026, 3, 1), 300))
    adopt_edition(world, rates("posting-3", date(2027, 1, 1), 0))
    ledger.record(world).fold()
    world.do(use(Item.MOCK_EXAM, 1), by=candidate(1))
    ledger.record(world).fold()
    taxed = {"2205.02": 18_000, "6001.02": -17_476, "2221": -524}
    assert entries(ledger, "material_used") == [taxed]
    adopt_edition(world, rates("posting-4", date(2026, 3, 1), 0))
    world.do(use(Item.MOCK_EXAM, 2), by=candidate(2))
    ledger.record(world).fold()
    untaxed = {"2205.02": 18_000, "6001.02": -18_000}
    assert entries(ledger, "material_used") == [taxed, untaxed]


def test_rates_that_were_copied_hold_as_those_that_were_adopted(ledger: ProjectedLedger) -> None:
    """Unless an edition of the ledger has the copy's name."""
    world = an_enrolled_application()
    adopt_edition(world, rates("posting-1", date(2026, 1, 1), 1_300))
    for position, copy in enumerate((("posting-2", 300), ("posting-1", 0)), 1):
        proposal = rates(copy[0], date(2026, 3, 1), copy[1])
        world.do(copy_of(proposal, position), by=service_actor("copy_edition"))
    world.do(use(Item.MOCK_EXAM), by=candidate())
    ledger.record(world).fold()
    taxed = {"2205.02": 18_000, "6001.02": -17_476, "2221": -524}
    assert entries(ledger, "material_used") == [taxed]


def test_vouchers_of_a_refund(ledger: ProjectedLedger) -> None:
    ledger.record(moved(an_ordered_refund(), "accepted", "settled")).fold()
    assert entries(ledger)[1:] == [
        {"2203.01": 30_000, "2203.02": 18_000, "2241.01": -48_000},
        {"1012.01.3": 30_000, "1012.01.1": -30_000},
        {"2241.01": 30_000, "1012.01.3": -30_000},
    ]


def test_a_refund_that_the_provider_closed_reverses_the_acceptance_by_a_new_entry(
    ledger: ProjectedLedger,
) -> None:
    ledger.record(moved(an_ordered_refund(), "accepted", "closed")).fold()
    assert entries(ledger, "refund_accepted") == [{"1012.01.3": 30_000, "1012.01.1": -30_000}]
    assert entries(ledger, "refund_closed") == [{"1012.01.1": 30_000, "1012.01.3": -30_000}]
    fee = line(ledger, CERT)
    assert (fee["ordered_fen"], fee["accepted_fen"], fee["entitled_fen"]) == (0, 0, 30_000)


def test_an_entry_is_effective_when_the_provider_did_it(ledger: ProjectedLedger) -> None:
    """By the provider's clock where it is known, else when it was recorded. Source: 2.4(1)."""
    world = an_ordered_refund(channel_id="1900000109")
    world.do(approve(), by=FINANCE_2)
    accepted_at, closed_at = (world.now - timedelta(seconds=n) for n in (30, 10))
    number = {"provider_refund_id": "5030001"}
    world.do(provider_outcome("accepted", **number, accepted_at=accepted_at), by=FINANCE)
    world.do(provider_outcome("closed", reason="商户余额不足", closed_at=closed_at), by=FINANCE)
    ledger.record(world).fold()
    refund = ledger.row("refunds")
    assert (refund["accepted_at"], refund["channel_id"]) == (accepted_at, "1900000109")
    effective = {p["rule_id"]: p["effective_at"] for p in ledger.rows("postings")}
    assert effective["refund_accepted"] == accepted_at
    assert effective["refund_closed"] == closed_at


def test_a_refund_closed_before_acceptance_posts_nothing(ledger: ProjectedLedger) -> None:
    ledger.record(moved(an_ordered_refund(), "closed")).fold()
    assert entries(ledger, "refund_accepted", "refund_closed") == []


def test_an_abnormal_refund_posts_nothing_and_stays_open(ledger: ProjectedLedger) -> None:
    ledger.record(moved(an_ordered_refund(), "accepted", "abnormal")).fold()
    assert len(entries(ledger)) == 3
    with ledger.cursor() as cursor:
        (owed, *_) = q.owed(cursor, "omc")
        balances = {r["account"]: r["balance_fen"] for r in q.trial_balance(cursor, "omc")}
    assert (owed["state"], owed["open_fen"]) == ("abnormal", 30_000)
    assert (balances["1012.01.3"], balances["2241.01"]) == (30_000, -48_000)


def test_a_refund_paid_by_the_bank_instead_goes_through_the_bank_account(
    ledger: ProjectedLedger,
) -> None:
    world = moved(an_ordered_refund(), "accepted", "abnormal")
    world.do(
        provider_outcome(
            "settled", provider_refund_id="B1", channel="bank_transfer", settled_at=world.now
        ),
        by=FINANCE,
    )
    ledger.record(world).fold()
    assert entries(ledger, "refund_settled") == []
    (entry,) = entries(ledger, "refund_settled_off_path")
    assert entry == {"1002": 0, "1012.01.3": -30_000, "2241.01": 30_000}
    bank = ledger.rows("postings", account="1002")
    assert sorted((p["debit_fen"], p["credit_fen"]) for p in bank) == [(0, 30_000), (30_000, 0)]


def test_a_bank_payment_goes_back_by_the_bank_on_its_own_path(ledger: ProjectedLedger) -> None:
    world = an_ordered_refund(provider=Provider.BANK)
    ledger.record(moved(world, "accepted", "settled", channel="bank_transfer")).fold()
    assert entries(ledger, "refund_settled") == [{"2241.01": 30_000, "1012.03.3": -30_000}]


def test_a_posting_names_its_rule_its_event_and_both_times(ledger: ProjectedLedger) -> None:
    world = a_paid_application()
    paid_at = next(x.fact.paid_at for x in world.entries if x.fact.TOPIC == "fee_paid.v1")
    ledger.record(world).fold()
    posting = ledger.rows("postings", "entry_no, line")[0]
    event = ledger.journal.read(posting["position"] - 1, 1)[0]
    assert (posting["rule_id"], posting["rule_version"]) == ("fee_paid", 1)
    assert event.topic == "fee_paid.v1"
    assert posting["effective_at"] == paid_at
    assert posting["recorded_at"] == event.recorded_at
    known = {(rule.id, rule.version) for rule in RULES}
    assert {(p["rule_id"], p["rule_version"]) for p in ledger.rows("postings")} <= known
    assert {p["account"] for p in ledger.rows("postings")} <= set(ACCOUNTS)


# --- the database as second line of defence ------------------------------------------------------

POSTING = """INSERT INTO {table} (ledger, entry_no, line, position, rule_id, rule_version, account,
    debit_fen, credit_fen, application_id, payment_id, component, effective_at, recorded_at)
SELECT 'omc', 99, line, 1, 'by_hand', 1, '1002', debit, credit, 'A1', 'PAY1', 'study_material',
    now(), now() FROM (VALUES {values}) AS v (line, debit, credit)"""


def postings_table(ledger: ProjectedLedger) -> str:
    (number,) = ledger.execute(
        "SELECT generation FROM views.generations WHERE view='refund_ledger'"
    )
    return f"views.postings_g{number[0]}"


def test_an_entry_that_does_not_sum_to_zero_is_refused_by_the_database(
    ledger: ProjectedLedger,
) -> None:
    table = postings_table(ledger)
    with pytest.raises(psycopg2.errors.CheckViolation, match="entry 99 does not sum to zero"):
        ledger.execute(POSTING.format(table=table, values="(1, 5, 0), (2, 0, 4)"))
    assert ledger.rows("postings") == []
    ledger.execute(POSTING.format(table=table, values="(1, 5, 0), (2, 0, 5)"))


@pytest.mark.parametrize(
    "statement",
    ["UPDATE {t} SET debit_fen = debit_fen", "DELETE FROM {t}", "TRUNCATE {t}"],
)
def test_a_posting_cannot_be_changed_or_deleted(ledger: ProjectedLedger, statement: str) -> None:
    ledger.record(a_paid_application()).fold()
    with pytest.raises(psycopg2.errors.RestrictViolation):
        ledger.execute(statement.format(t=postings_table(ledger)))


# --- what finance asks ---------------------------------------------------------------------------


def test_balances_are_available_on_both_time_axes(ledger: ProjectedLedger) -> None:
    world = a_paid_application()
    before = ledger.record(world).fold().journal.head()
    world.do(withdraw(), by=candidate())
    ledger.record(world).fold()

    def balances(**bounds: Any) -> dict[str, int]:
        with ledger.cursor() as cursor:
            return {
                r["account"]: r["balance_fen"] for r in q.trial_balance(cursor, "omc", **bounds)
            }

    then = {"1012.01.1": 48_000, "2203.01": -30_000, "2203.02": -18_000}
    now = {"1012.01.1": 48_000, "2203.01": 0, "2203.02": 0, "2241.01": -48_000}
    assert balances() == now
    assert balances(as_of=before.position) == then
    assert balances(as_of=before.recorded_at) == then
    assert balances(effective=(None, world.now)) == then
    assert balances(recorded=(None, before.recorded_at + timedelta(microseconds=1))) == then
    assert balances(effective=(datetime(2027, 1, 1, tzinfo=UTC), None)) == {}


def test_invariants_hold_and_name_a_violation(ledger: ProjectedLedger) -> None:
    ledger.record(moved(an_ordered_refund(), "accepted")).fold()
    with ledger.cursor() as cursor:
        checked = q.invariants(cursor, "omc")
        assert all(row["holds"] for row in checked)
        assert len(checked) == 6
    ledger.execute(POSTING.format(table=postings_table(ledger), values="(1, 7, 0), (2, 0, 7)"))
    with ledger.cursor() as cursor:
        broken = [row["name"] for row in q.invariants(cursor, "omc") if not row["holds"]]
    assert broken == ["vouchers have no gap"]


def test_worklists_are_filtered_and_paged(ledger: ProjectedLedger) -> None:
    world = an_eligible_application()
    for n in (1, 2, 3):
        if n > 1:
            an_eligible_application(n, world)
        world.do(pay(n, world), by=FINANCE)
        world.do(withdraw(n), by=candidate(n))
        world.do(order(CERT, f"PAY{n}", n), by=FINANCE)
    world.do(approve("RPAY2-1", 2), by=FINANCE_2)
    ledger.record(world).fold()
    with ledger.cursor() as cursor:
        ordered = q.refunds(cursor, "omc", states=("ordered",))
        assert [r["refund_no"] for r in ordered] == ["RPAY1-1", "RPAY3-1"]
        assert [r["refund_no"] for r in q.refunds(cursor, "omc", after="RPAY2-1")] == ["RPAY3-1"]
        assert len(q.refunds(cursor, "omc", application_id="A2")) == 1
        assert len(q.lines(cursor, "omc", state="approved")) == 1
        assert len(q.lines(cursor, "omc", application_id="A3")) == 2
        listed: list[tuple[str, str, str]] = []
        while page := q.lines(cursor, "omc", after=listed[-1] if listed else None, limit=4):
            listed += [(r["application_id"], r["payment_id"], r["component"]) for r in page]
        assert len(set(listed)) == 6
        owed = q.owed(cursor, "omc", limit=2)
        last = owed[-1]
        key = (last["paid_at"], last["application_id"], last["payment_id"], last["component"])
        assert len(q.owed(cursor, "omc", after=key)) == 4
        assert q.owed(cursor, "omc", paid_before=owed[0]["paid_at"]) == []
        first = q.postings(cursor, "omc", limit=3)
        cut = (first[-1]["entry_no"], first[-1]["line"])
        rest = q.postings(cursor, "omc", after=cut)
        assert [(p["entry_no"], p["line"]) for p in first + rest] == [
            (p["entry_no"], p["line"]) for p in ledger.rows("postings", "entry_no, line")
        ]
        assert q.vouchers(cursor, "omc")["last_entry"] == 6
        assert {r["state"] for r in q.summary(cursor, "omc")} == {
            "ordered", "approved", "entitled"
        }  # fmt: skip


def test_payments_and_refunds_are_found_for_a_bill(ledger: ProjectedLedger) -> None:
    world = moved(an_ordered_refund(), "accepted")
    ledger.record(world).fold()
    day = (world.now - timedelta(days=1), world.now + timedelta(days=1))
    with ledger.cursor() as cursor:
        (paid,) = q.payments_paid_between(cursor, "omc", "wechat", *day)
        assert (paid["merchant_order_no"], paid["paid_fen"]) == ("ORDER1", 48_000)
        assert q.payments_of_orders(cursor, "omc", "wechat", ["ORDER1", "NONE"]) == [paid]
        (refund,) = q.refunds_accepted_between(cursor, "omc", "wechat", *day)
        assert q.refunds_of_numbers(cursor, "omc", [refund["refund_no"]]) == [refund]
        assert q.payments_paid_between(cursor, "omc", "alipay", *day) == []
