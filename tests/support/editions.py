"""Synthetic editions of rules: next year's calendar and others that no authority has published."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from typing import Any

from domain.documents.document_rules import DocumentRules
from domain.editions.edition import EditionKind
from domain.editions.packaged import packaged_editions
from domain.states.editions import Editions, calendar_on, document_rules_on
from domain.steps.edition_adoption import ProposeEdition
from domain.values.working_days import WorkingCalendar
from tests.support.service import LedgerClient

DECEMBER = date(2026, 12, 1)


def packaged_content(kind: EditionKind) -> dict[str, Any]:
    """A copy of the packaged content of a kind; of eligibility the first set of rules."""
    return deepcopy(packaged_editions(kind)[0].content)


def packaged_calendar() -> WorkingCalendar:
    """The working days that hold without an adopted edition."""
    return calendar_on(Editions(EditionKind.CALENDAR), date.min)


def packaged_document_rules() -> DocumentRules:
    """The rules of documents that hold without an adopted edition."""
    return document_rules_on(Editions(EditionKind.DOCUMENTS), date.min)


def changed(
    kind: EditionKind, edition: str, valid_from: date = DECEMBER, **content: Any
) -> ProposeEdition:
    """The packaged rules of a kind with other values."""
    return ProposeEdition(
        kind=kind,
        edition=edition,
        valid_from=valid_from,
        content=packaged_content(kind) | content,
    )


def no_retention() -> ProposeEdition:
    """Nothing is kept longer than the day on which it ends, and accounts keep no name."""
    rules = packaged_content(EditionKind.RETENTION)["rules"]
    for rule in rules:
        rule |= {"years": 0}
        if rule["starts"] == "accounting_year_ended":
            rule |= {"classes": ["money"]}
    return changed(EditionKind.RETENTION, "retention-none", date(2026, 1, 1), rules=rules)


def adopt_over_http(ledger: LedgerClient, proposal: ProposeEdition) -> None:
    """Two persons adopt an edition."""
    body = proposal.model_dump(mode="json", exclude={"kind"})
    path = f"editions/{proposal.kind.value}"
    proposed = ledger.caller("operator").write(path, body)
    adoption = f"{path}/{proposed['outcome']['sha256']}/adoption"
    ledger.caller("certifier").write(adoption)


def calendar_2027(edition: str = "cn-2027.1", valid_from: date = DECEMBER) -> ProposeEdition:
    """A calendar that knows 2027; its days are made up: 1 to 3 January are off."""
    known = packaged_content(EditionKind.CALENDAR)
    holidays = [
        {"name": "元旦", "first": "2027-01-01", "last": "2027-01-03"},
        {"name": "劳动节", "first": "2027-05-01", "last": "2027-05-05"},
        {"name": "国庆节", "first": "2027-10-01", "last": "2027-10-07"},
    ]
    return changed(
        EditionKind.CALENDAR,
        edition,
        valid_from,
        source="made up for a test",
        known_through="2027-12-31",
        holidays=[*known["holidays"], *holidays],
    )
