"""Two certificates are handed out, and what becomes of them (双证证书)."""

import hashlib
import json
from datetime import date

import pytest

from domain import events as e
from domain.decision import Command, InTheFuture, NotFound, TooEarly
from domain.documents.materials import MaterialKind
from domain.events import CertificateKind, RevocationReason
from domain.steps.certificate import (
    VERSIONS_MAX,
    CertificateOutOfOrder,
    CorrectCertificate,
    IssueCertificates,
    ReinstateCertificate,
    ReissueCertificate,
    RevokeCertificate,
    SuspendCertificate,
    YearDiffers,
    number_year,
)
from domain.steps.enrolment import PersonErased
from tests.support.actors import REGISTRAR
from tests.support.commands import (
    ISSUED_AT,
    correct_person,
    destroyed,
    document_of,
    material,
    name_of,
    when,
)
from tests.support.journeys import final_results, issued_certificates, numbered_certificates
from tests.support.world import CARD_SALT, World, given

NATIONAL, OMC = CertificateKind.NATIONAL, CertificateKind.OMC
SITE_NUMBER = "S000033000123264000001"


def issue(**changed: object) -> IssueCertificates:
    return IssueCertificates(application_id="A1", **changed)


def step(cls: type[Command], kind: CertificateKind = NATIONAL, **changed: object) -> Command:
    fields = {"application_id": "A1", "kind": kind, "reason": "按规定办理"}
    if cls is RevokeCertificate:
        fields["reason_class"] = RevocationReason.FALSE_DOCUMENTS
    return cls(**(fields | changed))


def a_certificate(standing: str) -> World:
    world = issued_certificates()
    if standing == "suspended":
        world.do(step(SuspendCertificate))
    elif standing == "revoked":
        world.do(step(RevokeCertificate))
    return world


# --- issuing --------------------------------------------------------------------------------------


def card_fields(kind: CertificateKind, number: str, version: int, **changed: object) -> dict:
    """What a fact says of the card of candidate 1, computed by itself."""
    card = {
        "v": 1, "ledger": "omc", "kind": kind.value, "number": number, "version": version,
        "name": name_of(1), "document_type": "resident_id", "document_tail": document_of(1)[-4:],
        "occupation": "4-01-02-07", "occupation_name": "互联网营销师", "job_type": None, "level": 4,
        "theory": "72", "practical": "65.5", "issuer_name": "浙江今日头条科技有限公司",
        "organisation_name": "浙江今日头条科技有限公司", "issued_on": "2026-10-15",
        "photo_sha256": material(MaterialKind.PHOTO).sha256,
    } | changed  # fmt: skip
    text = json.dumps(card, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    hashed = hashlib.sha256(b"certledger card v1\x00" + CARD_SALT + text).hexdigest()
    return {"card_sha256": hashed, "card_salt": CARD_SALT.hex()}


def test_both_certificates_are_issued_together():
    """Source: source-document 0.2, 5.2, 5.3."""
    world = numbered_certificates()
    numbers = {k: c.number for k, c in world.candidacy("A1").certificates.items()}
    given(world).when(issue(), by=REGISTRAR).returns(
        national=numbers[NATIONAL], omc=numbers[OMC]
    ).then(
        *(
            e.CertificateIssued(
                application_id="A1",
                person_id="P1",
                kind=kind,
                number=numbers[kind],
                issued_on=date(2026, 10, 15),
                version=1,
                **card_fields(kind, numbers[kind], 1),
            )
            for kind in (NATIONAL, OMC)
        )
    )


def test_nothing_is_issued_without_a_number_and_nothing_twice():
    """Source: source-document 5.3."""
    given(final_results()).when(issue()).fails(CertificateOutOfOrder)
    given(issued_certificates()).when(issue()).fails(CertificateOutOfOrder)
    given().when(issue()).fails(NotFound)


def test_a_certificate_bears_a_day_after_the_notice_and_not_after_today():
    """Source: source-document 5.1, 5.2."""
    world = numbered_certificates()
    given(world).when(issue(issued_on=date(2026, 10, 13))).fails(TooEarly, earliest="2026-10-14")
    given(world).when(issue(issued_on=date(2026, 10, 14))).then_kinds(*[e.CertificateIssued] * 2)
    given(world).when(issue(issued_on=date(2026, 10, 16))).fails(InTheFuture, field="issued_on")


def test_a_certificate_bears_a_day_of_the_year_of_its_number():
    """Source: source-document 5.3."""
    world = numbered_certificates()
    new_year = when("2027-01-04 09:00")
    given(world).when(issue(), at=new_year).fails(YearDiffers, year=2026)
    given(world).when(issue(issued_on=date(2026, 12, 31)), at=new_year).then_kinds(
        *[e.CertificateIssued] * 2
    )


def test_the_year_is_in_both_numbers():
    """Source: source-document 5.3."""
    certificates = numbered_certificates().candidacy("A1").certificates
    assert [number_year(c) for c in certificates.values()] == [2026, 2026]


def test_no_certificate_is_made_for_a_person_who_was_erased():
    world = numbered_certificates()
    world.append(destroyed())
    given(world).when(issue()).fails(PersonErased)


def test_a_number_revoked_before_issue_is_not_issued():
    world = numbered_certificates()
    world.do(step(RevokeCertificate, reason_class=RevocationReason.ISSUED_IN_ERROR))
    given(world).when(issue()).then_kinds(e.CertificateIssued)
    world.do(step(RevokeCertificate, OMC, reason_class=RevocationReason.ISSUED_IN_ERROR))
    given(world).when(issue()).fails(CertificateOutOfOrder)


# --- afterwards -----------------------------------------------------------------------------------

STEPS = [
    CorrectCertificate,
    ReissueCertificate,
    SuspendCertificate,
    ReinstateCertificate,
    RevokeCertificate,
]
ALLOWED = {
    "valid": {CorrectCertificate, ReissueCertificate, SuspendCertificate, RevokeCertificate},
    "suspended": {CorrectCertificate, ReinstateCertificate, RevokeCertificate},
    "revoked": set(),
}


@pytest.mark.parametrize("standing", list(ALLOWED))
@pytest.mark.parametrize("cls", STEPS)
def test_what_may_follow_depends_on_whether_the_certificate_counts(standing, cls):
    """Source: source-document 3.2(3), 5.3."""
    attempt = given(a_certificate(standing)).when(step(cls), by=REGISTRAR)
    if cls in ALLOWED[standing]:
        assert attempt.decided.facts
    else:
        attempt.fails(CertificateOutOfOrder, standing=standing, progress="issued")


@pytest.mark.parametrize("cls", STEPS)
def test_before_issue_a_number_can_only_be_revoked(cls):
    attempt = given(numbered_certificates()).when(step(cls))
    if cls is RevokeCertificate:
        attempt.then_kinds(e.CertificateRevoked)
    else:
        attempt.fails(CertificateOutOfOrder, progress="numbered")


@pytest.mark.parametrize("cls", STEPS)
def test_what_has_no_number_has_no_next_step(cls):
    given(final_results()).when(step(cls)).fails(NotFound, what="certificate of kind")
    given().when(step(cls)).fails(NotFound, what="application")


@pytest.mark.parametrize("kind", list(CertificateKind))
def test_a_text_put_right_keeps_the_number_and_counts_the_version(kind):
    """Source: source-document 3.2(3), 5.3."""
    world = issued_certificates()
    number = world.candidacy("A1").certificates[kind].number
    after = (
        given(world)
        .when(step(CorrectCertificate, kind))
        .then(
            e.CertificateCorrected(
                application_id="A1",
                person_id="P1",
                kind=kind,
                number=number,
                version=2,
                reason="按规定办理",
                **card_fields(kind, number, 2),
            )
        )
    )
    again = given(after).when(step(CorrectCertificate, kind))
    assert again.decided.facts[0][1].version == 3


def test_a_corrected_certificate_shows_the_name_as_it_was_put_right():
    """Source: source-document 3.2(3)."""
    world = issued_certificates()
    world.do(correct_person(name="赵壹"), by=REGISTRAR)
    decided = given(world).when(step(CorrectCertificate)).decided
    [(_, fact)] = decided.facts
    shown = card_fields(NATIONAL, SITE_NUMBER, 2, name="赵壹")
    assert (fact.card_sha256, fact.card_salt) == (shown["card_sha256"], shown["card_salt"])


def test_no_text_is_put_right_for_a_person_who_was_erased():
    world = issued_certificates()
    world.append(destroyed())
    given(world).when(step(CorrectCertificate)).fails(PersonErased)


def test_a_lost_certificate_is_made_again_under_its_number():
    """Source: source-document 5.3."""
    given(issued_certificates()).when(step(ReissueCertificate)).then(
        e.CertificateReissued(
            application_id="A1",
            person_id="P1",
            kind=NATIONAL,
            number=SITE_NUMBER,
            version=2,
            reissued_on=date(2026, 10, 15),
            reason="按规定办理",
            **card_fields(NATIONAL, SITE_NUMBER, 2),
        )
    )


def test_a_certificate_is_made_again_between_its_issue_and_today():
    world = issued_certificates()
    early = step(ReissueCertificate, reissued_on=date(2026, 10, 14))
    given(world).when(early).fails(TooEarly, earliest="2026-10-15")
    late = step(ReissueCertificate, reissued_on=date(2026, 10, 16))
    given(world).when(late).fails(InTheFuture, field="reissued_on")


def test_no_certificate_is_made_again_for_a_person_who_was_erased():
    world = issued_certificates()
    world.append(destroyed())
    given(world).when(step(ReissueCertificate)).fails(PersonErased)


def test_a_suspended_certificate_counts_again_once_it_is_reinstated():
    """Source: source-document 3.2(3)."""
    fields = {
        "application_id": "A1",
        "person_id": "P1",
        "kind": NATIONAL,
        "number": SITE_NUMBER,
        "version": 1,
    }
    world = issued_certificates()
    after = (
        given(world)
        .when(step(SuspendCertificate))
        .then(e.CertificateSuspended(**fields, reason="按规定办理"))
    )
    assert after.candidacy("A1").certificates[NATIONAL].standing == "suspended"
    again = (
        given(after)
        .when(step(ReinstateCertificate))
        .then(e.CertificateReinstated(**fields, reason="按规定办理"))
    )
    assert again.candidacy("A1").certificates[NATIONAL].standing == "valid"


@pytest.mark.parametrize("reason_class", list(RevocationReason))
def test_a_revoked_certificate_is_void_for_good_and_says_why(reason_class):
    """Source: source-document 3.2(3)."""
    after = (
        given(issued_certificates())
        .when(step(RevokeCertificate, reason_class=reason_class))
        .then(
            e.CertificateRevoked(
                application_id="A1",
                person_id="P1",
                kind=NATIONAL,
                number=SITE_NUMBER,
                version=1,
                reason_class=reason_class,
                reason="按规定办理",
            )
        )
    )
    certificates = after.candidacy("A1").certificates
    assert (certificates[NATIONAL].standing, certificates[OMC].standing) == ("revoked", "valid")


def test_versions_come_to_an_end():
    world = issued_certificates()
    world.append(
        e.CertificateCorrected(
            application_id="A1",
            person_id="P1",
            kind=NATIONAL,
            number=SITE_NUMBER,
            version=VERSIONS_MAX,
            card_sha256="0" * 64,
            card_salt=None,
            reason="第998次更正",
        )
    )
    for cls in (CorrectCertificate, ReissueCertificate):
        given(world).when(step(cls)).fails(CertificateOutOfOrder)
    for cls in (SuspendCertificate, RevokeCertificate):
        assert given(world).when(step(cls), at=ISSUED_AT).decided.facts
