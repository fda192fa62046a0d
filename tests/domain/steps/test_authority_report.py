"""Certificate numbers go upward, and come back row by row (上报)."""

from datetime import date

import pytest

from domain import events as e
from domain.decision import AlreadyExists, InTheFuture, NotFound, TooEarly
from domain.events import CertificateKind, RevocationReason
from domain.steps.authority_report import (
    AnswerReportRow,
    RecordVisibility,
    RejectionNeedsReason,
    RowTwice,
    SeenAlready,
    WrongReport,
)
from domain.steps.certificate import (
    CertificateOutOfOrder,
    CorrectCertificate,
    ReissueCertificate,
    RevokeCertificate,
    SuspendCertificate,
)
from domain.steps.enrolment import PersonErased
from tests.support.actors import REGISTRAR
from tests.support.commands import PASSED, destroyed, report
from tests.support.journeys import (
    final_results,
    issued_certificates,
    numbered_certificates,
    reported_certificates,
)
from tests.support.world import World, given

NATIONAL = CertificateKind.NATIONAL
NUMBER = "S000033000123264000001"
NUMBER_2 = "S000033000123264000002"
ROW = {"application_id": "A1", "person_id": "P1", "kind": NATIONAL, "number": NUMBER}


def answer(accepted: bool, number: str = NUMBER, report_id: str = "R1", **more: object) -> object:
    return AnswerReportRow(report_id=report_id, number=number, accepted=accepted, **more)


def send_back(report_id: str = "R1") -> object:
    return answer(False, report_id=report_id, reason="姓名与证件不符")


def see(scope: str, **changed: object) -> RecordVisibility:
    return RecordVisibility(application_id="A1", scope=scope, **changed)


def an_accepted_row() -> World:
    world = reported_certificates()
    world.do(answer(True))
    return world


def correction() -> CorrectCertificate:
    return CorrectCertificate(application_id="A1", kind=NATIONAL, reason="姓名更正")


# --- reporting ------------------------------------------------------------------------------------


def test_issued_national_certificates_are_reported_with_the_hash_of_the_file():
    """Source: source-document 5.3, 5.4."""
    given(issued_certificates(PASSED, PASSED)).when(report(ns=(2, 1)), by=REGISTRAR).returns(
        report_id="R1", rows=2
    ).then(
        e.ReportFrozen(
            report_id="R1",
            batch_type="new",
            file_sha256="f" * 64,
            rows=(
                e.ReportRow(application_id="A2", number=NUMBER_2),
                e.ReportRow(application_id="A1", number=NUMBER),
            ),
        ),
        e.CertificateReported(
            application_id="A2", person_id="P2", kind=NATIONAL, number=NUMBER_2, report_id="R1"
        ),
        e.CertificateReported(**ROW, report_id="R1"),
    )


def test_only_issued_certificates_are_reported():
    """Source: source-document 5.3."""
    given(final_results()).when(report()).fails(NotFound, what="certificate of kind")
    given(numbered_certificates()).when(report()).fails(CertificateOutOfOrder, progress="numbered")


def test_a_certificate_is_reported_once_until_it_comes_back():
    given(reported_certificates()).when(report("R2")).fails(
        CertificateOutOfOrder, progress="reported"
    )
    given(an_accepted_row()).when(report("R2")).fails(CertificateOutOfOrder, progress="accepted")


@pytest.mark.parametrize("standing", ["suspended", "revoked"])
def test_a_certificate_that_does_not_count_is_not_reported(standing):
    """Source: source-document 3.2(3), 5.3."""
    world = issued_certificates()
    fields = {"application_id": "A1", "kind": NATIONAL, "reason": "资料不实"}
    if standing == "suspended":
        world.do(SuspendCertificate(**fields))
    else:
        world.do(RevokeCertificate(**fields, reason_class=RevocationReason.FALSE_DOCUMENTS))
    given(world).when(report()).fails(CertificateOutOfOrder, standing=standing)


def test_one_bad_row_keeps_the_whole_report_from_being_frozen():
    world = issued_certificates(PASSED, PASSED)
    given(world).when(report(ns=(1, 9))).fails(NotFound, what="application")
    given(world).when(report(ns=(1, 2, 1))).fails(RowTwice, application_id="A1")


def test_a_report_id_is_given_once_and_made_up_where_none_is_given():
    given(reported_certificates()).when(report()).fails(AlreadyExists, what="report")
    given(issued_certificates()).when(report(None)).returns(report_id="id-1")


def test_who_was_erased_is_reported_no_more():
    world = issued_certificates()
    world.append(destroyed())
    given(world).when(report()).fails(PersonErased)


# --- answers --------------------------------------------------------------------------------------


def test_each_row_is_accepted_or_sent_back_by_itself():
    """Source: source-document 5.3."""
    world = reported_certificates(PASSED, PASSED)
    accepted = given(world).when(answer(True)).then(e.CertificateAccepted(**ROW, report_id="R1"))
    after = (
        given(accepted)
        .when(answer(False, NUMBER_2, reason="照片不符"))
        .then(
            e.CertificateRejected(
                application_id="A2",
                person_id="P2",
                kind=NATIONAL,
                number=NUMBER_2,
                report_id="R1",
                reason="照片不符",
            )
        )
    )
    progress = [after.candidacy(a).certificates[NATIONAL].progress for a in ("A1", "A2")]
    assert progress == ["accepted", "rejected"]


def test_a_row_that_is_sent_back_says_why():
    given(reported_certificates()).when(answer(False)).fails(RejectionNeedsReason)


def test_a_row_that_was_sent_back_is_reported_again():
    """Source: source-document 5.3."""
    world = reported_certificates()
    world.do(send_back())
    after = (
        given(world)
        .when(report("R2", "addendum"))
        .then_kinds(e.ReportFrozen, e.CertificateReported)
    )
    given(after).when(answer(True, report_id="R2")).then_kinds(e.CertificateAccepted)


def test_an_answer_belongs_to_the_report_that_waits_for_it():
    world = reported_certificates()
    world.do(send_back())
    given(world).when(answer(True)).fails(WrongReport, report_id="R1")
    world.do(report("R2"))
    given(world).when(answer(True)).fails(WrongReport, report_id="R1")
    given(world).when(send_back()).fails(WrongReport)


def test_an_answer_names_a_row_of_the_report():
    world = reported_certificates()
    given(world).when(answer(True, NUMBER_2)).fails(NotFound, what="row")
    given(world).when(answer(True, report_id="R9")).fails(NotFound, what="report")


def test_a_row_is_answered_once():
    given(an_accepted_row()).when(answer(True)).fails(WrongReport)
    given(an_accepted_row()).when(answer(False)).fails(WrongReport)


def test_a_corrected_certificate_is_reported_again_as_a_correction():
    """Source: source-document 3.2(3), 5.3."""
    world = an_accepted_row()
    world.do(see("province"))
    world.do(correction())
    state = world.candidacy("A1").certificates[NATIONAL]
    assert (state.progress, state.seen, state.version) == ("issued", (), 2)
    given(world).when(report("R2", "correction")).then_kinds(e.ReportFrozen, e.CertificateReported)


def test_a_certificate_made_again_says_the_same_and_is_not_reported_again():
    """Source: source-document 5.3."""
    world = an_accepted_row()
    world.do(ReissueCertificate(application_id="A1", kind=NATIONAL, reason="遗失"))
    given(world).when(report("R2")).fails(CertificateOutOfOrder, progress="accepted")


def test_the_answer_for_a_certificate_revoked_meanwhile_is_still_recorded():
    world = reported_certificates()
    fields = {"application_id": "A1", "kind": NATIONAL, "reason": "考试作弊"}
    world.do(RevokeCertificate(**fields, reason_class=RevocationReason.EXAM_FRAUD))
    given(world).when(answer(True)).then_kinds(e.CertificateAccepted)


# --- visibility -----------------------------------------------------------------------------------


def test_the_province_shows_it_first_and_the_nation_later():
    """Source: source-document 5.3."""
    world = an_accepted_row()
    after = (
        given(world)
        .when(see("province"))
        .then(e.CertificateVisible(**ROW, scope="province", seen_on=date(2026, 10, 15)))
    )
    last = given(after).when(see("nation")).then_kinds(e.CertificateVisible)
    assert last.candidacy("A1").certificates[NATIONAL].seen == ("province", "nation")


def test_each_scope_is_recorded_once():
    world = an_accepted_row()
    world.do(see("nation"))
    given(world).when(see("nation")).fails(SeenAlready, scope="nation")


def test_nothing_is_visible_before_it_was_accepted():
    """Source: source-document 5.3."""
    given(final_results()).when(see("province")).fails(NotFound)
    for world in (issued_certificates(), reported_certificates()):
        given(world).when(see("province")).fails(CertificateOutOfOrder)
    world = reported_certificates()
    world.do(send_back())
    given(world).when(see("province")).fails(CertificateOutOfOrder, progress="rejected")


def test_a_certificate_is_seen_between_its_issue_and_today():
    world = an_accepted_row()
    given(world).when(see("province", seen_on=date(2026, 10, 14))).fails(TooEarly)
    given(world).when(see("province", seen_on=date(2026, 10, 16))).fails(
        InTheFuture, field="seen_on"
    )


def test_refusals_of_a_visibility_come_in_their_order():
    future = {"seen_on": date(2030, 1, 1)}
    given(issued_certificates()).when(see("province", **future)).fails(CertificateOutOfOrder)
    world = an_accepted_row()
    world.do(see("province"))
    given(world).when(see("province", **future)).fails(SeenAlready)
