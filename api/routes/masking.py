"""Names and document numbers: in full for roles that need them, masked for all others."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydantic import BaseModel, Field

from api.auth.permissions import SEES_IDENTITY
from api.http.dependencies import QueryContext
from domain.actors import Role
from domain.decision import Identity, NotFound, stream_of
from domain.events import ObjectorNamed
from domain.service.ledger import Ledger
from domain.states.folds import Person, Registration
from domain.values.identity_documents import mask_number
from domain.values.person_names import mask_name

ERASED = "已删除"
"""Replaces an erased name or number."""


class PersonShown(BaseModel):
    """A person as this caller may see them."""

    person_id: str
    document_type: str | None = Field(description="null: an objector who is not registered")
    document_country: str | None = Field(description="签发国 of a passport, ISO 3166 alpha-3")
    name: str = Field(description="in full, or masked: 张*")
    document_number: str | None = Field(
        description="in full, or masked: 330*************17; null: an objector"
    )
    masked: bool = Field(description="whether name and number are masked")
    registration: str | None = Field(
        description="registered, contested, joined, rejected or objector; null for candidates and "
        "agencies until it is joined or rejected"
    )
    erased: bool = Field(
        description="whether an erasure was confirmed; what the law keeps is shown until its day"
    )
    version: int = Field(description="of the person's own stream")


def sees_identity(reading: QueryContext, person: Any) -> bool:
    """Whether the caller sees this person's name and number: by role, or as the person."""
    principal = reading.principal
    if principal is None:
        return False
    if principal.role is Role.CANDIDATE:
        return reading.is_own(person)
    return principal.role in SEES_IDENTITY


def show_person(reading: QueryContext, person_id: str) -> dict[str, Any]:
    """A person, masked for the caller; blocking. Raises: NotFound."""
    person = reading.ledger.state("person", person_id)
    full = sees_identity(reading, person)
    if person.registration is Registration.OBJECTOR:
        return _show_objector(reading, person, full)
    try:
        identity: Identity | None = reading.ledger.identity(person_id)
    except NotFound:  # erased: the state exists, the key does not
        identity = None
    return {
        "person_id": person.id,
        "document_type": person.document_type.value,
        "document_country": person.document_country,
        "name": _name(identity, full),
        "document_number": _number(identity, full),
        "masked": not full,
        "registration": person.registration.value if _sees_registration(reading, person) else None,
        "erased": person.erased,
        "version": person.version,
    }


_SEES_OBJECTORS = frozenset({Role.CERTIFIER, Role.REGISTRAR, Role.REGULATOR})


def ensure_shown(reading: QueryContext, person: Person) -> None:
    """Who objected is shown to those who settle objections, erase, or supervise.

    Raises: NotFound for all others, such as agencies: it is no registered person.
    """
    if person.registration is not Registration.OBJECTOR:
        return
    if reading.principal is None or reading.principal.role not in _SEES_OBJECTORS:
        raise NotFound(what="person", id=person.id)


def _show_objector(reading: QueryContext, person: Person, full: bool) -> dict[str, Any]:
    """Who objected. Raises: NotFound."""
    ensure_shown(reading, person)
    named = objector_named(reading.ledger, person.id)
    name = ERASED if named.name is None else named.name
    return {
        "person_id": person.id,
        "document_type": None,
        "document_country": None,
        "name": name if full or named.name is None else mask_name(name),
        "document_number": None,
        "masked": not full,
        "registration": person.registration.value,
        "erased": person.erased,
        "version": person.version,
    }


def show_objector(reading: QueryContext, person_id: str) -> dict[str, str | None]:
    """Who objects, registered or not, as a part of their objection; blocking. Raises: NotFound."""
    person = reading.ledger.state("person", person_id)
    full = sees_identity(reading, person)
    name, contact = None, None
    if person.registration is Registration.OBJECTOR:
        named = objector_named(reading.ledger, person_id)
        name, contact = named.name, named.contact
    else:
        with suppress(NotFound):  # erased
            name = reading.ledger.identity(person_id).name
    return {
        "objector_id": person.id,
        "objector_name": name if full or name is None else mask_name(name),
        "objector_contact": contact if full else None,
    }


def objector_named(ledger: Ledger, person_id: str) -> ObjectorNamed:
    """The fact that names an objector who is not registered; blocking. Raises: NotFound."""
    fact = ledger.history(stream_of("person", person_id))[0].fact
    assert isinstance(fact, ObjectorNamed), "the first fact of an objector"
    return fact


def _sees_registration(reading: QueryContext, person: Person) -> bool:
    """Not those who register, until it is settled: a contested one would show whose numbers are
    known."""
    if person.registration in (Registration.JOINED, Registration.REJECTED):
        return True
    principal = reading.principal
    return principal is not None and principal.role not in (Role.CANDIDATE, Role.AGENCY)


def _name(identity: Identity | None, full: bool) -> str:
    if identity is None:
        return ERASED
    return identity.name if full else mask_name(identity.name)


def _number(identity: Identity | None, full: bool) -> str:
    if identity is None:
        return ERASED
    if full:
        return identity.document_number
    return mask_number(identity.document_type, identity.document_number)
