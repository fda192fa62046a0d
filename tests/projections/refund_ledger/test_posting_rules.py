"""Posting rules as plain arithmetic: every entry sums to zero, and the tax is what is contained."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import Component, Provider
from projections.refund_ledger import posting_rules as rules
from projections.refund_ledger.chart_of_accounts import ACCOUNTS
from projections.refund_ledger.posting_rules import Part
from projections.refund_ledger.voucher_rows import day

DAY = date(2026, 10, 15)
FEN_MAX = 2**53 - 1

parts = st.builds(
    Part,
    payment_id=st.just("PAY1"),
    component=st.sampled_from(Component).map(str),
    provider=st.sampled_from(Provider).map(str),
    fen=st.integers(0, FEN_MAX),
)


@given(st.lists(parts, max_size=4), parts, st.booleans(), st.integers(0, 5_000))
def test_every_rule_makes_an_entry_that_sums_to_zero_on_known_accounts(
    many: list[Part], one: Part, from_contract: bool, basis_points: int
) -> None:
    before = rules.VAT_RATES
    entries = [
        rules.fee_paid(many),
        rules.excess_received(many),
        rules.enrolled(many),
        rules.refund_entitled(many),
        rules.refund_accepted(one, "RPAY1-1"),
        rules.refund_settled(one, "RPAY1-1"),
        rules.refund_settled_off_path(one, "RPAY1-1"),
        rules.refund_closed(one, "RPAY1-1"),
    ]
    rates = ((date(2000, 1, 1), basis_points),)
    entries.append(rules.earned(one, DAY, from_contract=from_contract, rates=rates))
    for legs in entries:
        assert sum(leg.fen for leg in legs) == 0
        assert all(leg.fen for leg in legs)
        assert {leg.account for leg in legs} <= set(ACCOUNTS)
    assert rules.VAT_RATES is before


@given(st.integers(0, FEN_MAX), st.integers(0, 10_000))
def test_the_tax_contained_in_a_price_is_the_nearest_fen(fen: int, basis_points: int) -> None:
    tax = rules.vat_fen(fen, DAY, ((date(2000, 1, 1), basis_points),))
    assert 0 <= tax <= fen
    # tax / (price - tax) is the rate, to within half a fen of tax.
    assert abs(2 * (tax * (10_000 + basis_points) - fen * basis_points)) <= 10_000 + basis_points


def test_a_rate_holds_from_its_first_day() -> None:
    rates = ((date(2000, 1, 1), 0), (date(2027, 1, 1), 600))
    assert rules.vat_fen(10_600, date(2026, 12, 31), rates) == 0
    assert rules.vat_fen(10_600, date(2027, 1, 1), rates) == 600
    assert rules.vat_fen(10_600, date(1999, 1, 1), rates) == 0


def test_earning_a_taxed_price_splits_it() -> None:
    part = Part("PAY1", "study_material", "wechat", 10_600)
    rates = ((date(2000, 1, 1), 600),)
    legs = rules.earned(part, DAY, from_contract=False, rates=rates)
    assert [(leg.account, leg.fen) for leg in legs] == [
        ("2203.02", 10_600), ("6001.02", -10_000), ("2221", -600)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-12-31T15:59:59.999999Z", date(2026, 12, 31)),
        ("2026-12-31T16:00:00.000000Z", date(2027, 1, 1)),
    ],
)
def test_a_day_begins_at_midnight_in_shanghai(moment: str, expected: date) -> None:
    assert day(moment) == expected


def test_no_two_rules_share_a_name_and_no_two_accounts_a_code() -> None:
    assert len({rule.id for rule in rules.RULES}) == len(rules.RULES)
    assert len({account.beancount for account in ACCOUNTS.values()}) == len(ACCOUNTS)
    assert all(code == account.code for code, account in ACCOUNTS.items())
