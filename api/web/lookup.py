"""The pages of the certificate lookup: the form, its answer, and the page of a link.

What is typed is checked for its form only, so that an answer never tells whether a number exists.
It goes by POST, into no address and no log.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from api.http.context import AppContext
from api.lookup.rate_limit import TooManyLookups, address_of, limit_of
from api.lookup.registry import Sought
from api.web.certificate_card import by_kind, card
from api.web.i18n import Language, text
from api.web.page_route import form_of
from api.web.queries import Asked, by_link, look_up
from api.web.rendering import language_of, render
from domain.values.certificate_numbers import (
    InvalidCertificateNumber,
    NumberKind,
    OmcNumber,
    classify_number,
    normalise_number,
)
from domain.values.identity_documents import (
    DocumentType,
    InvalidIdentityDocument,
    normalise,
    validate_document,
)
from domain.values.person_names import InvalidName, normalise_name
from domain.values.working_days import SHANGHAI

FIELDS = ("number", "name", "document_number")
TYPED_MAX = 80
"""Characters a field takes."""
_TOKEN = re.compile(r"[0-9a-f]{32}")
_KEPT_ELSEWHERE = (
    NumberKind.QUALIFICATION,
    NumberKind.QUALIFICATION_SHANGHAI,
    NumberKind.OBSOLETE_DRAFT,
)


@dataclass
class LookupForm:
    """What stands in the form, and what is wrong with it: field -> key of a text."""

    values: dict[str, str]
    faults: dict[str, str] = field(default_factory=dict)
    number: str | None = None
    name: str | None = None
    documents: tuple[tuple[DocumentType, str], ...] | None = None

    @property
    def too_few(self) -> bool:
        """Whether fewer than two fields are filled in."""
        return sum(1 for value in self.values.values() if value) < 2

    def asked(self, sought: Callable[[str, str], Sought]) -> Asked:
        """The same as what the registry is searched by."""
        names = None if self.name is None else sought("name", self.name)
        documents = None
        if self.documents is not None:
            keys = (f"{kind.value}|{key}" for kind, key in self.documents)
            documents = tuple(index for key in keys for index in sought("document", key).all())
        return Asked(self.number, names, documents)


def read_form(form: dict[str, str], now: datetime) -> LookupForm:
    """The form, each filled field checked for its shape. now: to judge birth dates by."""
    typed = LookupForm({name: form.get(name, "").strip()[:TYPED_MAX] for name in FIELDS})
    if typed.values["number"]:
        _read_number(typed)
    if typed.values["name"]:
        try:
            typed.name = normalise_name(typed.values["name"])
        except InvalidName:
            typed.faults["name"] = "lookup.name_fault"
    if typed.values["document_number"]:
        _read_document(typed, now)
    return typed


def _read_number(typed: LookupForm) -> None:
    given = typed.values["number"]
    kind = classify_number(given)
    if kind in _KEPT_ELSEWHERE:
        typed.faults["number"] = "lookup.number_old"
    elif kind is NumberKind.OMC:
        try:
            typed.number = str(OmcNumber.parse(given))
        except InvalidCertificateNumber:
            typed.faults["number"] = "lookup.number_fault"
    elif kind is NumberKind.UNKNOWN:
        typed.faults["number"] = "lookup.number_fault"
    else:
        typed.number = normalise_number(given)


def _read_document(typed: LookupForm, now: datetime) -> None:
    """The number alone does not say of which kind of document it is, so every kind is tried."""
    given = typed.values["document_number"]
    if not 4 <= len(normalise(DocumentType.RESIDENT_ID, given)) <= 20:
        typed.faults["document_number"] = "lookup.document_fault"
        return
    today = now.astimezone(SHANGHAI).date()
    found = []
    for kind in DocumentType:
        try:
            found.append((kind, validate_document(kind, given, today).same_person_key))
        except InvalidIdentityDocument:
            continue
    typed.documents = tuple(found)


async def lookup_form(request: Request) -> Response:
    """GET /lookup: the empty form."""
    return _page(request, LookupForm(dict.fromkeys(FIELDS, "")), answered=False)


async def lookup_answer(request: Request) -> Response:
    """POST /lookup: what was found, or what is wrong with the form."""
    service: AppContext = request.app.state.service
    typed = read_form(await form_of(request), datetime.now(SHANGHAI))
    if typed.faults or typed.too_few:
        return _page(request, typed, answered=False, status=422)
    limit, address = limit_of(request), address_of(request)
    try:
        limit.enter(address)
    except TooManyLookups as refused:
        return _slow_down(request, typed, refused)
    asked = typed.asked(service.registry.sought)
    found = await service.read(service.views.ask, look_up, asked)
    if not found:
        limit.missed(address)
    language = language_of(request)
    return _page(request, typed, [card(row, language) for row in found], answered=True)


def _slow_down(request: Request, typed: LookupForm, refused: TooManyLookups) -> Response:
    language = language_of(request)
    told = text(language, "lookup.slow_down", seconds=refused.seconds)
    headers = {"Retry-After": str(refused.seconds)}
    return _page(request, typed, answered=False, status=429, told=told, headers=headers)


def _page(
    request: Request,
    typed: LookupForm,
    cards: list[dict[str, object]] | None = None,
    *,
    answered: bool,
    status: int = 200,
    told: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    language = language_of(request)
    posted = request.method == "POST"
    too_few = posted and not answered and told is None and typed.too_few
    return render(
        request,
        "lookup.html",
        keep="never" if posted else "revalidate",
        status=status,
        form="lookup" if posted else None,
        headers=headers,
        **by_kind(cards or []),
        found=len(cards or []),
        answered=answered,
        asked=typed.values,
        fault=_told(typed, language),
        faults=_summary(typed, language, too_few, told),
        too_few=too_few,
    )


def _told(typed: LookupForm, language: Language) -> dict[str, str]:
    faults = typed.faults
    return {name: text(language, faults[name]) if name in faults else "" for name in FIELDS}


def _summary(
    typed: LookupForm, language: Language, too_few: bool, told: str | None
) -> list[tuple[str | None, str]]:
    """Everything that is wrong, each with the field to go to."""
    summary: list[tuple[str | None, str]] = [(None, told)] if told else []
    if too_few:
        empty = next(name for name in FIELDS if not typed.values[name])
        summary.append((empty, text(language, "lookup.too_few")))
    told_by_field = _told(typed, language)
    return summary + [(name, told_by_field[name]) for name in FIELDS if told_by_field[name]]


async def link_page(request: Request) -> Response:
    """GET /v/{token}: the certificate whose holder gave the link out."""
    service: AppContext = request.app.state.service
    token = request.path_params["token"]
    found = None
    if _TOKEN.fullmatch(token):
        found = await service.read(service.views.ask, by_link, token)
    # The address is the secret here, so no other site may learn it from a referrer.
    headers = {"Referrer-Policy": "no-referrer"}
    if found is None:
        return render(request, "unknown_link.html", keep="never", status=404, headers=headers)
    address = f"{service.settings.public_base_url}/v/{token}"
    shown = card(found, language_of(request), marks=True, link=address)
    return render(
        request, "verify.html", keep="never", headers=headers, **by_kind([shown]), address=address
    )
