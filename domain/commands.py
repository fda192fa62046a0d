"""The table of contents: every command there is, in the order of a journey.

Each step lists its own commands (`SPECS`); the tables here are derived from those lists.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from domain.claims import Holder, Opening, ProviderRefund, claims_of, reviewed_claim
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import Command, Context, Decision, Naming, NotFound, States, stream_of
from domain.errors import LedgerError
from domain.events import ActorNamed, ApplicationOpened, Fact
from domain.person_claims import person_claims_of
from domain.steps import (
    authority_report,
    certificate,
    contested_registration,
    edition_adoption,
    enrolment,
    erasure,
    exam,
    ledger_setup,
    log_recovery,
    number_allocation,
    payment,
    public_notice,
    refund,
    review,
    service_keys,
)
from domain.steps.refund import paid_line_of
from domain.values.primitives import SERVICE_LEDGER

SPECS: tuple[CommandSpec[Any], ...] = (
    *ledger_setup.SPECS,
    *service_keys.SPECS,
    *log_recovery.SPECS,
    *edition_adoption.SPECS,
    *enrolment.SPECS,
    *contested_registration.SPECS,
    *erasure.SPECS,
    *payment.SPECS,
    *review.SPECS,
    *refund.SPECS,
    *exam.SPECS,
    *public_notice.SPECS,
    *number_allocation.SPECS,
    *certificate.SPECS,
    *authority_report.SPECS,
)
"""Every command there is. A test holds that no command class is missing or listed twice."""

DECISIONS = {spec.command: spec.decide for spec in SPECS}
READ_SETS = {spec.command: spec.read_set for spec in SPECS}


IN_SERVICE = frozenset(
    spec.command
    for spec in (
        *(ledger_setup.OPEN_SERVICE, edition_adoption.PROPOSE_EDITION),
        *(edition_adoption.ADOPT_EDITION, *service_keys.SPECS, *log_recovery.SPECS),
    )
)
"""The commands that the ledger `service` takes: no evaluation organisation has it."""

IN_SERVICE_ONLY = frozenset({ledger_setup.OPEN_SERVICE.command})


class NotInThisLedger(LedgerError):
    """This is not done in the ledger {ledger}."""

    code = "not_in_this_ledger"


def _ensure_ledger(command: Command, context: Context) -> None:
    """Raises: NotInThisLedger."""
    is_service = context.ledger == SERVICE_LEDGER
    allowed = type(command) in IN_SERVICE if is_service else type(command) not in IN_SERVICE_ONLY
    if not allowed:
        raise NotInThisLedger(ledger=context.ledger)


def decide(world: States, command: Command, context: Context) -> Decision:
    """The decision of a command, with what its facts claim and release.

    Its last fact names an actor whom no fact names yet.
    Raises: the `LedgerError` that refuses it.
    """
    _ensure_ledger(command, context)
    decision = DECISIONS[type(command)](world, command, context)
    if context.naming is not None:
        decision = replace(decision, facts=(*decision.facts, _naming(context, context.naming)))
    facts = [fact for _, fact in decision.facts]
    opened = OpenedInStates(world, facts)
    changes = [claims_of(fact, opened) for fact in facts]
    claims = tuple(claim for change in changes for claim in change.takes)
    releases = tuple(claim for change in changes for claim in change.releases)
    changed = (person_claims_of(fact, context.blind_index) for fact in facts)
    persons = tuple(each for each in changed if each is not None)
    if not (claims or releases or persons):
        return decision
    return replace(decision, claims=claims, releases=releases, person_claims=persons)


def _naming(context: Context, naming: Naming) -> tuple[str, ActorNamed]:
    """The fact that names the actor, with its stream."""
    subject = context.actor.subject
    fact = ActorNamed(subject=subject, name=naming.name, login=naming.login)
    return stream_of("actor", subject), fact


class OpenedInStates:
    """What was opened before the facts of a decision, as the present states have it.

    An application may be opened by the same decision; no other thing that claims depend on is.
    """

    def __init__(self, world: States, facts: Iterable[Fact]) -> None:
        self._world = world
        self._facts = facts

    def person(self, person_id: str) -> Holder:
        """Raises: NotFound."""
        return self._world.person(person_id)

    def application(self, application_id: str) -> Opening:
        """Raises: NotFound."""
        for fact in self._facts:
            if isinstance(fact, ApplicationOpened) and fact.application_id == application_id:
                return fact
        return self._world.candidacy(application_id)

    def refund(self, application_id: str, refund_no: str) -> ProviderRefund:
        """Raises: NotFound."""
        state = self._world.candidacy(application_id)
        refund = state.refund(refund_no)
        if refund is None:
            raise NotFound(what="refund", id=refund_no)
        return ProviderRefund(paid_line_of(state, refund).provider, refund.provider_refund_id)

    def rows(self, notice_id: str) -> tuple[str, ...]:
        """Raises: NotFound."""
        return self._world.notice(notice_id).opened.application_ids

    def is_erased(self, person_id: str) -> bool:
        """Raises: NotFound."""
        return self._world.person(person_id).erased

    def is_reviewed(self, person_id: str) -> bool:
        """Whether the claim of it is taken."""
        return self._world.claimed(*reviewed_claim(person_id))

    def is_final(self, application_id: str) -> bool:
        """Whether a notice of the application closed with its row."""
        notices = map(self._world.notice, self._world.candidacy(application_id).notices)
        return any(each.closed and application_id not in each.withheld for each in notices)


def read_set_of(cached: StateHint, command: Command, context: Context) -> ReadSet:
    """What the decision of a command will read; nothing if the command cannot be granted.

    context: as the decision gets it, with the same ids; its time may be an earlier one.
    """
    try:
        found = READ_SETS[type(command)](cached, command, context)
    except LedgerError:
        return ReadSet()  # the decision refuses the command and says why
    if context.naming is None:
        return found
    actor = stream_of("actor", context.actor.subject)
    return found._replace(versions=(*found.versions, actor), matters=(*found.matters, actor))
