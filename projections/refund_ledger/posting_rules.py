"""Posting rules: pure functions from amounts to double entries, each with an id and a version.

An entry is a list of legs that sums to zero; legs of 0 fen are omitted. A changed rule gets the
next version here and the view its next version; a changed rate is an edition of posting.
Source: source-document 2.1-2.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from projections.refund_ledger import chart_of_accounts as chart

Rates = tuple[tuple[date, int], ...]

VAT_RATES: Rates = ((date(2000, 1, 1), 0),)
"""(valid from, basis points) of value-added tax contained in a price, in order; the
ones of the packaged edition of posting, which hold until another is adopted."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule that produced an entry. version: raised when its legs change."""

    id: str
    version: int = 1


class Leg(NamedTuple):
    """One line of an entry. fen: debit if positive, credit if negative, never 0."""

    account: str
    fen: int
    payment_id: str
    component: str
    refund_no: str | None = None


class Part(NamedTuple):
    """One component of one payment that an entry is about."""

    payment_id: str
    component: str
    provider: str
    fen: int


FEE_PAID = Rule("fee_paid")
EXCESS_RECEIVED = Rule("excess_received")
MATERIAL_USED = Rule("material_used")
ENROLLED = Rule("enrolled")
CONTRACT_PERFORMED = Rule("contract_performed")
REFUND_ENTITLED = Rule("refund_entitled")
REFUND_ACCEPTED = Rule("refund_accepted")
REFUND_SETTLED = Rule("refund_settled")
REFUND_SETTLED_OFF_PATH = Rule("refund_settled_off_path")
REFUND_CLOSED = Rule("refund_closed")

RULES: tuple[Rule, ...] = (
    FEE_PAID,
    EXCESS_RECEIVED,
    MATERIAL_USED,
    ENROLLED,
    CONTRACT_PERFORMED,
    REFUND_ENTITLED,
    REFUND_ACCEPTED,
    REFUND_SETTLED,
    REFUND_SETTLED_OFF_PATH,
    REFUND_CLOSED,
)


def _pair(debit: str, credit: str, part: Part, refund_no: str | None = None) -> list[Leg]:
    """Two legs that move an amount; none for 0 fen."""
    if part.fen == 0:
        return []
    payment_id, component, _, fen = part
    return [
        Leg(debit, fen, payment_id, component, refund_no),
        Leg(credit, -fen, payment_id, component, refund_no),
    ]


def _pairs(pairs: Iterable[list[Leg]]) -> list[Leg]:
    return [leg for pair in pairs for leg in pair]


def fee_paid(parts: Iterable[Part]) -> list[Leg]:
    """待清算 to 预收: the money is conditional until the final review. Source: 2.1."""
    return _pairs(_pair(chart.clearing(p.provider), chart.ADVANCE[p.component], p) for p in parts)


def excess_received(parts: Iterable[Part]) -> list[Leg]:
    """待清算 to 应付退款: the payment was not owed, all of it is refunded."""
    return _pairs(_pair(chart.clearing(p.provider), chart.PAYABLE, p) for p in parts)


def enrolled(parts: Iterable[Part]) -> list[Leg]:
    """预收 to 合同负债: 报考成功, no refund from here on. Source: 2.4(2), 2.4(3)."""
    return _pairs(_pair(chart.ADVANCE[p.component], chart.CONTRACT[p.component], p) for p in parts)


def earned(part: Part, day: date, *, from_contract: bool, rates: Rates = VAT_RATES) -> list[Leg]:
    """预收 or 合同负债 to income and the tax that the price contains. Source: 2.4(1).

    day: decides the rate. from_contract: whether 报考成功 has come already.
    """
    owed = (chart.CONTRACT if from_contract else chart.ADVANCE)[part.component]
    tax = vat_fen(part.fen, day, rates)
    named = (part.payment_id, part.component)
    legs = [
        Leg(owed, part.fen, *named),
        Leg(chart.REVENUE[part.component], tax - part.fen, *named),
        Leg(chart.VAT, -tax, *named),
    ]
    return [leg for leg in legs if leg.fen]


def refund_entitled(parts: Iterable[Part]) -> list[Leg]:
    """预收 to 应付退款: the application failed. Source: 2.4(1)."""
    return _pairs(_pair(chart.ADVANCE[p.component], chart.PAYABLE, p) for p in parts)


def refund_accepted(part: Part, refund_no: str) -> list[Leg]:
    """退款中间户 to 待清算: the provider accepted the refund."""
    return _pair(chart.transit(part.provider), chart.clearing(part.provider), part, refund_no)


def refund_settled(part: Part, refund_no: str) -> list[Leg]:
    """应付退款 to 退款中间户: the money reached the candidate."""
    return _pair(chart.PAYABLE, chart.transit(part.provider), part, refund_no)


def refund_settled_off_path(part: Part, refund_no: str) -> list[Leg]:
    """The provider returned the money and the bank paid it out: 1002 in and out, gross."""
    return [
        *_pair(chart.BANK, chart.transit(part.provider), part, refund_no),
        *_pair(chart.PAYABLE, chart.BANK, part, refund_no),
    ]


def refund_closed(part: Part, refund_no: str) -> list[Leg]:
    """The acceptance reversed; the liability stays."""
    return _pair(chart.clearing(part.provider), chart.transit(part.provider), part, refund_no)


def vat_fen(gross_fen: int, day: date, rates: Rates = VAT_RATES) -> int:
    """Tax contained in a price, fen, rounded half up; 0 <= x <= gross.

    day: in Asia/Shanghai or UTC; a rate begins on its first day.
    """
    rate = 0
    for begins, basis_points in rates:
        if begins <= day:
            rate = basis_points
    # gross * rate / (100 % + rate), in integers.
    return (2 * gross_fen * rate + 10_000 + rate) // (2 * (10_000 + rate))
