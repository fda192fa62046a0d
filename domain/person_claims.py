"""Which blind indexes a person has, as a function of facts.

They say whose an identity document is, without an event that has one: the journal inserts them in a
table of their own, and an erasure removes them. `domain.commands` computes those of every decision
from here, and the audit and the rebuild of the table compute all of them again from the opened
facts, so there is one rule. Reading order: PersonClaims, person_claims_of, document_index.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from domain import events as e
from domain.values.identity_documents import DocumentType, passport_key, same_person_key

BlindIndex = Callable[[str, str], str]
"""`blind_index(kind, text)`: keyed index of a personal text."""

PersonIndex = tuple[str, str]
"""(kind, blind index)."""

DOCUMENT = "document"
"""Over the number and its class: one person has it."""
PASSPORT = "passport"
"""Over a passport's number without its country: several persons may have it."""
CONTESTED = "contested"
"""As DOCUMENT, of a registration whose document is another person's so far."""
NAMED = "named_document"
"""Over the number, its class and the name: finds a person for an agency that knows both."""


class PersonClaims(NamedTuple):
    """Every index that a person has from now on; none after an erasure."""

    person_id: str
    indexes: tuple[PersonIndex, ...]


IDENTITY_FACTS = (e.PersonRegistered, e.RegistrationContested, e.PersonCorrected)
"""The facts with a person's name and document."""

IdentityFact = e.PersonRegistered | e.RegistrationContested | e.PersonCorrected

FIRST_FACTS = e.REGISTRATION
"""The facts that a person begins with."""

TOPICS = frozenset(fact.TOPIC for fact in (*IDENTITY_FACTS, *e.FORGETTING))
"""The facts that change the indexes of a person."""


def person_claims_of(fact: e.Fact, blind_index: BlindIndex) -> PersonClaims | None:
    """The indexes of the person after a fact; None if it changes none.

    fact: opened. A name or number that cannot be opened any more gives no index.
    """
    if isinstance(fact, e.FORGETTING):
        return PersonClaims(fact.person_id, ())
    if not isinstance(fact, IDENTITY_FACTS):
        return None
    number = fact.document_number
    if number is None or fact.name is None:
        return PersonClaims(fact.person_id, ())
    key = same_person_key(fact.document_type, number, fact.document_country)
    if not isinstance(fact, e.PersonRegistered) and fact.held_by is not None:
        return PersonClaims(fact.person_id, ((CONTESTED, blind_index(DOCUMENT, key)),))
    found = [document_index(blind_index, key), named_index(blind_index, key, fact.name)]
    if fact.document_type is DocumentType.PASSPORT:
        found.append((PASSPORT, blind_index(DOCUMENT, passport_key(number))))
    return PersonClaims(fact.person_id, tuple(found))


def document_index(blind_index: BlindIndex, key: str) -> PersonIndex:
    """The index of a document. key: its `same_person_key`."""
    return DOCUMENT, blind_index(DOCUMENT, key)


def named_index(blind_index: BlindIndex, key: str, name: str) -> PersonIndex:
    """The index of a document together with the name in normal form."""
    return NAMED, blind_index(NAMED, named_text(key, name))


def named_text(key: str, name: str) -> str:
    """The text of a document together with a name, as it is indexed."""
    return f"{key}|{name}"
