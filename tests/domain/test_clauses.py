"""Clauses that span several steps, so that no single decision's tests cover them.

Covers: domain/steps, domain/decision.py
"""

import pytest

from domain import events as e
from domain.events import ITEMS, CertificateKind, Component, Item, RefundRefusal
from domain.steps.authority_report import AnswerReportRow
from domain.steps.certificate import CertificateOutOfOrder, RevokeCertificate
from domain.values.certificate_numbers import (
    InvalidCertificateNumber,
    NationalNumber,
    NumberKind,
    classify_number,
)
from tests.support.actors import REGISTRAR, candidate
from tests.support.commands import apply_for, order, report
from tests.support.journeys import (
    a_registered_person,
    issued_certificates,
    numbered_certificates,
    reported_certificates,
)
from tests.support.world import given


def test_omc_numbers_form_their_own_number_space():
    """No national rule reads it. Source: source-document 0.3, 5.2."""
    number = numbered_certificates().candidacy("A1").certificates[CertificateKind.OMC].number
    assert classify_number(number) is NumberKind.OMC
    with pytest.raises(InvalidCertificateNumber):
        NationalNumber.parse(number)


def test_the_omc_certificate_is_never_reported_to_the_authority():
    """Source: source-document 0.3, 5.3."""
    world = reported_certificates()
    world.do(AnswerReportRow(report_id="R1", number=_national(world), accepted=True), by=REGISTRAR)
    upward = (e.CertificateReported, e.CertificateAccepted, e.CertificateVisible)
    reported = [fact for kind in upward for fact in world.facts(kind)]
    assert reported
    assert {fact.kind for fact in reported} == {CertificateKind.NATIONAL}
    assert world.candidacy("A1").certificates[CertificateKind.OMC].progress == "issued"


def _national(world):
    return world.candidacy("A1").certificates[CertificateKind.NATIONAL].number


def test_the_fee_pays_for_two_exams_and_four_materials_and_for_no_training():
    """Source: source-document 2.2, 2.3."""
    assert ITEMS[Component.CERTIFICATION_FEE] == (Item.THEORY_EXAM, Item.PRACTICAL_EXAM)
    assert ITEMS[Component.STUDY_MATERIAL] == (
        Item.CAREER_ASSESSMENT,
        Item.RECORDED_COURSE,
        Item.MOCK_EXAM,
        Item.HANDBOOK,
    )
    assert set(Item) == {item for items in ITEMS.values() for item in items}


@pytest.mark.parametrize("component", list(Component))
def test_false_documents_revoke_the_certificate_without_a_refund(component):
    """The candidate answers for them. Source: source-document 3.2(3), 2.4(2)."""
    world = issued_certificates()
    for kind in CertificateKind:
        world.do(
            RevokeCertificate(
                application_id="A1",
                kind=kind,
                reason_class=e.RevocationReason.FALSE_DOCUMENTS,
                reason="工作证明系伪造",
            ),
            by=REGISTRAR,
        )
    standings = {c.standing for c in world.candidacy("A1").certificates.values()}
    assert standings == {"revoked"}
    given(world).when(order(component), by=candidate(1)).refuses_refund(
        RefundRefusal.FINAL_REVIEW_PASSED, "2.4(2)"
    )
    given(world).when(report("R2"), by=REGISTRAR).fails(CertificateOutOfOrder)


def test_an_assessment_returns_the_met_condition_immediately():
    """Source: source-document 1.1, 1.2, 1.2(2)."""
    given(a_registered_person()).when(apply_for(), by=candidate(1)).returns(
        eligible=True, alternative="1.2(2)"
    ).then_kinds(e.ApplicationOpened, e.EligibilityConfirmed)
