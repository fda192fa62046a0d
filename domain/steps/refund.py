"""Money that goes back, per component and to the original payment (退费).

The three rules are three predicates; everything else is the path of one refund:
ordered -> approved by a second person -> accepted by the provider -> settled, with declined,
closed and abnormal as the ways it can fail. The order is recorded before a provider is called.
Source: source-document 2.4(1), 2.4(2), 2.4(3).
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self, TypedDict, TypeVar

from pydantic import Field, model_validator

from domain import events as e
from domain.actors import Role
from domain.claims import provider_refund_claim, refund_claim
from domain.command_spec import (
    CommandSpec,
    ReadSet,
    StateHint,
    cached_applications,
    reads_application_and_keys,
    reads_application_and_person,
    with_persons,
)
from domain.decision import (
    Claim,
    Command,
    Context,
    Decision,
    NotFound,
    States,
    TooEarly,
    ensure_not_own,
    ensure_past,
    stream_of,
)
from domain.errors import LedgerError
from domain.events import ITEMS, Component, RefundRefusal
from domain.states.application import CLOSED, Candidacy, PaidLine, Refund, Status
from domain.steps.agency_rights import ensure_own_application
from domain.values.payee_accounts import MaskedAccount
from domain.values.primitives import Fen, Instant, Sha256Hex

V = TypeVar("V")

Clause = Literal["2.4(1)", "2.4(2)"]
"""The clause under which a refund is refused."""

Channel = Literal["original", "balance", "other_balance", "other_bankcard", "bank_transfer"]
"""Where the provider sent the money."""

LIVE = frozenset({"ordered", "approved", "accepted", "abnormal", "settled"})
"""States in which a refund holds its amount, so that no second one can be ordered."""


class UnknownFeeLine(LedgerError):
    """Payment {payment_id} has no component {component}."""

    code = "unknown_fee_line"


class ApplicationStillOpen(LedgerError):
    """The application is {status}; nothing is refunded until it failed or was withdrawn."""

    code = "application_still_open"


class AlreadyRefunded(LedgerError):
    """{component} of payment {payment_id} is on its way back already as {refund_no}."""

    code = "already_refunded"


class NothingToRefund(LedgerError):
    """{component} of payment {payment_id} cost nothing, so nothing goes back."""

    code = "nothing_to_refund"


class SecondPersonNeeded(LedgerError):
    """This needs somebody other than who did the step before."""

    code = "second_person_needed"


class RefundOutOfOrder(LedgerError):
    """Refund {refund_no} is {state}; it can't become {wanted}."""

    code = "refund_out_of_order"


class WrongProviderRefund(LedgerError):
    """Refund {refund_no} was accepted under another number of the provider's.

    Only a bank transfer in its place carries a number of its own.
    """

    code = "wrong_provider_refund"


class OrderRefund(Command):
    """Ask for one component of one payment back."""

    application_id: e.Id
    payment_id: e.Id
    component: Component


class _RefundStep(Command):
    application_id: e.Id
    refund_no: e.Id


class ApproveRefund(_RefundStep):
    """Approve a refund that somebody else ordered."""


class DeclineRefund(_RefundStep):
    """Decline a refund that somebody else ordered."""

    reason: e.LongText


class RecordRefundOutcome(_RefundStep):
    """Record what the provider says of a refund."""

    outcome: Literal["accepted", "settled", "closed", "abnormal"]
    provider_refund_id: e.ShortText | None = None
    channel: Channel | None = None
    accepted_at: Instant | None = Field(default=None, description="by the provider's clock")
    settled_at: Instant | None = Field(default=None, description="by the provider's clock")
    closed_at: Instant | None = Field(default=None, description="by the provider's clock")
    abnormal_at: Instant | None = Field(default=None, description="by the provider's clock")
    reason: e.LongText | None = None
    source: e.EvidenceSource = e.EvidenceSource.PERSON
    evidence_sha256: Sha256Hex | None = None
    provider_refund_fen: Fen | None = Field(
        default=None, description="fen that go back by the provider's account"
    )
    fee_returned_fen: Fen | None = Field(
        default=None, description="fen of its fee that the provider gives back"
    )
    received_account: MaskedAccount | None = Field(
        default=None, description="退款入账账户, masked, as the provider names it"
    )

    @model_validator(mode="after")
    def _a_time_is_of_its_outcome(self) -> Self:
        for other in ("accepted", "settled", "closed", "abnormal"):
            if other != self.outcome and getattr(self, f"{other}_at") is not None:
                raise ValueError(f"{other}_at is a time of another outcome")
        return self


def is_unsuccessful(state: Candidacy) -> bool:
    """报考未成功: rejected, withdrawn or not eligible. Source: 2.4(1)."""
    return state.status in CLOSED


def has_succeeded(state: Candidacy) -> bool:
    """报考成功: the final review passed. Source: 2.4(2), 2.4(3)."""
    return state.status is Status.ENROLLED


def material_is_used(state: Candidacy) -> bool:
    """学习资料已使用: any item of it was used. Source: 2.4(1)."""
    return any(item in state.used for item in ITEMS[Component.STUDY_MATERIAL])


def refusal(state: Candidacy, line: PaidLine) -> tuple[RefundRefusal, Clause] | None:
    """Why the rules refuse to refund a paid component, with the clause; None if it goes back.

    An excess payment was never owed, so no rule refuses it.
    Source: source-document 2.4(1), 2.4(2), 2.4(3).
    """
    if line.excess:
        return None
    if has_succeeded(state):
        return RefundRefusal.FINAL_REVIEW_PASSED, "2.4(2)"
    if line.component is Component.STUDY_MATERIAL and material_is_used(state):
        return RefundRefusal.STUDY_MATERIAL_USED, "2.4(1)"
    return None


def refund_entitlement(state: Candidacy) -> tuple[tuple[str, e.Fact], ...]:
    """What is owed back at the moment an application fails, as facts, and what is not.

    Source: 2.4(1).
    """
    lines: list[e.RefundLine] = []
    not_refundable: list[e.NotRefundableLine] = []
    for line in state.paid:
        if line.excess or line.amount_fen == 0:
            continue
        owed = e.RefundLine(
            payment_id=line.payment_id, component=line.component, amount_fen=line.amount_fen
        )
        why = refusal(state, line)
        if why is None:
            lines.append(owed)
        else:
            refused = e.NotRefundableLine(**dict(owed), refusal=why[0], clause=why[1])
            not_refundable.append(refused)
    if not lines:
        return ()
    fact = e.RefundEntitled(
        application_id=state.id,
        person_id=state.person_id,
        lines=tuple(lines),
        not_refundable=tuple(not_refundable),
    )
    return ((stream_of("application", state.id), fact),)


def _live_refund(state: Candidacy, command: OrderRefund) -> Refund | None:
    return next(
        (
            r
            for r in state.refunds
            if (r.payment_id, r.component) == (command.payment_id, command.component)
            and r.state in LIVE
        ),
        None,
    )


def _paid_line(state: Candidacy, command: OrderRefund) -> PaidLine | None:
    """The line asked for; a payment names each component once."""
    wanted = (command.payment_id, command.component)
    return next((p for p in state.paid if (p.payment_id, p.component) == wanted), None)


def next_refund_no(state: Candidacy, payment_id: str) -> str:
    """Numbered per payment, so that a retry at the provider always carries the same number."""
    count = sum(1 for r in state.refunds if r.payment_id == payment_id)
    return f"R{payment_id}-{count + 1}"


def _refused(state: Candidacy, line: PaidLine, why: tuple[RefundRefusal, Clause]) -> Decision:
    fact = e.RefundRefused(
        application_id=state.id,
        person_id=state.person_id,
        payment_id=line.payment_id,
        component=line.component,
        refusal=why[0],
        clause=why[1],
    )
    return Decision(
        facts=((stream_of("application", state.id), fact),),
        outcome={"refused": why[0].value, "clause": why[1]},
    )


def decide_order_refund(world: States, command: OrderRefund, context: Context) -> Decision:
    """A refund is ordered for the whole component, or refused by a rule as a recorded fact.

    Order of refusals: unknown application, not your own, unknown line, already being refunded,
    nothing to refund; then the rules; then still open.
    Raises: NotFound, NotYourOwn, UnknownFeeLine, AlreadyRefunded, NothingToRefund,
        ApplicationStillOpen.
    Source: source-document 2.4(1), 2.4(2), 2.4(3).
    """
    state = world.candidacy(command.application_id)
    ensure_own_application(context, world, state)
    named = {"component": command.component.value, "payment_id": command.payment_id}
    line = _paid_line(state, command)
    if line is None:
        raise UnknownFeeLine(**named)
    live = _live_refund(state, command)
    if live:
        raise AlreadyRefunded(**named, refund_no=live.refund_no)
    if line.amount_fen == 0:
        raise NothingToRefund(**named)
    refused = refusal(state, line)
    if refused:
        return _refused(state, line, refused)
    if not line.excess and not is_unsuccessful(state):
        raise ApplicationStillOpen(status=state.status.value)
    refund_no = next_refund_no(state, line.payment_id)
    fact = e.RefundOrdered(
        application_id=state.id,
        person_id=state.person_id,
        refund_no=refund_no,
        payment_id=line.payment_id,
        component=line.component,
        amount_fen=line.amount_fen,
        provider=line.provider,
        channel_id=line.channel_id,
        provider_transaction_id=line.provider_transaction_id,
        clause="excess" if line.excess else "2.4(1)",
    )
    return Decision(
        facts=((stream_of("application", state.id), fact),),
        outcome={"refund_no": refund_no, "amount_fen": line.amount_fen},
    )


def _refund(world: States, command: _RefundStep) -> tuple[Candidacy, Refund]:
    state = world.candidacy(command.application_id)
    refund = state.refund(command.refund_no)
    if refund is None:
        raise NotFound(what="refund", id=command.refund_no)
    return state, refund


def _ensure_state(refund: Refund, allowed: tuple[str, ...], wanted: str) -> None:
    if refund.state not in allowed:
        raise RefundOutOfOrder(refund_no=refund.refund_no, state=refund.state, wanted=wanted)


def decide_approve_refund(world: States, command: ApproveRefund, context: Context) -> Decision:
    """Four eyes: neither the actor who ordered a refund nor its recipient approves it.

    Raises: NotFound, RefundOutOfOrder, SecondPersonNeeded, OwnApplication.
    Source: source-document 2.4.
    """
    state, refund = _refund(world, command)
    _ensure_state(refund, ("ordered",), "approved")
    if refund.ordered_by == context.actor.subject:
        raise SecondPersonNeeded()
    ensure_not_own(context, world.person(state.person_id))
    fact = e.RefundApproved(
        application_id=state.id, person_id=state.person_id, refund_no=refund.refund_no
    )
    return Decision(facts=((stream_of("application", state.id), fact),))


def decide_decline_refund(world: States, command: DeclineRefund, context: Context) -> Decision:
    """A declined refund may be ordered again, under a new number.

    Raises: NotFound, RefundOutOfOrder, SecondPersonNeeded.
    Source: source-document 2.4.
    """
    state, refund = _refund(world, command)
    _ensure_state(refund, ("ordered",), "declined")
    if refund.ordered_by == context.actor.subject:
        raise SecondPersonNeeded()
    fact = e.RefundDeclined(
        application_id=state.id,
        person_id=state.person_id,
        refund_no=refund.refund_no,
        reason=command.reason,
    )
    return Decision(facts=((stream_of("application", state.id), fact),))


class OutcomeIncomplete(LedgerError):
    """A refund that is {outcome} needs {field}."""

    code = "outcome_incomplete"


def _require(command: RecordRefundOutcome, field: str, value: V | None) -> V:
    """The value of a field that this outcome cannot do without. Raises: OutcomeIncomplete."""
    if value is None:
        raise OutcomeIncomplete(outcome=command.outcome, field=field)
    return value


def paid_line_of(state: Candidacy, refund: Refund) -> PaidLine:
    """The line that a refund gives back."""
    wanted = (refund.payment_id, refund.component)
    return next(p for p in state.paid if (p.payment_id, p.component) == wanted)


class _Said(TypedDict):
    """The fields that every outcome's fact has."""

    application_id: str
    person_id: str
    refund_no: str
    source: e.EvidenceSource
    evidence_sha256: str | None
    provider_refund_fen: int | None
    fee_returned_fen: int | None
    received_account: str | None


def _said(command: RecordRefundOutcome, state: Candidacy, refund: Refund) -> _Said:
    return {
        "application_id": state.id,
        "person_id": state.person_id,
        "refund_no": refund.refund_no,
        "source": command.source,
        "evidence_sha256": command.evidence_sha256,
        "provider_refund_fen": command.provider_refund_fen,
        "fee_returned_fen": command.fee_returned_fen,
        "received_account": command.received_account,
    }


def _ensure_possible(context: Context, paid: PaidLine, field: str, at: datetime | None) -> None:
    """A time between the payment and now, if it is known. Raises: InTheFuture, TooEarly."""
    if at is None:
        return
    ensure_past(context, **{field: at})
    if at < paid.paid_at:
        raise TooEarly(field=field, earliest=paid.paid_at.isoformat())


def _accepted(command: RecordRefundOutcome, state: Candidacy, refund: Refund) -> e.Fact:
    _ensure_state(refund, ("approved",), "accepted")
    provider_refund_id = _require(command, "provider_refund_id", command.provider_refund_id)
    return e.RefundAccepted(
        **_said(command, state, refund),
        provider_refund_id=provider_refund_id,
        accepted_at=command.accepted_at,
    )


def _settled(command: RecordRefundOutcome, state: Candidacy, refund: Refund) -> e.Fact:
    _ensure_state(refund, ("accepted", "abnormal"), "settled")
    provider_refund_id = _require(command, "provider_refund_id", command.provider_refund_id)
    channel: Channel = _require(command, "channel", command.channel)
    settled_at = _require(command, "settled_at", command.settled_at)
    if provider_refund_id != refund.provider_refund_id and channel != "bank_transfer":
        raise WrongProviderRefund(refund_no=refund.refund_no)
    return e.RefundSettled(
        **_said(command, state, refund),
        provider_refund_id=provider_refund_id,
        channel=channel,
        settled_at=settled_at,
    )


def _closed(command: RecordRefundOutcome, state: Candidacy, refund: Refund) -> e.Fact:
    _ensure_state(refund, ("approved", "accepted"), "closed")
    reason = _require(command, "reason", command.reason)
    return e.RefundClosed(
        **_said(command, state, refund), closed_at=command.closed_at, reason=reason
    )


def _abnormal(command: RecordRefundOutcome, state: Candidacy, refund: Refund) -> e.Fact:
    _ensure_state(refund, ("accepted",), "abnormal")
    reason = _require(command, "reason", command.reason)
    return e.RefundAbnormal(
        **_said(command, state, refund), abnormal_at=command.abnormal_at, reason=reason
    )


_OUTCOMES = {"accepted": _accepted, "settled": _settled, "closed": _closed, "abnormal": _abnormal}


def decide_refund_outcome(
    world: States, command: RecordRefundOutcome, context: Context
) -> Decision:
    """What the provider reports moves the refund; acceptance is not yet the money's arrival.

    One number of the provider's belongs to one refund, so that one movement of money never
    settles two.
    Raises: NotFound, RefundOutOfOrder, OutcomeIncomplete, WrongProviderRefund, InTheFuture,
        TooEarly.
    Source: source-document 2.4(1).
    """
    state, refund = _refund(world, command)
    fact = _OUTCOMES[command.outcome](command, state, refund)
    field = f"{command.outcome}_at"
    _ensure_possible(context, paid_line_of(state, refund), field, getattr(command, field))
    return Decision(facts=((stream_of("application", state.id), fact),))


def _reads_of_order(cached: StateHint, command: OrderRefund, context: Context) -> ReadSet:
    ids = (command.application_id,)
    claims = tuple(
        refund_claim(next_refund_no(state, command.payment_id))
        for state in cached_applications(cached, ids)
    )
    return ReadSet(with_persons(cached, ids), (), claims)


def _reads_of_outcome(cached: StateHint, command: RecordRefundOutcome, context: Context) -> ReadSet:
    claims: tuple[Claim, ...] = ()
    state = cached("application", command.application_id)
    refund = None if state is None else state.refund(command.refund_no)
    if refund is not None and command.provider_refund_id is not None:
        providers = dict.fromkeys((paid_line_of(state, refund).provider, e.Provider.BANK))
        claims = tuple(provider_refund_claim(p, command.provider_refund_id) for p in providers)
    seals = command.reason is not None or command.received_account is not None
    persons = (state.person_id,) if state is not None and seals else ()
    return ReadSet((stream_of("application", command.application_id),), (), claims, persons)


ORDER_REFUND = CommandSpec(
    OrderRefund,
    decide_order_refund,
    _reads_of_order,
    roles=frozenset({Role.CANDIDATE, Role.AGENCY, Role.FINANCE}),
)
APPROVE_REFUND = CommandSpec(
    ApproveRefund,
    decide_approve_refund,
    reads_application_and_person,
    roles=frozenset({Role.FINANCE}),
)
DECLINE_REFUND = CommandSpec(
    DeclineRefund,
    decide_decline_refund,
    reads_application_and_keys,
    roles=frozenset({Role.FINANCE}),
)
RECORD_REFUND_OUTCOME = CommandSpec(
    RecordRefundOutcome,
    decide_refund_outcome,
    _reads_of_outcome,
    roles=frozenset({Role.FINANCE}),
)

SPECS = (ORDER_REFUND, APPROVE_REFUND, DECLINE_REFUND, RECORD_REFUND_OUTCOME)
