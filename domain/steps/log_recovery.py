"""Continuing a ledger's log under another origin, after a loss that two persons accept (日志续立).

Nobody who keeps heads ever accepts a smaller or another tree of a log. So a journal that lost a
part of what was signed gets another log, whose first facts say what the old one's largest known
head was and what is gone. `domain.service.recovery` does the rest.
"""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from domain import events as e
from domain.actors import Role
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import AlreadyExists, Command, Context, Decision, States
from domain.errors import LedgerError
from domain.states.folds import LedgerState
from domain.steps.refund import SecondPersonNeeded
from domain.steps.service_keys import ensure_introduced, newest_key
from domain.values.logins import Login
from domain.values.primitives import Sha256Hex


class OtherOrigin(LedgerError):
    """The log of this ledger is {actual}, not {given}."""

    code = "other_origin"


class ContinueLog(Command):
    """Continue the log under the next origin, with new keys. The facts name both persons.

    proposed_by, confirmed_by: their logins.
    """

    old_origin: e.ShortText
    old_head_size: int
    old_head_root: Sha256Hex
    old_head_note: str
    first_position: int
    positions_gone: int
    proposed_by: Login
    confirmed_by: Login
    log_key: e.KeyIntroduced
    journal_key: e.KeyIntroduced

    @model_validator(mode="after")
    def _purposes(self) -> Self:
        if self.log_key.purpose is not e.KeyPurpose.LOG:
            raise ValueError("log_key is for another purpose")
        if self.journal_key.purpose is not e.KeyPurpose.JOURNAL:
            raise ValueError("journal_key is for another purpose")
        return self


def next_origin(origin: str, number: int) -> str:
    """The origin that follows: `<first origin>/2`, then /3. number: of the new log, at least 2."""
    first = origin if number == 2 else origin.removesuffix(f"/{number - 1}")
    return f"{first}/{number}"


def decide_continue_log(world: States, command: ContinueLog, context: Context) -> Decision:
    """A loss is accepted by two persons; the old keys are good for the old log's positions only.

    Both keys are new. The old log key signs the new one, unless it was lost too.
    Raises: LedgerNotOpen, SecondPersonNeeded, OtherOrigin, AlreadyExists,
        KeyIsSecret, KeyIdDiffers, KeyNotSigned.
    Source: docs/production.md, after a loss.
    """
    state = world.ledger()
    persons = _persons(command, context)
    if persons[0] == persons[1]:
        raise SecondPersonNeeded()
    if command.old_origin != state.log_origin:
        raise OtherOrigin(actual=state.log_origin, given=command.old_origin)
    _ensure_new_keys(state, command, context)
    fact = e.LogContinuedElsewhere(
        old_origin=command.old_origin,
        old_head_size=command.old_head_size,
        old_head_root=command.old_head_root,
        old_head_note=command.old_head_note,
        first_position=command.first_position,
        positions_gone=command.positions_gone,
        new_origin=next_origin(command.old_origin, state.log_number + 1),
        proposed_by=persons[0],
        confirmed_by=persons[1],
    )
    facts = (fact, command.log_key, command.journal_key)
    return Decision(
        facts=tuple(("ledger", each) for each in facts),
        outcome={"origin": fact.new_origin},
    )


def _ensure_new_keys(state: LedgerState, command: ContinueLog, context: Context) -> None:
    """Raises: AlreadyExists, KeyIsSecret, KeyIdDiffers, KeyNotSigned, NotFound."""
    for key in (command.log_key, command.journal_key):
        if key.key_id in state.keys_for(key.purpose):
            raise AlreadyExists(what="key", id=key.key_id)
    is_old_key_lost = command.log_key.signature_old is None
    before = None if is_old_key_lost else newest_key(state, e.KeyPurpose.LOG)
    ensure_introduced(command.log_key, before, context)
    ensure_introduced(command.journal_key, None, context)


def _persons(command: ContinueLog, context: Context) -> tuple[str, str]:
    """Who proposed and who confirmed, as pseudonyms."""
    return context.pseudonym(command.proposed_by), context.pseudonym(command.confirmed_by)


def _reads_ledger(cached: StateHint, command: ContinueLog, context: Context) -> ReadSet:
    _persons(command, context)
    return ReadSet(("ledger",))


CONTINUE_LOG = CommandSpec(
    ContinueLog, decide_continue_log, _reads_ledger, roles=frozenset({Role.OPERATOR})
)

SPECS = (CONTINUE_LOG,)
