"""Contents of the admission ticket (准考证), as JSON and as PDF. Source: 4.1, 4.2."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field

from api.files.admission_ticket_pdf import TicketSheet, TicketSubject, render_ticket
from api.http.dependencies import QueryContext
from api.routes.masking import PersonShown, show_person
from domain.decision import NotFound
from domain.documents.document_rules import DocumentRules
from domain.documents.materials import MaterialKind
from domain.editions.edition import EditionKind
from domain.service.ledger import Ledger
from domain.states.application import Candidacy
from domain.states.editions import document_rules_on
from domain.states.folds import ExamSession
from domain.steps.enrolment import PersonErased
from domain.values.identity_documents import DocumentType
from domain.values.primitives import format_instant
from domain.values.working_days import shanghai_date


class SittingShown(BaseModel):
    """One subject of the ticket."""

    subject: str
    starts_at: str
    ends_at: str


class TicketBody(BaseModel):
    """准考证 · everything that is printed on the ticket."""

    ticket_number: str
    application_id: str
    session_id: str
    session_name: str
    person: PersonShown
    occupation_name: str
    level: int
    level_name: str
    place: str
    address: str
    room: str
    seat: int = Field(ge=1)
    subjects: list[SittingShown]


def ticket_of(reading: QueryContext, state: Candidacy) -> dict[str, Any]:
    """The ticket of an application; blocking. Raises: NotFound if it has no seat yet."""
    session, room, seat = seat_of(reading, state)
    plan = session.scheduled
    length = timedelta(minutes=plan.subject_minutes)
    return {
        "ticket_number": state.ticket_number,
        "application_id": state.id,
        "session_id": session.id,
        "session_name": plan.name,
        "person": show_person(reading, state.person_id),
        "occupation_name": state.occupation_name,
        "level": int(state.level),
        "level_name": state.level.chinese_name,
        "place": plan.place,
        "address": plan.address,
        "room": room,
        "seat": seat,
        "subjects": [
            {
                "subject": name,
                "starts_at": format_instant(start),
                "ends_at": format_instant(start + length),
            }
            for name, start in _sittings(session)
        ],
    }


def _sittings(session: ExamSession) -> list[tuple[str, datetime]]:
    plan = session.scheduled
    both = [("theory", plan.theory_starts_at), ("practical", plan.practical_starts_at)]
    return sorted(both, key=lambda sitting: sitting[1])


def seat_of(reading: QueryContext, state: Candidacy) -> tuple[ExamSession, str, int]:
    """Session, room and seat of an application; blocking. Raises: NotFound."""
    if state.session_id is None:
        raise NotFound(what="ticket", id=state.id)
    session: ExamSession = reading.ledger.state("session", state.session_id)
    for key, application_id in session.seats.items():
        if application_id == state.id:
            room, _, seat = key.rpartition("#")
            return session, room, int(seat)
    raise NotFound(what="ticket", id=state.id)


SUBJECT_NAMES = {"theory": "理论知识考试", "practical": "技能考核"}


def ticket_pdf_of(reading: QueryContext, state: Candidacy) -> bytes:
    """The ticket as a PDF; blocking. Raises: NotFound."""
    session, room, seat = seat_of(reading, state)
    plan = session.scheduled
    person = show_person(reading, state.person_id)
    rules = document_rules_today(reading.ledger)
    base = reading.service.settings.public_base_url
    sheet = TicketSheet(
        organisation=reading.ledger.state("ledger").organisation.organisation_name,
        session_title=plan.name,
        ticket_number=state.ticket_number or "",
        name=person["name"],
        document_type=rules.identity_document(DocumentType(person["document_type"])).name,
        document_number=person["document_number"],
        occupation=state.occupation_name,
        job=state.job_type,
        level=state.level.chinese_name,
        subjects=tuple(
            TicketSubject(
                name=SUBJECT_NAMES[name],
                starts_at=start,
                minutes=plan.subject_minutes,
                room=room,
                seat=str(seat),
            )
            for name, start in _sittings(session)
        ),
        place=plan.place,
        address=plan.address,
        photo=_photo(reading, state),
        verification_url=f"{base}/ledgers/{reading.ledger.name}/applications/{state.id}/ticket",
    )
    return render_ticket(sheet)


def _photo(reading: QueryContext, state: Candidacy) -> bytes | None:
    """The submitted photo; None if none was submitted or it is erased, which leaves the box empty.

    Raises: UnknownBlob, BlobDamaged, WrongKey.
    """
    if MaterialKind.PHOTO not in state.documents:
        return None
    files = reading.service.files(reading.ledger)
    try:
        data, _ = files.document_content(state.id, MaterialKind.PHOTO)
    except PersonErased:  # of a photo that goes before name and number do
        return None
    return data


def document_rules_today(ledger: Ledger) -> DocumentRules:
    """The rules of documents that hold today, such as their Chinese names; blocking."""
    editions = ledger.editions(EditionKind.DOCUMENTS)
    return document_rules_on(editions, shanghai_date(datetime.now(UTC)))
