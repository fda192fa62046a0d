"""Which claims a fact takes and releases, as a function of facts.

A claim is a uniqueness reservation in a ledger, such as of a certificate number. `domain.commands`
computes the claims of every decision from here, and the audit computes the whole table of claims
again from the facts alone, so there is one rule for both. Reading order: Claim, ClaimChange,
Opened, claims_of, EarlierFacts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, TypeVar

from domain import events as e

Claim = tuple[str, str]
"""(kind, key): a uniqueness reservation in a ledger, such as of a certificate number."""


class ClaimChange(NamedTuple):
    """What one fact changes: claims that are taken, and claims that end.

    Releases come first, so that one command may pass a claim on.
    """

    takes: tuple[Claim, ...] = ()
    releases: tuple[Claim, ...] = ()


NO_CHANGE = ClaimChange()


class Holder(Protocol):
    """A person as far as claims depend on them; `domain.states.folds.Person` is one."""

    @property
    def subject(self) -> str | None: ...


class Opening(Protocol):
    """What an application was opened for; `domain.states.application.Candidacy` is one."""

    @property
    def person_id(self) -> str: ...
    @property
    def occupation(self) -> str: ...
    @property
    def level(self) -> int: ...


class ProviderRefund(NamedTuple):
    """A refund as far as claims depend on it. number: the provider's; None before it is known."""

    provider: e.Provider
    number: str | None


class Opened(Protocol):
    """What the facts before a fact opened, as far as its claims depend on it.

    Raises, from each method: what the reader raises for a thing that no earlier fact opened.
    """

    def person(self, person_id: str) -> Holder: ...
    def application(self, application_id: str) -> Opening: ...
    def refund(self, application_id: str, refund_no: str) -> ProviderRefund: ...
    def rows(self, notice_id: str) -> Iterable[str]: ...

    def is_erased(self, person_id: str) -> bool:
        """Whether an erasure of the person was recorded before."""
        ...

    def is_reviewed(self, person_id: str) -> bool:
        """Whether the documents of a person have passed all three reviews before."""
        ...

    def is_final(self, application_id: str) -> bool:
        """Whether an earlier notice closed with this application's row, which ended its claim."""
        ...


# --- the claims there are -------------------------------------------------------------------------


def login_claims(subject: str | None) -> tuple[Claim, ...]:
    """A person's login, if they have one. Source: 3.1(1).

    Their document is no claim: its index must not stay; see `domain.person_claims`.
    """
    return (login_claim(subject),) if subject else ()


def login_claim(pseudonym: str) -> Claim:
    """A login, for one person while their data are not erased."""
    return "person_login", pseudonym


def reviewed_claim(person_id: str) -> Claim:
    """Claimed for good for a person whose documents passed all three reviews. Source: 3.2(2)."""
    return "reviewed_person", person_id


def application_claim(person_id: str, application_id: str) -> Claim:
    """Held for good, so that the applications of a person are found by them."""
    return "person_application", f"{person_id}|{application_id}"


def objection_claim(person_id: str, notice_id: str, objection_id: str) -> Claim:
    """Held for good, so that the objections of a person are found by them."""
    return "person_objection", f"{person_id}|{notice_id}|{objection_id}"


def live_claim(person_id: str, occupation: str, level: int) -> Claim:
    """The claim of an open application: one per person, occupation and level. Source: 1.1."""
    return "live_application", f"{person_id}|{occupation}|{int(level)}"


def live_claim_of(opening: Opening) -> Claim:
    """The claim that an application holds while it is open."""
    return live_claim(opening.person_id, opening.occupation, opening.level)


def payment_claims(
    provider: e.Provider, provider_transaction_id: str, payment_id: str
) -> tuple[Claim, ...]:
    """The provider's number of the movement, and ours, each for one payment only. Source: 2.1."""
    key = f"{provider.value}|{provider_transaction_id}"
    return ("provider_transaction", key), ("payment", payment_id)


def refund_claim(refund_no: str) -> Claim:
    """The number of a refund, given once. Source: 2.4."""
    return "refund", refund_no


def provider_refund_claim(provider: e.Provider, provider_refund_id: str) -> Claim:
    """The provider's number of a refund, for one refund of ours only. Source: 2.4(1)."""
    return "provider_refund", f"{provider.value}|{provider_refund_id}"


def seat_claims(session_id: str, person_id: str, ticket_number: str) -> tuple[Claim, ...]:
    """One seat of a session for a person, whatever they applied for; its ticket. Source: 4.1."""
    return ("session_person", f"{session_id}|{person_id}"), ("ticket", ticket_number)


def number_claim(number: str) -> Claim:
    """A certificate's number, given once and for good. Source: 5.3."""
    return "certificate_number", number


# --- the rule of each fact ------------------------------------------------------------------------


def _registered(
    fact: e.PersonRegistered | e.RegistrationContested | e.LoginAssigned, opened: Opened
) -> ClaimChange:
    return ClaimChange(takes=login_claims(fact.subject))


def _joined(fact: e.RegistrationJoined, opened: Opened) -> ClaimChange:
    """The login goes on to the person, or ends with the registration."""
    return ClaimChange(releases=login_claims(opened.person(fact.person_id).subject))


def _erased(fact: e.ErasureConfirmed, opened: Opened) -> ClaimChange:
    return ClaimChange(releases=login_claims(opened.person(fact.person_id).subject))


def _erased_again(fact: e.ErasureRepeated, opened: Opened) -> ClaimChange:
    """The confirmation may be lost as well; if it is not, it has ended the claim."""
    if opened.is_erased(fact.person_id):
        return NO_CHANGE
    return ClaimChange(releases=login_claims(opened.person(fact.person_id).subject))


def _opened(fact: e.ApplicationOpened, opened: Opened) -> ClaimChange:
    return ClaimChange(takes=(application_claim(fact.person_id, fact.application_id),))


def _objected(fact: e.ObjectionFiled, opened: Opened) -> ClaimChange:
    return ClaimChange((objection_claim(fact.objector_id, fact.notice_id, fact.objection_id),))


def _confirmed(fact: e.EligibilityConfirmed, opened: Opened) -> ClaimChange:
    return ClaimChange(takes=(live_claim_of(opened.application(fact.application_id)),))


def _ended(fact: e.ApplicationFact, opened: Opened) -> ClaimChange:
    """A withdrawal or a rejection: the person may apply again."""
    return ClaimChange(releases=(live_claim_of(opened.application(fact.application_id)),))


def _paid(fact: e.FeePaid | e.ExcessPaymentReceived, opened: Opened) -> ClaimChange:
    return ClaimChange(payment_claims(fact.provider, fact.provider_transaction_id, fact.payment_id))


def _passed(fact: e.FinalReviewPassed, opened: Opened) -> ClaimChange:
    """The first final pass claims for good that the person was compared with their documents."""
    if opened.is_reviewed(fact.person_id):
        return NO_CHANGE
    return ClaimChange((reviewed_claim(fact.person_id),))


def _ordered(fact: e.RefundOrdered, opened: Opened) -> ClaimChange:
    return ClaimChange((refund_claim(fact.refund_no),))


def _accepted(fact: e.RefundAccepted, opened: Opened) -> ClaimChange:
    provider = opened.refund(fact.application_id, fact.refund_no).provider
    return ClaimChange((provider_refund_claim(provider, fact.provider_refund_id),))


def _settled(fact: e.RefundSettled, opened: Opened) -> ClaimChange:
    """Paid by bank transfer after all: the bank's number is another one."""
    if fact.provider_refund_id == opened.refund(fact.application_id, fact.refund_no).number:
        return NO_CHANGE
    return ClaimChange((provider_refund_claim(e.Provider.BANK, fact.provider_refund_id),))


def _seated(fact: e.SeatAssigned, opened: Opened) -> ClaimChange:
    return ClaimChange(seat_claims(fact.session_id, fact.person_id, fact.ticket_number))


def _closed(fact: e.PublicNoticeClosed, opened: Opened) -> ClaimChange:
    """A final row ends its application's claim, once: the person may have applied again since."""
    return ClaimChange(
        releases=tuple(
            live_claim_of(opened.application(row))
            for row in opened.rows(fact.notice_id)
            if row not in fact.withheld and not opened.is_final(row)
        )
    )


def _numbered(fact: e.CertificateNumbered, opened: Opened) -> ClaimChange:
    return ClaimChange((number_claim(fact.number),))


CLAIMS: dict[type[e.Fact], Callable[[Any, Opened], ClaimChange]] = {
    e.PersonRegistered: _registered,
    e.RegistrationContested: _registered,
    e.RegistrationJoined: _joined,
    e.LoginAssigned: _registered,
    e.ErasureConfirmed: _erased,
    e.ErasureRepeated: _erased_again,
    e.ApplicationOpened: _opened,
    e.ObjectionFiled: _objected,
    e.EligibilityConfirmed: _confirmed,
    e.ApplicationWithdrawn: _ended,
    e.InitialReviewRejected: _ended,
    e.SecondReviewRejected: _ended,
    e.FinalReviewRejected: _ended,
    e.FeePaid: _paid,
    e.ExcessPaymentReceived: _paid,
    e.FinalReviewPassed: _passed,
    e.RefundOrdered: _ordered,
    e.RefundAccepted: _accepted,
    e.RefundSettled: _settled,
    e.SeatAssigned: _seated,
    e.PublicNoticeClosed: _closed,
    e.CertificateNumbered: _numbered,
}
"""Fact class -> its rule. Every other fact takes and releases nothing; a test lists them."""


def claims_of(fact: e.Fact, opened: Opened) -> ClaimChange:
    """The claims that a fact takes and releases.

    opened: as of just before the fact. Raises: what `opened` raises.
    """
    rule = CLAIMS.get(type(fact))
    return NO_CHANGE if rule is None else rule(fact, opened)


# --- the facts of a ledger, from its beginning ----------------------------------------------------


class NotOpened(KeyError):
    """A fact is about a thing that no earlier fact opened."""


class _Holder(NamedTuple):
    subject: str | None


class _Opening(NamedTuple):
    person_id: str
    occupation: str
    level: int


class EarlierFacts:
    """`Opened`, folded from facts. Memory grows with persons, applications and refunds only."""

    TOPICS = frozenset({fact.TOPIC for fact in CLAIMS} | {e.PublicNoticeOpened.TOPIC})
    """The facts that claims follow from; all others may be left out of `add`."""

    def __init__(self) -> None:
        self._people: dict[str, _Holder] = {}
        self._applications: dict[str, _Opening] = {}
        self._refunds: dict[tuple[str, str], ProviderRefund] = {}
        self._rows: dict[str, tuple[str, ...]] = {}
        self._erased: set[str] = set()
        self._reviewed: set[str] = set()
        self._final: set[str] = set()

    def add(self, fact: e.Fact) -> None:
        """The next fact, after its claims were asked for. Raises: NotOpened."""
        match fact:
            case e.PersonRegistered() | e.RegistrationContested() | e.LoginAssigned():
                self._people[fact.person_id] = _Holder(fact.subject)
            case e.RegistrationJoined():
                self._people[fact.person_id] = _Holder(None)
            case e.ApplicationOpened():
                self._applications[fact.application_id] = _Opening(
                    fact.person_id, sys.intern(fact.occupation), int(fact.level)
                )
            case e.ErasureConfirmed() | e.ErasureRepeated():
                self._erased.add(fact.person_id)
            case e.FinalReviewPassed():
                self._reviewed.add(fact.person_id)
            case e.RefundOrdered():
                key = (fact.application_id, fact.refund_no)
                self._refunds[key] = ProviderRefund(fact.provider, None)
            case e.RefundAccepted() | e.RefundSettled():
                before = self.refund(fact.application_id, fact.refund_no)
                key = (fact.application_id, fact.refund_no)
                self._refunds[key] = before._replace(number=fact.provider_refund_id)
            case e.PublicNoticeOpened():
                self._rows[fact.notice_id] = fact.application_ids
            case e.PublicNoticeClosed():
                final = set(self.rows(fact.notice_id)) - set(fact.withheld)
                self._final |= final

    def person(self, person_id: str) -> Holder:
        """Raises: NotOpened."""
        return _known(self._people, person_id)

    def application(self, application_id: str) -> Opening:
        """Raises: NotOpened."""
        return _known(self._applications, application_id)

    def refund(self, application_id: str, refund_no: str) -> ProviderRefund:
        """Raises: NotOpened."""
        return _known(self._refunds, (application_id, refund_no))

    def rows(self, notice_id: str) -> tuple[str, ...]:
        """Raises: NotOpened."""
        return _known(self._rows, notice_id)

    def is_erased(self, person_id: str) -> bool:
        """See `Opened`."""
        return person_id in self._erased

    def is_reviewed(self, person_id: str) -> bool:
        """See `Opened`."""
        return person_id in self._reviewed

    def is_final(self, application_id: str) -> bool:
        """See `Opened`."""
        return application_id in self._final


K = TypeVar("K")
V = TypeVar("V")


def _known(things: dict[K, V], key: K) -> V:
    try:
        return things[key]
    except KeyError:
        raise NotOpened(key) from None
