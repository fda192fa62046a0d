"""Opening a ledger and setting what it charges."""

from __future__ import annotations

from datetime import date

from domain import events as e
from domain.decision import AlreadyExists, Command, Context, Decision, States
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


def decide_open_ledger(world: States, command: OpenLedger, context: Context) -> Decision:
    """The book opens once; its site code begins every national number it gives out.

    Raises: AlreadyExists, InvalidCertificateNumber for a malformed site code.
    Source: source-document 0.1, 5.3.
    """
    if world.exists("ledger"):
        raise AlreadyExists(what="book", id="ledger")
    format_national(command.site_code, context.today.year, Level.INTERMEDIATE, 1)
    return Decision(facts=(("ledger", e.LedgerOpened(**command.model_dump())),))


def decide_set_fee_schedule(world: States, command: SetFeeSchedule, context: Context) -> Decision:
    """Both components have their own amount, because they have their own refund rule.

    Raises: NotFound if the book is not open.
    Source: source-document 2.1, 2.2, 2.3.
    """
    world.book()
    return Decision(facts=(("ledger", e.FeeScheduleSet(**command.model_dump())),))
