"""Opening a ledger and setting its fees."""

from __future__ import annotations

from datetime import date

from domain import events as e
from domain.actors import Role
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import AlreadyExists, Command, Context, Decision, States
from domain.steps.service_keys import ensure_introduced, introduction_of
from domain.values.certificate_numbers import format_national
from domain.values.primitives import Fen, Level


class OpenLedger(Command):
    """Open the book of an evaluation organisation (评价机构)."""

    organisation_name: e.ShortText
    issuer_name: e.ShortText
    unified_social_credit_code: str
    site_code: str
    log_origin: e.ShortText


class SetFeeSchedule(Command):
    """Say what an application for an occupation and level costs from a day on."""

    occupation: e.ShortText
    level: Level
    certification_fee_fen: Fen
    study_material_fee_fen: Fen
    valid_from: date


def opening_fact(command: OpenLedger) -> e.LedgerOpened:
    """The fact that opens a ledger. Raises: ValidationError for a value no fact may hold."""
    return e.LedgerOpened(
        organisation_name=command.organisation_name,
        issuer_name=command.issuer_name,
        unified_social_credit_code=command.unified_social_credit_code,
        site_code=command.site_code,
        log_origin=command.log_origin,
    )


def decide_open_ledger(world: States, command: OpenLedger, context: Context) -> Decision:
    """A ledger opens once; its site code begins every national number it allocates.

    It names every key of the service from its first moment on, those that sign with a signature of
    their own.
    Raises: AlreadyExists, InvalidCertificateNumber for a malformed site code; KeyIsSecret,
        KeyIdDiffers, KeyNotSigned.
    Source: source-document 0.1, 5.3.
    """
    if world.exists("ledger"):
        raise AlreadyExists(what="book", id="ledger")
    format_national(command.site_code, context.today.year, Level.INTERMEDIATE, 1)
    keys = [introduction_of(key) for key in context.keys]
    for key in keys:
        ensure_introduced(key, None, context)
    return Decision(facts=tuple(("ledger", fact) for fact in (opening_fact(command), *keys)))


def decide_set_fee_schedule(world: States, command: SetFeeSchedule, context: Context) -> Decision:
    """Both components have their own amount, because they have their own refund rule.

    Raises: NotFound if the ledger is not open.
    Source: source-document 2.1, 2.2, 2.3.
    """
    world.ledger()
    fact = e.FeeScheduleSet(
        occupation=command.occupation,
        level=command.level,
        certification_fee_fen=command.certification_fee_fen,
        study_material_fee_fen=command.study_material_fee_fen,
        valid_from=command.valid_from,
    )
    return Decision(facts=(("ledger", fact),))


def _reads_version(cached: StateHint, command: OpenLedger, context: Context) -> ReadSet:
    return ReadSet(versions=("ledger",))


def _reads_ledger(cached: StateHint, command: SetFeeSchedule, context: Context) -> ReadSet:
    return ReadSet(("ledger",))


OPEN_LEDGER = CommandSpec(
    OpenLedger, decide_open_ledger, _reads_version, roles=frozenset({Role.OPERATOR})
)
SET_FEE_SCHEDULE = CommandSpec(
    SetFeeSchedule,
    decide_set_fee_schedule,
    _reads_ledger,
    roles=frozenset({Role.FINANCE, Role.OPERATOR}),
)

SPECS = (OPEN_LEDGER, SET_FEE_SCHEDULE)
