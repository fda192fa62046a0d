"""The certificate registry: is this certificate authentic, and is it valid?

One current row for each certificate, with separate number spaces for the two kinds, and a row for
every state it was in. A holder's identity is in `certificate_people` and repeated in the rows of
their certificates, so that a lookup reads one table: masked, and as blind indexes that match only a
caller who already knows the name or number. After an erasure both masks read 已删除 and the indexes
are null, so that only its link finds the certificate.

A certificate that is numbered but not issued is not public: no public query returns it.
The link printed as a QR code contains a keyed hash, which is not in the journal and cannot be
guessed. Each version has its own; an old one still finds the certificate and reports that it was
replaced, and a link of a key that was retired still finds it. The queries are in queries.py.
Source: source-document 5.2, 5.3, 5.4.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from domain import events as e
from domain.values.identity_documents import DocumentType, passport_key, same_person_key
from projections.certificate_registry.public_record import VIEW_NAME
from projections.certificate_registry.state_history import NO_HISTORY, extended
from projections.certificate_registry.tables import (
    APPLICATIONS,
    CERTIFICATES,
    LEDGER,
    OLD_TOKENS,
    PEOPLE,
    STATES,
)
from projections.engine.row_seals import ViewWrong
from projections.engine.rows import RowBuffer
from projections.engine.tables import Row
from projections.engine.view import Entry, Handles, PersonEntry, View, topics
from projections.masking import erased_person, is_identity_gone, masked_person

# --- ledger, persons, applications --------------------------------------------------------------


def _ledger_opened(rows: RowBuffer, entry: Entry) -> None:
    named = ("organisation_name", "issuer_name", "site_code")
    row = {name: entry.data[name] for name in named}
    rows.upsert(LEDGER, {**row, "name": "ledger", "position": entry.position})


_INDEXES = ("name_index", "document_index", "passport_index")
_HOLDER = ("masked_name", "masked_number", "document_type", *_INDEXES)


def _holder(person: Row) -> Row:
    """The columns of a person that each of their certificates repeats."""
    return {name: person[name] for name in _HOLDER} | {"holder_position": person["position"]}


def _registered(rows: RowBuffer, entry: Entry) -> None:
    """A registration, contested or not."""
    rows.upsert(PEOPLE, masked_person(entry) | _indexes(rows, entry) | {"certificates": []})


def _corrected_person(rows: RowBuffer, entry: Entry) -> None:
    numbers = rows.require(PEOPLE, entry.data["person_id"])["certificates"]
    _upsert_person(rows, masked_person(entry) | _indexes(rows, entry) | {"certificates": numbers})


def _indexes(rows: RowBuffer, entry: Entry) -> dict[str, str | None]:
    """What a lookup finds a person by; nothing if their key was destroyed in the meantime.

    passport_index finds a passport by a lookup that names no country, perhaps of several persons.
    """
    assert isinstance(entry, PersonEntry)
    name, number = entry.opened["name"], entry.opened["document_number"]
    if name is None or number is None:
        return dict.fromkeys(_INDEXES)
    kind = DocumentType(entry.data["document_type"])
    index = rows.keyed.stored_index
    key = same_person_key(kind, number, entry.data["document_country"])
    is_passport = kind is DocumentType.PASSPORT
    return {
        "name_index": index("name", name),
        "document_index": index("document", key),
        "passport_index": index("document", passport_key(number)) if is_passport else None,
    }


def _upsert_person(rows: RowBuffer, person: Row) -> None:
    """Write a person, and the columns that their certificates repeat.

    Raises: ViewWrong if a certificate is missing.
    """
    rows.upsert(PEOPLE, person)
    if not person["certificates"]:
        return
    holder = _holder(person)
    rows.prefetch(CERTIFICATES, person["certificates"])
    for number in person["certificates"]:
        theirs = [
            certificate
            for certificate in rows.group(CERTIFICATES, number)
            if certificate["person_id"] == person["person_id"]
        ]
        if not theirs:
            raise ViewWrong(view=VIEW_NAME)
        for certificate in theirs:
            rows.upsert(CERTIFICATES, {**certificate, **holder})


def _erased(rows: RowBuffer, entry: Entry) -> None:
    """Every fact of an erasure: the position counts also if no name went."""
    person = rows.get(PEOPLE, entry.data["person_id"])
    if person is None:  # an objector who is not registered has no row
        return
    if not is_identity_gone(entry):
        _upsert_person(rows, {**person, "position": entry.position})
        return
    _upsert_person(rows, {**erased_person(person, entry), **dict.fromkeys(_INDEXES)})


def _application(rows: RowBuffer, entry: Entry) -> None:
    row = {name: entry.data[name] for name in _DESCRIBED}
    row |= {"theory": None, "practical": None, "position": entry.position}
    rows.upsert(APPLICATIONS, {**row, "application_id": entry.data["application_id"]})


_DESCRIBED = ("occupation", "occupation_name", "edition", "level", "job_type")


def _result(rows: RowBuffer, entry: Entry) -> None:
    """A certificate states the marks as published. Source: source-document 5.1."""
    application = rows.require(APPLICATIONS, entry.data["application_id"])
    marks = {name: entry.data[name] for name in ("theory", "practical")}
    rows.upsert(APPLICATIONS, {**application, **marks, "position": entry.position})


# --- certificates -------------------------------------------------------------------------------


def _change(rows: RowBuffer, entry: Entry, row: Row, **changes: Any) -> None:
    """Write the certificate's next state, current and in the log of states."""
    changed = {**row, **changes, "position": entry.position, "changed_at": entry.recorded_at}
    if not changes.keys().isdisjoint(_STANDING):
        changed["current_since"] = entry.occurred_at
    _write(rows, entry, changed)


def _write(rows: RowBuffer, entry: Entry, changed: Row) -> None:
    state = {
        "application_id": changed["application_id"],
        "kind": changed["kind"],
        "number": changed["number"],
        "position": entry.position,
        "event": _event(entry.topic),
        "progress": changed["progress"],
        "standing": changed["standing"],
        "reason_class": changed["reason_class"],
        "version": changed["version"],
        "issued_on": changed["issued_on"],
        "occurred_at": entry.occurred_at,
        "recorded_at": entry.recorded_at,
    }
    rows.add(STATES, state)
    digest = extended(changed["history_sha256"], state)
    rows.upsert(CERTIFICATES, {**changed, "history_sha256": digest})


@cache
def _event(topic: str) -> str:
    return topic.partition(".")[0].removeprefix("certificate_")


_STANDING = {"standing", "version"}
"""Columns whose change sets `current_since`."""


def _certificate(rows: RowBuffer, entry: Entry) -> Row:
    return rows.require(CERTIFICATES, entry.data["number"], entry.data["kind"])


def _numbered(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    application = rows.require(APPLICATIONS, data["application_id"])
    person = rows.require(PEOPLE, data["person_id"])
    rows.upsert(PEOPLE, {**person, "certificates": [*person["certificates"], data["number"]]})
    ledger = rows.require(LEDGER, "ledger")
    described = {name: application[name] for name in (*_DESCRIBED, "theory", "practical")}
    row = {
        **described,
        **_holder(person),
        "organisation_name": ledger["organisation_name"],
        "issuer_name": ledger["issuer_name"],
        "application_id": data["application_id"],
        "kind": data["kind"],
        "number": data["number"],
        "person_id": data["person_id"],
        "source": data["source"],
        "issued": False,
        "issued_on": None,
        "progress": "numbered",
        "seen_province_on": None,
        "seen_nation_on": None,
        "report_id": None,
        "standing": "valid",
        "reason_class": None,
        "version": 0,
        "reissued_on": None,
        "current_since": entry.occurred_at,
        "verify_token": None,
        "position": entry.position,
        "changed_at": entry.recorded_at,
        "history_sha256": NO_HISTORY,
    }
    _write(rows, entry, row)


def _token(rows: RowBuffer, entry: Entry, version: int) -> str:
    """The link to print on a version; those of retired keys find it too."""
    named = {name: entry.data[name] for name in ("number", "kind")} | {"version": version}
    link, *retired = rows.keyed.links(named["kind"], named["number"], version)
    at = {"position": entry.position}
    rows.add(OLD_TOKENS, *(named | at | {"token": token} for token in retired))
    return link


def _add_old_token(rows: RowBuffer, entry: Entry, certificate: Row) -> None:
    """Let the link of the replaced version still find the certificate."""
    named = {name: certificate[name] for name in ("number", "kind", "version")}
    old = {"token": certificate["verify_token"], "position": entry.position}
    rows.add(OLD_TOKENS, named | old)


def _issued(rows: RowBuffer, entry: Entry) -> None:
    """The certificate becomes public. Source: source-document 5.2, 5.3."""
    version = entry.data["version"]
    certificate = _certificate(rows, entry)
    _change(
        rows,
        entry,
        certificate,
        issued=True,
        issued_on=entry.data["issued_on"],
        progress="issued",
        version=version,
        verify_token=_token(rows, entry, version),
    )


def _reported(rows: RowBuffer, entry: Entry) -> None:
    report_id = entry.data["report_id"]
    _change(rows, entry, _certificate(rows, entry), progress="reported", report_id=report_id)


def _accepted(rows: RowBuffer, entry: Entry) -> None:
    _change(rows, entry, _certificate(rows, entry), progress="accepted")


def _rejected(rows: RowBuffer, entry: Entry) -> None:
    _change(rows, entry, _certificate(rows, entry), progress="rejected")


def _visible(rows: RowBuffer, entry: Entry) -> None:
    """Visible in the province first, months later in the nation. Source: source-document 5.3."""
    seen = {f"seen_{entry.data['scope']}_on": entry.data["seen_on"]}
    _change(rows, entry, _certificate(rows, entry), progress="visible", **seen)


def _corrected(rows: RowBuffer, entry: Entry) -> None:
    """The next version; it has to be reported again, so its visibility is reset."""
    version = entry.data["version"]
    certificate = _certificate(rows, entry)
    _add_old_token(rows, entry, certificate)
    _change(
        rows,
        entry,
        certificate,
        version=version,
        progress="issued",
        seen_province_on=None,
        seen_nation_on=None,
        verify_token=_token(rows, entry, version),
    )


def _reissued(rows: RowBuffer, entry: Entry) -> None:
    """The next version has the same content; the link of the lost one reports the replacement."""
    version = entry.data["version"]
    certificate = _certificate(rows, entry)
    _add_old_token(rows, entry, certificate)
    _change(
        rows,
        entry,
        certificate,
        version=version,
        reissued_on=entry.data["reissued_on"],
        verify_token=_token(rows, entry, version),
    )


def _suspended(rows: RowBuffer, entry: Entry) -> None:
    _change(rows, entry, _certificate(rows, entry), standing="suspended")


def _reinstated(rows: RowBuffer, entry: Entry) -> None:
    _change(rows, entry, _certificate(rows, entry), standing="valid")


def _revoked(rows: RowBuffer, entry: Entry) -> None:
    """Revoke for good; the public sees the class of the reason, not its text."""
    reason = entry.data["reason_class"]
    _change(rows, entry, _certificate(rows, entry), standing="revoked", reason_class=reason)


_ONE = (CERTIFICATES,)

VIEW = View(
    name=VIEW_NAME,
    version=11,
    tables=(LEDGER, PEOPLE, APPLICATIONS, CERTIFICATES, STATES, OLD_TOKENS),
    handles={
        e.LedgerOpened.TOPIC: Handles(_ledger_opened),
        e.PersonRegistered.TOPIC: Handles(_registered, (PEOPLE,)),
        e.RegistrationContested.TOPIC: Handles(_registered, (PEOPLE,)),
        e.PersonCorrected.TOPIC: Handles(_corrected_person, (PEOPLE,)),
        **{fact.TOPIC: Handles(_erased, (PEOPLE,)) for fact in e.ERASURE},
        e.ApplicationOpened.TOPIC: Handles(_application, (APPLICATIONS,)),
        e.ResultPublished.TOPIC: Handles(_result, (APPLICATIONS,)),
        e.CertificateNumbered.TOPIC: Handles(_numbered, (APPLICATIONS, PEOPLE, CERTIFICATES)),
        e.CertificateIssued.TOPIC: Handles(_issued, _ONE),
        e.CertificateReported.TOPIC: Handles(_reported, _ONE),
        e.CertificateAccepted.TOPIC: Handles(_accepted, _ONE),
        e.CertificateRejected.TOPIC: Handles(_rejected, _ONE),
        e.CertificateVisible.TOPIC: Handles(_visible, _ONE),
        e.CertificateCorrected.TOPIC: Handles(_corrected, _ONE),
        e.CertificateReissued.TOPIC: Handles(_reissued, _ONE),
        e.CertificateSuspended.TOPIC: Handles(_suspended, _ONE),
        e.CertificateReinstated.TOPIC: Handles(_reinstated, _ONE),
        e.CertificateRevoked.TOPIC: Handles(_revoked, _ONE),
    },
    ignores=topics(
        e.ErasureProposed,
        *(e.ServiceOpened, e.IssuerUrlSet, *e.EDITION, *e.ACTOR, *e.KEY, e.LogContinuedElsewhere),
        *(*e.SETTLEMENT, *e.ELIGIBILITY, e.ApplicationWithdrawn),
        *(*e.PAYMENT, *e.DOCUMENT),
        *(*e.REVIEW, *e.REFUND, *e.EXAM_SESSION, *e.SEAT, *e.SCORE, *e.NOTICE, *e.OBJECTION),
        *(e.SerialTaken, e.ReportFrozen),
    ),
)
