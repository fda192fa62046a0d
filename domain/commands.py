"""The table of contents: every command there is, in the order of a journey.

Each step lists its own commands (`SPECS`); the tables here are derived from those lists.
"""

from __future__ import annotations

from typing import Any

from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import Command, Context, Decision, States
from domain.errors import LedgerError
from domain.steps import (
    authority_report,
    certificate,
    enrolment,
    erasure,
    exam,
    ledger_setup,
    number_allocation,
    payment,
    public_notice,
    refund,
    review,
)

SPECS: tuple[CommandSpec[Any], ...] = (
    *ledger_setup.SPECS,
    *enrolment.SPECS,
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


def decide(world: States, command: Command, context: Context) -> Decision:
    """The decision of a command. Raises: the `LedgerError` that refuses it."""
    return DECISIONS[type(command)](world, command, context)


def read_set_of(cached: StateHint, command: Command, context: Context) -> ReadSet:
    """What the decision of a command will read; nothing if the command cannot be granted.

    context: as the decision gets it, with the same ids; its time may be an earlier one.
    """
    try:
        return READ_SETS[type(command)](cached, command, context)
    except LedgerError:
        return ReadSet()  # the decision refuses the command and says why
