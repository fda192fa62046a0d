"""Opening a ledger or that of the service, and setting the address of links."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from domain import events as e
from domain.actors import Role
from domain.command_spec import CommandSpec, ReadSet, StateHint
from domain.decision import Command, Context, Decision, LedgerAlreadyOpen, States, TooEarly
from domain.errors import LedgerError
from domain.steps.refund import SecondPersonNeeded
from domain.steps.service_keys import ensure_introduced, introduction_of
from domain.values.certificate_numbers import format_national
from domain.values.logins import Login, normal_form
from domain.values.primitives import Level


class OpenLedger(Command):
    """Open the ledger of an evaluation organisation (评价机构)."""

    organisation_name: e.ShortText
    issuer_name: e.ShortText
    unified_social_credit_code: str
    site_code: str
    log_origin: e.ShortText


class OpenService(Command):
    """Open the operator's own ledger. The actor is the first operator."""

    organisation_name: e.ShortText
    log_origin: e.ShortText
    second: Login


class SetIssuerUrl(Command):
    """Say with which address the links on certificates begin, from a day on."""

    url: e.HttpsUrl
    valid_from: date | None = Field(default=None, description="default: today")


class IssuerUrlUnchanged(LedgerError):
    """{url} is the newest address already."""

    code = "issuer_url_unchanged"


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
    Raises: LedgerAlreadyOpen, InvalidCertificateNumber for a malformed site code; KeyIsSecret,
        KeyIdDiffers, KeyNotSigned.
    Source: source-document 0.1, 5.3.
    """
    if world.exists("ledger"):
        raise LedgerAlreadyOpen()
    format_national(command.site_code, context.today.year, Level.INTERMEDIATE, 1)
    keys = [introduction_of(key) for key in context.keys]
    for key in keys:
        ensure_introduced(key, None, context)
    return Decision(facts=tuple(("ledger", fact) for fact in (opening_fact(command), *keys)))


def decide_open_service(world: States, command: OpenService, context: Context) -> Decision:
    """Once, while the ledger is empty: it names two operators, and the keys of the service.

    Raises: LedgerAlreadyOpen, SecondPersonNeeded; KeyIsSecret, KeyIdDiffers, KeyNotSigned.
    Source: docs/production.md, the operator's ledger.
    """
    if world.exists("ledger"):
        raise LedgerAlreadyOpen()
    second = context.pseudonym(command.second)
    if normal_form(second) == normal_form(context.actor.subject):
        raise SecondPersonNeeded()
    opened = e.ServiceOpened(
        organisation_name=command.organisation_name,
        log_origin=command.log_origin,
        first=context.actor.subject,
        second=second,
    )
    keys = [introduction_of(key) for key in context.keys]
    for key in keys:
        ensure_introduced(key, None, context)
    return Decision(facts=tuple(("ledger", fact) for fact in (opened, *keys)))


def decide_set_issuer_url(world: States, command: SetIssuerUrl, context: Context) -> Decision:
    """Several may follow; the newest that has begun is printed, and older ones must redirect to it.

    None begins before the one that was set before it: so the last set is the newest.
    Raises: LedgerNotOpen, IssuerUrlUnchanged, TooEarly.
    Source: source-document 5.3.
    """
    known = world.ledger().issuer_urls
    valid_from = command.valid_from or context.today
    if known and known[-1].url == command.url:
        raise IssuerUrlUnchanged(url=command.url)
    if known and valid_from < known[-1].valid_from:
        raise TooEarly(field="valid_from", earliest=str(known[-1].valid_from))
    fact = e.IssuerUrlSet.model_validate({"url": command.url, "from": valid_from})
    return Decision(facts=(("ledger", fact),))


def _reads_version(cached: StateHint, command: OpenLedger, context: Context) -> ReadSet:
    return ReadSet(versions=("ledger",))


def _reads_of_service(cached: StateHint, command: OpenService, context: Context) -> ReadSet:
    context.pseudonym(command.second)
    return ReadSet(versions=("ledger",))


def _reads_ledger(cached: StateHint, command: SetIssuerUrl, context: Context) -> ReadSet:
    return ReadSet(("ledger",))


OPEN_LEDGER = CommandSpec(
    OpenLedger, decide_open_ledger, _reads_version, roles=frozenset({Role.OPERATOR})
)

OPEN_SERVICE = CommandSpec(
    OpenService, decide_open_service, _reads_of_service, roles=frozenset({Role.OPERATOR})
)

SET_ISSUER_URL = CommandSpec(
    SetIssuerUrl, decide_set_issuer_url, _reads_ledger, roles=frozenset({Role.OPERATOR})
)

SPECS = (OPEN_LEDGER, OPEN_SERVICE, SET_ISSUER_URL)
