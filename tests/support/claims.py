"""The claims that follow from a list of facts, to compare with those that decisions took."""

from __future__ import annotations

from collections.abc import Iterable

from domain import events as e
from domain.claims import Claim, EarlierFacts, claims_of


def live_after(facts: Iterable[e.Fact]) -> set[Claim]:
    """The claims that are taken after these facts, as the audit computes them."""
    earlier, live = EarlierFacts(), set[Claim]()
    for fact in facts:
        change = claims_of(fact, earlier)
        assert live.issuperset(change.releases), f"{fact.TOPIC} releases what is not taken"
        live -= set(change.releases)
        assert not live & set(change.takes), f"{fact.TOPIC} takes what is taken"
        live |= set(change.takes)
        if fact.TOPIC in EarlierFacts.TOPICS:
            earlier.add(fact)
    return live
