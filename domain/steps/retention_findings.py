"""What has to be kept of a person's data, by which rule and until when (保存期限核对).

Two things keep a class of data: a rule of the retention edition, for a number of years after
something ended, and whatever still runs, until it ends. What neither keeps may go.
Reading order: RUNNING, Findings, `findings_of`, then one function for each thing that keeps.
Source: PIPL art. 47; 会计档案管理办法; source-document 2.4(1), 5.1, 5.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from datetime import date
from typing import Any, NamedTuple

from domain import events as e
from domain.decision import RecordedMatters
from domain.editions.edition import EditionKind, canonical_json
from domain.editions.retention import RetentionKind, RetentionRule, RetentionRules
from domain.events import CertificateKind, KeptBy
from domain.states.application import Candidacy, Certificate
from domain.steps.number_allocation import ResultNotFinal, final_from, is_unnumbered
from domain.steps.refund import is_unsuccessful, refusal
from domain.values.sealed_fields import DataClass
from domain.values.working_days import shanghai_date

RUNNING: dict[KeptBy, frozenset[DataClass]] = {
    KeptBy.CERTIFICATE_IN_FORCE: frozenset(
        {DataClass.IDENTITY, DataClass.REMARKS, DataClass.CERTIFICATE}
    ),
    KeptBy.CERTIFICATE_DUE: frozenset(
        {DataClass.IDENTITY, DataClass.REMARKS, DataClass.CERTIFICATE}
    ),
    KeptBy.UNREPORTED_NUMBER: frozenset(
        {DataClass.IDENTITY, DataClass.REMARKS, DataClass.CERTIFICATE}
    ),
    KeptBy.OPEN_REFUND: frozenset(
        {DataClass.IDENTITY, DataClass.CONTACT, DataClass.REMARKS, DataClass.MONEY}
    ),
    KeptBy.OPEN_NOTICE: frozenset(
        {DataClass.IDENTITY, DataClass.CONTACT, DataClass.STATEMENTS, DataClass.REMARKS}
    ),
    KeptBy.OPEN_OBJECTION: frozenset({DataClass.IDENTITY, DataClass.CONTACT, DataClass.REMARKS}),
}
"""The classes that something needs while it runs."""

OBJECTION = frozenset({DataClass.IDENTITY, DataClass.REMARKS})
"""What a settled objection is a record of."""

_REPORTED = frozenset({"accepted", "visible"})

_Keeper = tuple[KeptBy, frozenset[DataClass], date | None]
"""What keeps, which classes, and the last day; None: until it has ended."""


class Findings(NamedTuple):
    """What of a person's data has to be kept.

    edition: of the rules. kept: in order of class and cause. awaited: public notices that are not
    closed.
    """

    person_id: str
    edition: str
    kept: tuple[e.KeptClass, ...]
    awaited: tuple[str, ...]

    @property
    def ends(self) -> tuple[DataClass, ...]:
        """The classes that nothing keeps."""
        kept = {each.data_class for each in self.kept}
        return tuple(each for each in DataClass if each not in kept)

    def without(self, classes: Collection[DataClass]) -> Findings:
        """As if nothing kept these classes."""
        kept = tuple(each for each in self.kept if each.data_class not in classes)
        return self._replace(kept=kept)

    def sha256(self, reason: e.ErasureReason) -> str:
        """What a second person confirms, 64 hex digits."""
        content = {
            "edition": self.edition,
            "ends": [each.value for each in self.ends],
            "kept": [each.model_dump(mode="json") for each in self.kept],
            "person_id": self.person_id,
            "reason": reason.value,
        }
        return hashlib.sha256(canonical_json(content)).hexdigest()


def findings_of(world: RecordedMatters, person_id: str, today: date) -> Findings:
    """What keeps a person's data on a day, of all their applications and objections."""
    editions = world.editions(EditionKind.RETENTION)
    rules = {each.kind: each for each in editions.rules(RetentionRules, today).rules}
    awaited: dict[str, None] = {}
    until: dict[tuple[DataClass, KeptBy], date | None] = {}
    for because, classes, last in (
        *_applications(world, person_id, rules, awaited),
        *_objections(world, person_id, rules, awaited),
    ):
        if last is not None and last < today:
            continue
        for each in classes:
            before = until.get((each, because), last)
            until[each, because] = None if None in (before, last) else _later(before, last)
    order = {each: place for place, each in enumerate((*DataClass, *KeptBy))}
    kept = tuple(
        e.KeptClass(data_class=data_class, because=because, until=until[data_class, because])
        for data_class, because in sorted(until, key=lambda key: (order[key[0]], order[key[1]]))
    )
    return Findings(person_id, editions.in_force(today)[0].edition, kept, tuple(sorted(awaited)))


def _later(one: date | None, other: date | None) -> date:
    assert one is not None
    assert other is not None
    return max(one, other)


def rules_in(world: RecordedMatters, today: date) -> dict[str, RetentionRule]:
    """The rules of retention on a day by their kind, to tell their years and basis."""
    rules = world.editions(EditionKind.RETENTION).rules(RetentionRules, today).rules
    return {each.kind.value: each for each in rules}


# --- applications ---------------------------------------------------------------------------------

_Rules = dict[RetentionKind, RetentionRule]


def _applications(
    world: RecordedMatters, person_id: str, rules: _Rules, awaited: dict[str, None]
) -> Iterator[_Keeper]:
    for key in world.claims_under("person_application", f"{person_id}|"):
        state = world.candidacy(key.partition("|")[2])
        yield from _procedure(world, state, rules, awaited)
        yield from _objected_to(world, state, awaited)
        yield from _money(state, rules)
        for certificate in state.certificates.values():
            yield from _certificate(certificate, rules)


def _procedure(
    world: RecordedMatters, state: Candidacy, rules: _Rules, awaited: dict[str, None]
) -> Iterator[_Keeper]:
    """The records of the procedure, from when it failed or its result was final."""
    closed_on = state.closed_on
    if not is_unsuccessful(state):
        closed_on = _final_on(world, state)
    if closed_on is None:
        if state.notice_id is not None:
            awaited[state.notice_id] = None
        yield _running(KeptBy.OPEN_NOTICE)
        return
    yield _ended(rules[RetentionKind.ASSESSMENT_RECORDS], closed_on)
    due = [kind for kind in CertificateKind if is_unnumbered(state, kind)]
    if not is_unsuccessful(state) and state.has_passed() and due:
        yield _running(KeptBy.CERTIFICATE_DUE)


def _final_on(world: RecordedMatters, state: Candidacy) -> date | None:
    try:
        return final_from(world, state)
    except ResultNotFinal:
        return None


def _money(state: Candidacy, rules: _Rules) -> Iterator[_Keeper]:
    """Money that has to go back, and the books of the year in which money last moved."""
    settled = {(r.payment_id, r.component) for r in state.refunds if r.state == "settled"}
    for line in state.paid:
        owed = line.excess or is_unsuccessful(state)
        is_open = (line.payment_id, line.component) not in settled
        if line.amount_fen and owed and is_open and refusal(state, line) is None:
            yield _running(KeptBy.OPEN_REFUND)
    moved = [line.paid_at for line in state.paid]
    moved += [refund.settled_at for refund in state.refunds if refund.settled_at is not None]
    if moved:
        year_end = date(max(map(shanghai_date, moved)).year, 12, 31)
        yield _ended(rules[RetentionKind.ACCOUNTING_RECORDS], year_end)
        yield _ended(rules[RetentionKind.BANK_STATEMENTS], year_end)


def _certificate(certificate: Certificate, rules: _Rules) -> Iterator[_Keeper]:
    if certificate.standing == "revoked":
        assert certificate.ended_on is not None
        yield _ended(rules[RetentionKind.CERTIFICATES], certificate.ended_on)
        return
    if certificate.version > 0:
        yield _running(KeptBy.CERTIFICATE_IN_FORCE)
    is_reported = certificate.progress in _REPORTED
    if certificate.version == 0 or (
        certificate.kind is CertificateKind.NATIONAL and not is_reported
    ):
        yield _running(KeptBy.UNREPORTED_NUMBER)


# --- objections -----------------------------------------------------------------------------------


def _objected_to(
    world: RecordedMatters, state: Candidacy, awaited: dict[str, None]
) -> Iterator[_Keeper]:
    """What somebody wrote against one of the application's rows.

    Also of a row that another notice made final meanwhile: the objection to it has no outcome yet.
    """
    for notice_id in state.notices:
        notice = world.notice(notice_id)
        if not notice.closed and state.id in notice.objections.values():
            awaited[notice.id] = None
            yield _running(KeptBy.OPEN_OBJECTION)


def _objections(
    world: RecordedMatters, person_id: str, rules: _Rules, awaited: dict[str, None]
) -> Iterator[_Keeper]:
    """What the person wrote against a row, their own or somebody else's."""
    for key in world.claims_under("person_objection", f"{person_id}|"):
        notice = world.notice(key.split("|")[1])
        if not notice.closed:
            awaited[notice.id] = None
            yield _running(KeptBy.OPEN_OBJECTION)
            continue
        rule = rules[RetentionKind.ASSESSMENT_RECORDS]
        because, classes, last = _ended(rule, notice.ends_on)
        yield because, classes & OBJECTION, last


# --- what both have in common ---------------------------------------------------------------------


def _running(because: KeptBy) -> _Keeper:
    return because, RUNNING[because], None


def _ended(rule: RetentionRule, start: date) -> _Keeper:
    return KeptBy(rule.kind.value), frozenset(rule.classes), years_after(start, rule.years)


def years_after(day: date, years: int) -> date:
    """The corresponding day, the last of February for its 29th. years: 0 to 100."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 2, 28)


def as_answer(findings: Findings, rules: dict[str, RetentionRule]) -> dict[str, Any]:
    """The findings as JSON for a receipt, with the basis and the years of each rule."""

    def basis(kept: e.KeptClass) -> dict[str, Any]:
        rule = rules.get(kept.because.value)
        return {} if rule is None else {"basis": rule.basis, "years": rule.years}

    return {
        "edition": findings.edition,
        "ends": [each.value for each in findings.ends],
        "kept": [{**each.model_dump(mode="json"), **basis(each)} for each in findings.kept],
    }
