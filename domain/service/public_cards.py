"""Makes the public card of a certificate again, as it was when its hash was recorded.

A fact holds the card's hash only. What the card says is in the facts before it: of the application,
of its person and of the ledger. Reading order: GivenCard, `card_at`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from domain.decision import Identity, NotFound, stream_of
from domain.documents.materials import MaterialKind
from domain.errors import LedgerError
from domain.events import (
    CERTIFICATE_TEXT,
    CertificateIssued,
    CertificateKind,
    DocumentSubmitted,
)
from domain.service.command_execution import identity_of
from domain.service.ledger import Ledger
from domain.states.application import Candidacy
from domain.states.folds import evolve
from domain.steps.certificate import card_of
from domain.steps.enrolment import PersonErased
from domain.store.journal.records import RecordedEvent
from domain.values.certificate_cards import canonical_card, card_sha256
from domain.values.sealed_fields import DataClass

_NEEDED = {DataClass.IDENTITY, DataClass.CERTIFICATE}


class CardDiffers(LedgerError):
    """The facts do not give the card whose hash is recorded at position {position}."""

    code = "card_differs"


class GivenCard(NamedTuple):
    """A card with what proves it.

    card: canonical JSON. sha256, salt: 64 hex digits. position: of the event that recorded sha256.
    """

    card: bytes
    sha256: str
    salt: str
    position: int


def card_at(
    ledger: Ledger, application_id: str, kind: CertificateKind, number: str, version: int
) -> GivenCard:
    """The card of one version of a certificate; blocking.

    Raises: NotFound if no such version was issued; PersonErased once its holder's name or its salt
        was destroyed; CardDiffers; Unavailable.
    """
    state, photo, event = _before(ledger, application_id, kind, number, version)
    if _NEEDED & ledger.state("person", state.person_id).destroyed:
        raise PersonErased()
    text: Any = ledger.mapper.entry(event).fact
    if text.card_salt is None:
        raise PersonErased()
    certificate = state.certificates[kind]
    issued_on = text.issued_on if isinstance(text, CertificateIssued) else certificate.issued_on
    assert issued_on is not None, "only an issued certificate has another version"
    identity = _identity_at(ledger, state.person_id, event.position)
    issuer = ledger.state("ledger").organisation
    shown: Any = None if photo is None else ledger.mapper.entry(photo).fact
    card = canonical_card(
        card_of(
            ledger.name,
            issuer,
            state,
            certificate,
            identity,
            None if shown is None else shown.photo_sha256,
            issued_on,
            version,
        )
    )
    if card_sha256(card, bytes.fromhex(text.card_salt)) != text.card_sha256:
        raise CardDiffers(position=event.position)
    return GivenCard(card, text.card_sha256, text.card_salt, event.position)


def _before(
    ledger: Ledger, application_id: str, kind: CertificateKind, number: str, version: int
) -> tuple[Candidacy, RecordedEvent | None, RecordedEvent]:
    """The application before a version's text was fixed, its photo, and the event that fixed it.

    Raises: NotFound.
    """
    state: Any = None
    photo: RecordedEvent | None = None
    for event in ledger.journal.stream(stream_of("application", application_id)):
        entry = ledger.mapper.sealed_entry(event)
        fact = entry.fact
        if isinstance(fact, CERTIFICATE_TEXT) and (fact.kind, fact.number, fact.version) == (
            *(kind, number, version),
        ):
            return state, photo, event
        if isinstance(fact, DocumentSubmitted) and fact.kind is MaterialKind.PHOTO:
            photo = event
        state = evolve(state, entry)
    raise NotFound(what="certificate", id=number)


def _identity_at(ledger: Ledger, person_id: str, position: int) -> Identity:
    """Name and document as they were. Raises: PersonErased."""
    recorded = ledger.journal.stream(stream_of("person", person_id))
    earlier = [event for event in recorded if event.position < position]
    try:
        return identity_of(person_id, ledger.mapper.entries(earlier))
    except NotFound:
        raise PersonErased() from None
