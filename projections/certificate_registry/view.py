"""The certificate registry: is this certificate real, and does it count?

One current row per certificate, the two kinds in number spaces of their own, and every state it
ever was in. What identifies its holder stands in `certificate_people` and in the rows of their
certificates, so that a lookup reads no other: masked, and as blind indexes that find who already
knows the name or number. After an erasure both masks read 已删除 and the indexes are gone
everywhere: the certificate is then found by its link only.

A certificate that is numbered but not issued is nobody's business yet: no public query shows it.
The link printed as a QR code is a keyed hash, so it is not in the journal and cannot be guessed;
each version has its own, and an old one still finds the certificate and says it was replaced.
Queries stand in registry_queries.py. Source: source-document 5.2, 5.3, 5.4.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from domain import events as e
from projections.certificate_registry.tables import (
    APPLICATIONS,
    BOOK,
    CERTIFICATES,
    OLD_TOKENS,
    PEOPLE,
    STATES,
)
from projections.engine.rows import BlindIndex, RowBuffer
from projections.engine.view import ERASED, Entry, Handles, Row, View, topics
from projections.masking import masks

TOKEN_HEX_DIGITS = 32  # 128 bits: guessing one is hopeless, and the QR code stays small


def verify_token(
    blind_index: BlindIndex,
    algorithm: str | None,
    ledger: str,
    kind: str,
    number: str,
    version: int,
) -> str:
    """The secret part of a certificate's link, 32 lower-case hexadecimal digits.

    algorithm: of the index (the usual one if it names none), so that a link that was printed
    stays what it is when another becomes the usual one. The ledger is part of what is
    hashed, because two ledgers may give the same number of their own kind.
    """
    keyed = blind_index("verify", f"{ledger}|{kind}|{number}|{version}", algorithm)
    return keyed.rpartition(":")[2][:TOKEN_HEX_DIGITS].lower()


# --- who and what -------------------------------------------------------------------------------


def _book_opened(rows: RowBuffer, entry: Entry) -> None:
    named = ("organisation_name", "issuer_name", "site_code")
    row = {name: entry.data[name] for name in named}
    rows.put(BOOK, {**row, "name": "ledger", "position": entry.position})


_HOLDER = ("masked_name", "masked_number", "document_type", "name_index", "document_index")
"""What a certificate's row repeats of its holder's."""


def _person(rows: RowBuffer, entry: Entry) -> None:
    """PersonRegistered and PersonCorrected."""
    data, masked = entry.data, masks(entry)
    known = rows.get(PEOPLE, data["person_id"])
    # A key destroyed before this was folded: do not bring the indexes back even for a moment.
    _keep_person(
        rows,
        {
            "person_id": data["person_id"],
            "masked_name": masked.name,
            "masked_number": masked.number,
            "document_type": data["document_type"],
            "name_index": None if masked.erased else data["name_index"],
            "document_index": None if masked.erased else data["document_index"],
            "index_algorithm": data["document_index"].rpartition(":")[0] or None,
            "certificates": [] if known is None else known["certificates"],
            "position": entry.position,
        },
    )


def _keep_person(rows: RowBuffer, person: Row) -> None:
    rows.put(PEOPLE, person)
    if not person["certificates"]:
        return
    holder = {name: person[name] for name in _HOLDER}
    rows.prefetch(CERTIFICATES, person["certificates"])
    for number in person["certificates"]:
        for certificate in rows.group(CERTIFICATES, number):
            if certificate["person_id"] == person["person_id"]:
                rows.put(CERTIFICATES, {**certificate, **holder})


def _erased(rows: RowBuffer, entry: Entry) -> None:
    person = rows.need(PEOPLE, entry.data["person_id"])
    gone = {"masked_name": ERASED, "masked_number": ERASED,
            "name_index": None, "document_index": None}  # fmt: skip
    _keep_person(rows, {**person, **gone, "position": entry.position})


def _application(rows: RowBuffer, entry: Entry) -> None:
    row = {name: entry.data[name] for name in _DESCRIBED}
    unmarked = {"theory": None, "practical": None}
    rows.put(APPLICATIONS, {**row, **unmarked, "application_id": entry.data["application_id"]})


_DESCRIBED = ("occupation", "occupation_name", "edition", "level", "job_type")


def _result(rows: RowBuffer, entry: Entry) -> None:
    """The marks as published are those a certificate rests on. Source: source-document 5.1."""
    application = rows.need(APPLICATIONS, entry.data["application_id"])
    marks = {name: entry.data[name] for name in ("theory", "practical")}
    rows.put(APPLICATIONS, {**application, **marks})


# --- certificates -------------------------------------------------------------------------------


def _change(rows: RowBuffer, entry: Entry, row: Row, **changes: Any) -> None:
    """The certificate's next state, and the state it is in from now on."""
    changed = {**row, **changes, "position": entry.position, "changed_at": entry.recorded_at}
    if not changes.keys().isdisjoint(_STANDING):
        changed["current_since"] = entry.occurred_at
    _keep(rows, entry, changed)


def _keep(rows: RowBuffer, entry: Entry, changed: Row) -> None:
    rows.put(CERTIFICATES, changed)
    rows.add(
        STATES,
        {
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
        },
    )


@cache
def _event(topic: str) -> str:
    return topic.partition(".")[0].removeprefix("certificate_")


_STANDING = {"standing", "version"}
"""What everybody asks about: a change of it begins a new time."""


def _certificate(rows: RowBuffer, entry: Entry) -> Row:
    return rows.need(CERTIFICATES, entry.data["number"], entry.data["kind"])


def _numbered(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    application = rows.need(APPLICATIONS, data["application_id"])
    person = rows.need(PEOPLE, data["person_id"])
    rows.put(PEOPLE, {**person, "certificates": [*person["certificates"], data["number"]]})
    book = rows.get(BOOK, "ledger") or {}
    described = {name: application[name] for name in (*_DESCRIBED, "theory", "practical")}
    row = {
        **described,
        **{name: person[name] for name in _HOLDER},
        "organisation_name": book.get("organisation_name"),
        "issuer_name": book.get("issuer_name"),
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
        "token_algorithm": person["index_algorithm"],
        "position": entry.position,
        "changed_at": entry.recorded_at,
    }
    _keep(rows, entry, row)


def _token(rows: RowBuffer, entry: Entry, certificate: Row, version: int) -> str:
    data, algorithm = entry.data, certificate["token_algorithm"]
    named = (rows.ledger, data["kind"], data["number"], version)
    return verify_token(rows.blind_index, algorithm, *named)


def _keep_token(rows: RowBuffer, entry: Entry, certificate: Row) -> None:
    """The link of the version that is replaced now still finds the certificate."""
    named = {name: certificate[name] for name in ("number", "kind", "version")}
    old = {"token": certificate["verify_token"], "position": entry.position}
    rows.add(OLD_TOKENS, named | old)


def _issued(rows: RowBuffer, entry: Entry) -> None:
    """From now on the public sees it. Source: source-document 5.2, 5.3."""
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
        verify_token=_token(rows, entry, certificate, version),
    )


def _reported(rows: RowBuffer, entry: Entry) -> None:
    report_id = entry.data["report_id"]
    _change(rows, entry, _certificate(rows, entry), progress="reported", report_id=report_id)


def _accepted(rows: RowBuffer, entry: Entry) -> None:
    _change(rows, entry, _certificate(rows, entry), progress="accepted")


def _rejected(rows: RowBuffer, entry: Entry) -> None:
    _change(rows, entry, _certificate(rows, entry), progress="rejected")


def _visible(rows: RowBuffer, entry: Entry) -> None:
    """First in the province, months later in the nation. Source: source-document 5.3."""
    seen = {f"seen_{entry.data['scope']}_on": entry.data["seen_on"]}
    _change(rows, entry, _certificate(rows, entry), progress="visible", **seen)


def _corrected(rows: RowBuffer, entry: Entry) -> None:
    """The next version; it has to go upward again, so what was seen there is out of date."""
    version = entry.data["version"]
    certificate = _certificate(rows, entry)
    _keep_token(rows, entry, certificate)
    _change(
        rows,
        entry,
        certificate,
        version=version,
        progress="issued",
        seen_province_on=None,
        seen_nation_on=None,
        verify_token=_token(rows, entry, certificate, version),
    )


def _reissued(rows: RowBuffer, entry: Entry) -> None:
    """The next version says the same as before; the lost one's link says it was replaced."""
    version = entry.data["version"]
    certificate = _certificate(rows, entry)
    _keep_token(rows, entry, certificate)
    _change(
        rows,
        entry,
        certificate,
        version=version,
        reissued_on=entry.data["reissued_on"],
        verify_token=_token(rows, entry, certificate, version),
    )


def _suspended(rows: RowBuffer, entry: Entry) -> None:
    _change(rows, entry, _certificate(rows, entry), standing="suspended")


def _reinstated(rows: RowBuffer, entry: Entry) -> None:
    _change(rows, entry, _certificate(rows, entry), standing="valid")


def _revoked(rows: RowBuffer, entry: Entry) -> None:
    """For good; the public sees the class of the reason, not its words."""
    reason = entry.data["reason_class"]
    _change(rows, entry, _certificate(rows, entry), standing="revoked", reason_class=reason)


_ONE = (CERTIFICATES,)

VIEW = View(
    name="certificate_registry",
    version=5,
    tables=(BOOK, PEOPLE, APPLICATIONS, CERTIFICATES, STATES, OLD_TOKENS),
    handles={
        e.LedgerOpened.TOPIC: Handles(_book_opened),
        e.PersonRegistered.TOPIC: Handles(_person, (PEOPLE,)),
        e.PersonCorrected.TOPIC: Handles(_person, (PEOPLE,)),
        e.PersonalDataErased.TOPIC: Handles(_erased, (PEOPLE,)),
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
        e.FeeScheduleSet,
        e.EligibilityConfirmed,
        e.EligibilityRefused,
        e.ApplicationWithdrawn,
        e.FeePaid,
        e.ExcessPaymentReceived,
        e.FeeItemUsed,
        e.DocumentSubmitted,
        e.DocumentsSubmitted,
        e.InitialReviewPassed,
        e.InitialReviewReturned,
        e.InitialReviewRejected,
        e.SecondReviewPassed,
        e.SecondReviewReturned,
        e.SecondReviewRejected,
        e.FinalReviewPassed,
        e.FinalReviewReturned,
        e.FinalReviewRejected,
        e.RefundEntitled,
        e.RefundRefused,
        e.RefundOrdered,
        e.RefundApproved,
        e.RefundDeclined,
        e.RefundAccepted,
        e.RefundSettled,
        e.RefundClosed,
        e.RefundAbnormal,
        e.ExamSessionScheduled,
        e.SeatAssigned,
        e.AdmissionTicketIssued,
        e.ExamSessionHeld,
        e.TheoryScoreRecorded,
        e.PracticalScoreRecorded,
        e.ScoreCorrected,
        e.ScoresVerified,
        e.PublicNoticeOpened,
        e.PublicNoticeExtended,
        e.ObjectionFiled,
        e.ObjectionDismissed,
        e.ObjectionUpheld,
        e.PublicNoticeClosed,
        e.SerialTaken,
        e.ReportFrozen,
    ),
)
