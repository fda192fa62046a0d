"""Step 2: the fee, its two components and the use of what it pays for (缴纳费用).

Source: source-document 2.1, 2.2, 2.3.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from domain import events as e
from domain.actors import Role
from domain.claims import payment_claims
from domain.command_spec import (
    CommandSpec,
    ReadSet,
    StateHint,
    reads_application_and_person,
)
from domain.decision import (
    AlreadyExists,
    Command,
    Context,
    Decision,
    States,
    TooEarly,
    ensure_past,
    stream_of,
)
from domain.editions.edition import EditionKind
from domain.errors import LedgerError
from domain.events import ITEMS, Component, Item
from domain.states.application import CLOSED, Candidacy, Status
from domain.states.editions import fees_on
from domain.steps.agency_rights import ensure_own_application
from domain.values.opaque_ids import OpaqueId
from domain.values.primitives import Instant, Sha256Hex
from domain.values.working_days import shanghai_date


class NoFeeSchedule(LedgerError):
    """No fee is set for occupation {occupation}, level {level} on {day}."""

    code = "no_fee_schedule"


class WrongAmount(LedgerError):
    """{component} costs {expected_fen} fen, not {given_fen} fen."""

    code = "wrong_amount"


class ComponentMissing(LedgerError):
    """The fee has two components; {component} is missing or given twice."""

    code = "component_missing"


class NotPaid(LedgerError):
    """{component} is not paid."""

    code = "not_paid"


class ItemUsedUp(LedgerError):
    """{item} was used already; the fee covers it once."""

    code = "item_used_up"


class UsedBySitting(LedgerError):
    """{item} is used by sitting the exam; its score records that."""

    code = "used_by_sitting"


class NotYetPayable(LedgerError):
    """Only an eligible candidate pays; this application is {status}."""

    code = "not_yet_payable"


class RecordPayment(Command):
    """Record money that arrived for an application, as the provider confirmed it."""

    application_id: e.Id
    payment_id: OpaqueId | None = None
    provider: e.Provider
    channel_id: e.Id | None = Field(
        default=None, description="商户号, the merchant account; default: the provider's only one"
    )
    provider_transaction_id: e.ShortText
    merchant_order_no: e.ShortText
    paid_at: Instant
    lines: tuple[e.FeeLine, ...] = Field(min_length=1, max_length=2)
    source: e.EvidenceSource = e.EvidenceSource.PERSON
    evidence_sha256: Sha256Hex | None = None


class UseItem(Command):
    """Record the use of one item that was paid for."""

    application_id: e.Id
    item: Item
    used_at: Instant | None = None


def _check_amounts(state: Candidacy, command: RecordPayment, world: States) -> None:
    """Exactly the two components at the price of the day of payment. Source: 2.1-2.3."""
    day = shanghai_date(command.paid_at)
    table = fees_on(world.editions(EditionKind.FEES), day)
    fees = table.fee_of(state.occupation, state.level)
    if fees is None:
        raise NoFeeSchedule(occupation=state.occupation, level=int(state.level), day=str(day))
    due = {
        Component.CERTIFICATION_FEE: fees.certification_fee_fen,
        Component.STUDY_MATERIAL: fees.study_material_fee_fen,
    }
    given = {line.component: line.amount_fen for line in command.lines}
    for component in due:
        if component not in given:
            raise ComponentMissing(component=component.value)
    for component, expected in due.items():
        if given[component] != expected:
            raise WrongAmount(
                component=component.value, expected_fen=expected, given_fen=given[component]
            )


def _fee_paid(state: Candidacy, command: RecordPayment, payment_id: str) -> e.FeePaid:
    return e.FeePaid(
        application_id=state.id,
        person_id=state.person_id,
        payment_id=payment_id,
        provider=command.provider,
        channel_id=command.channel_id or command.provider.value,
        provider_transaction_id=command.provider_transaction_id,
        merchant_order_no=command.merchant_order_no,
        paid_at=command.paid_at,
        lines=command.lines,
        source=command.source,
        evidence_sha256=command.evidence_sha256,
    )


def _excess(
    paid: e.FeePaid, reason: Literal["component_already_paid", "application_closed"]
) -> e.ExcessPaymentReceived:
    """The same money, which nobody owed."""
    return e.ExcessPaymentReceived(**dict(paid), reason=reason)


def decide_record_payment(world: States, command: RecordPayment, context: Context) -> Decision:
    """The fee is paid once, after eligibility and before documents.

    Money that nobody owed (twice, or after the application closed) is never refused: it is
    recorded as excess and all of it goes back. The provider's transaction id is claimed, so
    that a callback delivered twice is refused as such. A refund refers to one component of one
    payment, so no payment names a component twice.
    Raises: NotFound, InTheFuture, NotYetPayable, AlreadyExists, ComponentMissing (twice),
        NoFeeSchedule, ComponentMissing, WrongAmount.
    Source: source-document 2.1, 2.2, 2.3.
    """
    state = world.candidacy(command.application_id)
    ensure_past(context, paid_at=command.paid_at)
    if state.status is Status.OPENED:
        raise NotYetPayable(status=state.status.value)
    payment_id = command.payment_id or context.new_id()
    if any(line.payment_id == payment_id for line in state.paid):
        raise AlreadyExists(what="payment", id=payment_id)
    components = [line.component for line in command.lines]
    if len(set(components)) != len(components):
        raise ComponentMissing(component=components[0].value)
    paid = _fee_paid(state, command, payment_id)
    fact: e.Fact = paid
    if state.status in CLOSED:
        fact = _excess(paid, "application_closed")
    elif state.paid_component(Component.CERTIFICATION_FEE):
        fact = _excess(paid, "component_already_paid")
    else:
        _check_amounts(state, command, world)
    return Decision(
        facts=((stream_of("application", state.id), fact),),
        outcome={"payment_id": payment_id, "excess": isinstance(fact, e.ExcessPaymentReceived)},
    )


def component_of(item: Item) -> Component:
    """The component that pays for an item. Source: 2.2, 2.3."""
    return next(component for component, items in ITEMS.items() if item in items)


def decide_use_item(world: States, command: UseItem, context: Context) -> Decision:
    """Each item is used once, and only while its component is not being refunded.

    Raises: NotFound, NotYourOwn, UsedBySitting, InTheFuture, NotPaid, TooEarly, ItemUsedUp.
    Source: source-document 2.2, 2.3, 2.4(1).
    """
    state = world.candidacy(command.application_id)
    ensure_own_application(context, world, state)
    component = component_of(command.item)
    if component is Component.CERTIFICATION_FEE:
        raise UsedBySitting(item=command.item.value)
    used_at = command.used_at or context.now
    ensure_past(context, used_at=used_at)
    line = state.paid_component(component)
    if line is None or state.status in CLOSED:
        raise NotPaid(component=component.value)
    if used_at < line.paid_at:
        raise TooEarly(field="used_at", earliest=line.paid_at.isoformat())
    if command.item in state.used:
        raise ItemUsedUp(item=command.item.value)
    return Decision(
        facts=((stream_of("application", state.id), use_fact(state, command.item, used_at)),)
    )


def use_fact(state: Candidacy, item: Item, used_at: datetime) -> e.FeeItemUsed:
    """The fact that an item was used; its component is paid."""
    component = component_of(item)
    line = state.paid_component(component)
    assert line is not None, "only what is paid is used"
    return e.FeeItemUsed(
        application_id=state.id,
        person_id=state.person_id,
        payment_id=line.payment_id,
        component=component,
        item=item,
        used_at=used_at,
    )


def _reads_of_payment(cached: StateHint, command: RecordPayment, context: Context) -> ReadSet:
    payment_id = command.payment_id or context.new_id()
    claims = payment_claims(command.provider, command.provider_transaction_id, payment_id)
    streams = (
        stream_of("application", command.application_id),
        stream_of("edition", EditionKind.FEES),
    )
    return ReadSet(streams, (), claims)


RECORD_PAYMENT = CommandSpec(
    RecordPayment, decide_record_payment, _reads_of_payment, roles=frozenset({Role.FINANCE})
)
USE_ITEM = CommandSpec(
    UseItem,
    decide_use_item,
    reads_application_and_person,
    roles=frozenset({Role.CANDIDATE, Role.AGENCY}),
)

SPECS = (RECORD_PAYMENT, USE_ITEM)
