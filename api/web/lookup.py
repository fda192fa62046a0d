"""The pages of the certificate lookup: the form, its answer, and the page of a link.

`form_of` decodes the form, `api.lookup.criteria` reads its fields as it reads those of JSON; here
is how faults, hints and certificates are shown. The form is sent by POST, so that what was typed is
in no address and in no log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from api.errors.request import LookupsTooFast
from api.http.context import AppContext
from api.http.negotiation import Language
from api.lookup.criteria import FIELD_CHARS_MAX, FieldName, Hint, InvalidLookup, LookupCriteria
from api.lookup.rate_limit import address_of, limit_of
from api.web.certificate_card import by_kind, card
from api.web.i18n import text
from api.web.page_route import form_of
from api.web.queries import by_link, look_up
from api.web.rendering import language_of, render
from domain.values.certificate_links import LINK_PATTERN
from projections.engine.tables import Row

FIELDS: tuple[FieldName, ...] = ("number", "name", "document_number")
_TOKEN = re.compile(LINK_PATTERN)

FAULTS: dict[FieldName, str] = {
    "number": "lookup.number_fault",
    "name": "lookup.name_fault",
    "document_number": "lookup.document_fault",
}
HINTS: dict[Hint, tuple[FieldName, str]] = {
    Hint.OBSOLETE_DRAFT: ("number", "lookup.number_old"),
    Hint.QUALIFICATION: ("number", "lookup.number_old"),
    Hint.QUALIFICATION_SHANGHAI: ("number", "lookup.number_old"),
    Hint.UNKNOWN: ("number", "lookup.number_fault"),
    Hint.DOCUMENT_NUMBER: ("document_number", "lookup.document_slip"),
}
"""Hint -> the field it is about, and the key of its text."""


class FieldHint(NamedTuple):
    """A hint as it is shown, and the field to go to."""

    field: FieldName
    text: str


@dataclass
class LookupPage:
    """What the lookup page shows.

    typed: the fields as they were typed. faults: field -> text. summary: the faults again, each
    with the field to go to. cards: the certificates found, None while there is no answer.
    searched: whether the registry was searched, or the number cannot be in it.
    """

    typed: dict[FieldName, str]
    faults: dict[FieldName, str] = field(default_factory=dict)
    summary: list[tuple[FieldName | None, str]] = field(default_factory=list)
    too_few: bool = False
    hint: FieldHint | None = None
    cards: list[Row] | None = None
    searched: bool = False


async def lookup_form(request: Request) -> Response:
    """GET /lookup: the empty form."""
    return _render(request, LookupPage({name: "" for name in FIELDS}))


async def lookup_answer(request: Request) -> Response:
    """POST /lookup: what was found, or what is wrong with the form."""
    service: AppContext = request.app.state.service
    language = language_of(request)
    form = await form_of(request)
    page = LookupPage({name: form.get(name, "").strip()[:FIELD_CHARS_MAX] for name in FIELDS})
    number, name, document = [form.get(field_name) for field_name in FIELDS]
    try:
        criteria = LookupCriteria.parse(service.registry.search_tokens, number, name, document)
    except InvalidLookup as invalid:
        _add_faults(page, invalid, language)
        return _render(request, page, status=422)
    limit, address = limit_of(request), address_of(request)
    try:
        limit.charge(address)
    except LookupsTooFast as refusal:
        page.summary = [(None, text(language, "lookup.slow_down", seconds=refusal.seconds))]
        headers = {"Retry-After": str(refusal.seconds)}
        return _render(request, page, status=429, headers=headers)
    found = await service.read(service.views.ask, look_up, criteria, service.registry.checks)
    if criteria.is_miss(found):
        limit.charge_miss(address)
        service.registry.check_absence()
    page.searched = bool(criteria.keys)
    page.cards = [card(row, language) for row in found]
    if criteria.hint is not None and not found:
        about, key = HINTS[criteria.hint]
        page.hint = FieldHint(about, text(language, key))
        page.faults[about] = page.hint.text
    return _render(request, page)


def _add_faults(page: LookupPage, invalid: InvalidLookup, language: Language) -> None:
    page.too_few = invalid.too_few
    page.faults = {name: text(language, FAULTS[name]) for name in invalid.faults}
    if invalid.hint is not None:
        about, key = HINTS[invalid.hint]
        page.faults[about] = text(language, key)
    if invalid.too_few:
        empty = next(name for name in FIELDS if not page.typed[name])
        page.summary.append((empty, text(language, "lookup.too_few")))
    page.summary += [(name, page.faults[name]) for name in FIELDS if name in page.faults]


def _render(
    request: Request,
    page: LookupPage,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    posted = request.method == "POST"
    cards = by_kind(page.cards or [])
    return render(
        request,
        "lookup.html",
        caching="never" if posted else "revalidate",
        status=status,
        form="lookup" if posted else None,
        headers=headers,
        national=cards["national"],
        omc=cards["omc"],
        found=len(page.cards or []),
        answered=page.cards is not None,
        searched=page.searched,
        typed=page.typed,
        hint=page.hint,
        fault={name: page.faults.get(name, "") for name in FIELDS},
        faults=page.summary,
        too_few=page.too_few,
    )


async def link_page(request: Request) -> Response:
    """GET /v/{token}: the certificate whose holder gave the link out."""
    service: AppContext = request.app.state.service
    token = request.path_params["token"]
    found = None
    if _TOKEN.fullmatch(token):
        found = await service.read(service.views.ask, by_link, token, service.registry.checks)
    # The address is the secret here, so no other site may learn it from a referrer.
    headers = {"Referrer-Policy": "no-referrer"}
    if found is None:
        service.registry.check_absence()
        return render(request, "unknown_link.html", caching="never", status=404, headers=headers)
    address = f"{service.settings.public_base_url}/v/{token}"
    cards = by_kind([card(found, language_of(request), marks=True, link=address)])
    return render(
        request,
        "verify.html",
        caching="never",
        headers=headers,
        national=cards["national"],
        omc=cards["omc"],
        address=address,
    )
