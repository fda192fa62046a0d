"""Opening a ledger."""

from __future__ import annotations

from domain import events as e
from domain.actors import Role
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import AlreadyExists, Command, Context, Decision, States
from domain.steps.service_keys import ensure_introduced, introduction_of
from domain.values.certificate_numbers import format_national
from domain.values.primitives import Level


class OpenLedger(Command):
    """Open the book of an evaluation organisation (评价机构)."""

    organisation_name: e.ShortText
    issuer_name: e.ShortText
    unified_social_credit_code: str
    site_code: str
    log_origin: e.ShortText


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


def _reads_version(cached: StateHint, command: OpenLedger, context: Context) -> ReadSet:
    return ReadSet(versions=("ledger",))


OPEN_LEDGER = CommandSpec(
    OpenLedger, decide_open_ledger, _reads_version, roles=frozenset({Role.OPERATOR})
)

SPECS = (OPEN_LEDGER,)
