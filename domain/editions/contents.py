"""What an edition of each kind holds: a model, which checks it, and rules that are read from it.

Reading order: CONTENTS, `check_edition`, `rules_of`.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from domain.documents.document_rules import DocumentRules
from domain.editions.edition import (
    CONTENT_BYTES_MAX,
    Edition,
    EditionKind,
    EditionTooLarge,
    MalformedEdition,
    canonical_json,
    make_edition,
)
from domain.editions.fees import FeeTable
from domain.editions.posting import PostingRules
from domain.editions.refund_rules import RefundRules
from domain.editions.retention import RetentionRules
from domain.eligibility.rule_sets import EligibilityRules
from domain.values.working_days import HolidayTable

M = TypeVar("M", bound=BaseModel)

CONTENTS: dict[EditionKind, type[BaseModel]] = {
    EditionKind.CALENDAR: HolidayTable,
    EditionKind.ELIGIBILITY: EligibilityRules,
    EditionKind.DOCUMENTS: DocumentRules,
    EditionKind.FEES: FeeTable,
    EditionKind.RETENTION: RetentionRules,
    EditionKind.POSTING: PostingRules,
    EditionKind.REFUND: RefundRules,
}
"""Kind -> the model of its content; its JSON Schema is docs/schemas/edition-<kind>.json."""

TERM_DAYS_MAX = 366
"""A calendar begins this many days before it holds, so that it can count a term again that began
under the edition before it: results are published a month after an exam, or late."""


def check_edition(kind: EditionKind, edition: str, valid_from: date, content: Any) -> Edition:
    """An edition whose content is what its kind holds.

    Raises: MalformedEdition with the place and the reason, EditionTooLarge.
    """
    checked = check_content(kind, content)
    if isinstance(checked, HolidayTable):
        _check_reach(checked, valid_from)
    stored = stored_form(checked)
    size = len(canonical_json(stored))
    if size > CONTENT_BYTES_MAX:
        raise EditionTooLarge(kind=kind.value, limit_bytes=CONTENT_BYTES_MAX, size_bytes=size)
    return make_edition(kind, edition, valid_from, stored)


def check_content(kind: EditionKind, content: Any) -> BaseModel:
    """The content of a kind as its model. Raises: MalformedEdition."""
    try:
        return CONTENTS[kind].model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(("content", *map(str, first["loc"])))
        reason = first["msg"].removeprefix("Value error, ")
        raise MalformedEdition(kind=kind.value, place=place, reason=reason) from None


def stored_form(content: BaseModel) -> dict[str, Any]:
    """A content as it is stored and hashed, with every default written out.

    Written out, because a default that a later release changes must not change what was adopted.
    """
    return content.model_dump(mode="json")


def _check_reach(table: HolidayTable, valid_from: date) -> None:
    """Raises: MalformedEdition for a table that does not reach from before to after a day."""
    kind = EditionKind.CALENDAR.value
    if table.known_through < valid_from:
        reason = f"the table ends before the edition holds, which is on {valid_from}"
        raise MalformedEdition(kind=kind, place="content.known_through", reason=reason)
    if (valid_from - table.begins_on).days < TERM_DAYS_MAX:
        reason = f"the table begins less than {TERM_DAYS_MAX} days before the edition holds"
        raise MalformedEdition(kind=kind, place="content.begins_on", reason=reason)


@lru_cache(maxsize=512)
def _parsed(edition: Edition) -> BaseModel:
    return CONTENTS[edition.kind].model_validate(edition.content)


def rules_of(edition: Edition, model: type[M]) -> M:
    """The content of an edition as its model; parsed once."""
    rules = _parsed(edition)
    assert isinstance(rules, model), f"an edition of {edition.kind} holds no {model.__name__}"
    return rules
