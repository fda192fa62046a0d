"""The editions of one kind: adopted ones, and proposals that wait for a second person.

Which edition holds on a day is asked here; the packaged ones are the first of each kind.
Reading order: Editions, the rules of each kind on a day, FOLDS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel

from domain import events as e
from domain.actors import subject_of
from domain.documents.document_rules import DocumentRules
from domain.editions.contents import rules_of
from domain.editions.edition import Edition, EditionKind
from domain.editions.fees import FeeTable
from domain.editions.packaged import packaged_editions
from domain.eligibility.rule_sets import EligibilityRules, RuleSet, UnknownRuleSet
from domain.values.fast_replace import replace
from domain.values.working_days import HolidayTable, WorkingCalendar

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ProposedEdition:
    """An edition that waits for a second person. by: who proposed it."""

    edition: Edition
    by: str


@dataclass(frozen=True, slots=True)
class Editions:
    """The editions of one kind. adopted: in order, copied ones too. proposals: by their hash.

    copies: hash -> position in the ledger `service`, also of those that do not hold here.
    set_aside: those, each with the name of the edition in its way.
    """

    id: EditionKind
    adopted: tuple[Edition, ...] = ()
    copies: dict[str, int] = field(default_factory=dict)
    set_aside: tuple[tuple[Edition, str], ...] = ()
    proposals: dict[str, ProposedEdition] = field(default_factory=dict)
    version: int = 0

    def all(self) -> tuple[Edition, ...]:
        """The packaged ones, then the adopted ones in order."""
        return (*packaged_editions(self.id), *self.adopted)

    def in_force(self, day: date) -> tuple[Edition, ...]:
        """The edition that holds on a day, of each scope in order of its first edition.

        Of those that have begun, the one with the latest first day holds, of two with the same
        day the one adopted later.
        """
        if not self.adopted:
            return packaged_editions(self.id)
        found: dict[str, Edition] = {}
        for each in self.all():
            if each.valid_from > day:
                continue
            before = found.get(each.scope)
            if before is None or before.valid_from <= each.valid_from:
                found[each.scope] = each
        return tuple(found.values())

    def rules(self, model: type[M], day: date) -> M:
        """The rules on a day, of a kind that one edition rules as a whole."""
        return rules_of(self.in_force(day)[0], model)


def calendar_on(editions: Editions, day: date) -> WorkingCalendar:
    """The calendar that counts terms on a day. Source: source-document 5.1."""
    return _calendar(editions.in_force(day)[0])


@lru_cache(maxsize=64)
def _calendar(edition: Edition) -> WorkingCalendar:
    return rules_of(edition, HolidayTable).calendar(edition.edition)


def document_rules_on(editions: Editions, day: date) -> DocumentRules:
    """The rules of documents on a day. Source: source-document 3.1(1)-(5), 5.3."""
    return editions.rules(DocumentRules, day)


def fees_on(editions: Editions, day: date) -> FeeTable:
    """What applications cost on a day. Source: source-document 2.1-2.3."""
    return editions.rules(FeeTable, day)


def rule_set_on(editions: Editions, occupation: str, standard: str, day: date) -> RuleSet:
    """The eligibility rules of an occupation on a day.

    occupation: its code, or an alias. standard: edition of the occupational standard.
    Raises: UnknownRuleSet. Source: source-document 3.2(1).
    """
    aliased: RuleSet | None = None
    for edition in editions.in_force(day):
        rules = _rule_set(edition)
        if rules.edition != standard:
            continue
        if rules.occupation == occupation:
            return rules
        if occupation in rules.aliases:
            aliased = rules
    if aliased is None:
        raise UnknownRuleSet(occupation=occupation, edition=standard)
    return aliased


def rule_set_of(editions: Editions, sha256: str) -> RuleSet | None:
    """The rules that an assessment names by their digest; None if they were never adopted."""
    return next((_rule_set(each) for each in editions.all() if each.sha256 == sha256), None)


def occupations(editions: Editions) -> tuple[str, ...]:
    """The code of every occupation that any edition of eligibility has had rules for."""
    return tuple({edition.content["occupation"]: None for edition in editions.all()})


@lru_cache(maxsize=256)
def _rule_set(edition: Edition) -> RuleSet:
    rules = rules_of(edition, EligibilityRules)
    return RuleSet(**dict(rules), digest=edition.sha256)


# --- folds ----------------------------------------------------------------------------------------


def edition_of(fact: e.EditionProposed | e.EditionAdopted | e.EditionCopied) -> Edition:
    """The edition in a fact."""
    return Edition(fact.kind, fact.edition, fact.valid_from, fact.content, fact.sha256)


def _proposed(state: Editions | None, fact: e.EditionProposed, entry: Any) -> Editions:
    state = state or Editions(fact.kind)
    proposal = ProposedEdition(edition_of(fact), subject_of(entry))
    return replace(state, proposals={**state.proposals, fact.sha256: proposal})


def _adopted(state: Editions, fact: e.EditionAdopted | e.EditionCopied, entry: Any) -> Editions:
    """Other proposals under the name that is taken now can never be adopted."""
    return replace(
        state,
        adopted=(*state.adopted, edition_of(fact)),
        proposals={
            key: each
            for key, each in state.proposals.items()
            if each.edition.edition != fact.edition
        },
    )


def _copied(state: Editions | None, fact: e.EditionCopied, entry: Any) -> Editions:
    """A copy is as an adoption, unless something is in its way."""
    state = state or Editions(fact.kind)
    state = replace(state, copies={**state.copies, fact.sha256: fact.service_position})
    if fact.in_the_way is None:
        return _adopted(state, fact, entry)
    return replace(state, set_aside=(*state.set_aside, (edition_of(fact), fact.in_the_way)))


FOLDS: dict[type[e.Fact], Callable[[Any, Any, Any], Any]] = {
    e.EditionProposed: _proposed,
    e.EditionAdopted: _adopted,
    e.EditionCopied: _copied,
}
"""Fact class -> the fold that applies it."""
