"""Two persons erase: what nothing keeps goes at once, the rest on its day.

Covers: domain/steps/erasure.py, domain/steps/retention_findings.py
"""

from datetime import date, datetime

import pytest

from domain import events as e
from domain.actors import service_actor
from domain.decision import AlreadyExists, NotFound, OwnApplication
from domain.events import CertificateKind, KeptBy, Subject
from domain.steps.certificate import RevokeCertificate
from domain.steps.enrolment import PersonErased
from domain.steps.erasure import (
    ContinueErasure,
    ErasureNotConfirmed,
    FindingsChanged,
    PersonStillNeeded,
)
from domain.steps.refund import SecondPersonNeeded
from domain.steps.retention_findings import findings_of, years_after
from domain.values.sealed_fields import DataClass, declared_values
from tests.support import refunds
from tests.support.actors import (
    CERTIFIER,
    EXAMINER_2,
    FINANCE,
    OPERATOR,
    REGISTRAR,
    REGULATOR,
    VERIFIER,
    candidate,
    staff,
)
from tests.support.commands import (
    CLOSED_AT,
    PASSED,
    apply_for,
    close,
    confirm_erasure,
    correct,
    correct_person,
    document_of,
    erase,
    object_as_outsider,
    object_to,
    pay_again,
    propose_erasure,
    publish,
    register,
    repeat_erasure,
    settle,
    verify,
)
from tests.support.journeys import (
    a_paid_application,
    a_refused_application,
    a_registered_person,
    a_rejected_application,
    an_eligible_application,
    an_enrolled_application,
    final_results,
    published_results,
    reported_certificates,
)
from tests.support.world import World, given

SERVICE = service_actor("continue_erasure")
OTHER_REGISTRAR = staff("registrar-2", REGISTRAR.role, "omc")
FAILED = ("59.5", "100")


def kept(world: World, n: int = 1, person: str | None = None) -> dict[str, dict[str, date | None]]:
    """By class and cause, until when."""
    found: dict[str, dict[str, date | None]] = {}
    for each in findings_of(
        world, person or f"P{n}", world.context(REGISTRAR, world.now).today
    ).kept:
        found.setdefault(each.data_class.value, {})[each.because.value] = each.until
    return found


def on(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}T09:00:00+08:00")


# --- by two persons -------------------------------------------------------------------------------


def test_an_erased_person_is_no_longer_readable_and_their_document_is_free():
    world = a_registered_person()
    world.do(propose_erasure(), by=REGISTRAR)
    assert world.identity("P1")
    decision = world.do(confirm_erasure(), by=REGULATOR)
    assert decision.erases == (("person/P1", "identity"),)
    assert world.sealed_classes("P1") == frozenset()
    with pytest.raises(NotFound):
        world.identity("P1")
    given(world).when(
        register(2, document_number=document_of(1), subject="candidate-1")
    ).then_kinds(e.PersonRegistered)


def test_an_erased_person_is_neither_corrected_nor_erased_again_and_applies_no_more():
    world = a_registered_person()
    erase(world)
    given(world).when(correct_person()).fails(PersonErased)
    given(world).when(propose_erasure(proposal="E9"), by=REGISTRAR).fails(PersonErased)
    given(world).when(confirm_erasure(), by=REGULATOR).fails(PersonErased)
    given(world).when(apply_for(), by=candidate(1)).fails(PersonErased)


def test_who_proposed_an_erasure_does_not_confirm_it_and_another_registrar_does():
    world = a_registered_person()
    world.do(propose_erasure(), by=REGISTRAR)
    given(world).when(confirm_erasure(), by=REGISTRAR).fails(SecondPersonNeeded)
    given(world).when(confirm_erasure(), by=OTHER_REGISTRAR).then_kinds(e.ErasureConfirmed)


def test_nobody_confirms_the_erasure_of_their_own_data():
    world = a_registered_person()
    world.do(propose_erasure(), by=REGISTRAR)
    own = staff("candidate-1", REGISTRAR.role, "omc")
    given(world).when(confirm_erasure(), by=own).fails(OwnApplication)


def test_only_the_last_proposal_is_confirmed():
    world = a_registered_person()
    given(world).when(confirm_erasure(), by=REGULATOR).fails(NotFound)
    world.do(propose_erasure(proposal="E1"), by=REGISTRAR)
    given(world).when(propose_erasure(proposal="E1"), by=REGISTRAR).fails(AlreadyExists)
    world.do(propose_erasure(proposal="E2"), by=OTHER_REGISTRAR)
    given(world).when(confirm_erasure(proposal="E1"), by=REGULATOR).fails(NotFound)
    given(world).when(confirm_erasure(proposal="E2"), by=REGISTRAR).then_kinds(e.ErasureConfirmed)


def test_findings_that_have_changed_are_not_confirmed():
    world = a_refused_application()
    seen = world.do(propose_erasure(), by=REGISTRAR).outcome["findings_sha256"]
    command = confirm_erasure().model_copy(update={"findings_sha256": "0" * 64})
    given(world).when(command, by=REGULATOR).fails(FindingsChanged)
    command = confirm_erasure().model_copy(update={"findings_sha256": seen})
    given(world).when(command, by=REGULATOR).then_kinds(e.ErasureConfirmed)
    world.do(pay_again(), by=FINANCE)
    given(world).when(confirm_erasure(), by=REGULATOR).fails(FindingsChanged)


def test_a_person_is_needed_while_an_application_is_open():
    for world in (an_eligible_application(), a_paid_application(), an_enrolled_application()):
        given(world).when(propose_erasure(), by=REGISTRAR).fails(PersonStillNeeded)


def test_an_application_that_was_opened_since_stops_the_confirmation():
    world = a_registered_person()
    world.do(propose_erasure(), by=REGISTRAR)
    world.do(apply_for(), by=candidate(1))
    given(world).when(confirm_erasure(), by=REGULATOR).fails(PersonStillNeeded)


# --- what is kept ---------------------------------------------------------------------------------


def test_the_records_of_a_refused_application_are_kept_for_five_years():
    world = a_refused_application()
    five_years = {"assessment_records": date(2031, 3, 2)}
    assert kept(world) == dict.fromkeys(("identity", "statements", "remarks"), five_years)
    world.do(propose_erasure(), by=REGISTRAR)
    decision = world.do(confirm_erasure(), by=REGULATOR)
    assert decision.erases == ()
    assert world.identity("P1")


def test_money_that_goes_back_keeps_who_gets_it_and_the_accounts_keep_their_years():
    world = refunds.an_accepted_refund()
    found = kept(world)
    assert found["contact"] == {"open_refund": None}
    assert found["money"]["open_refund"] is None
    assert found["money"]["bank_statements"] == date(2036, 12, 31)
    assert found["identity"]["accounting_records"] == date(2056, 12, 31)


def test_a_certificate_in_force_keeps_what_it_states():
    world = reported_certificates(PASSED)
    found = kept(world)
    assert found["certificate"] == {"certificate_in_force": None, "unreported_number": None}
    assert found["identity"]["certificate_in_force"] is None


def test_a_pass_without_a_certificate_keeps_what_the_certificate_will_state():
    assert kept(final_results(PASSED))["certificate"] == {"certificate_due": None}
    assert "certificate" not in kept(final_results(FAILED))


def test_an_objection_keeps_who_objects_until_the_notice_ends():
    world = a_registered_person(8, published_results())
    assert kept(world, 8) == {}
    world.do(object_to(by=8), by=candidate(8))
    assert {*kept(world, 8)} == {"identity", "contact", "remarks"}
    erase(world, 8)
    assert world.facts(e.ErasureConfirmed)[-1].awaited == ("N1",)
    world.do(settle("dismissed"), by=VERIFIER)
    world.do(close(), by=REGISTRAR, at=CLOSED_AT)
    for_years = {"assessment_records": date(2031, 10, 13)}
    assert kept(world, 8) == {"identity": for_years, "remarks": for_years}


def test_an_objector_who_is_not_registered_is_erased_like_any_person():
    """What they wrote goes with their keys, not with the applicant's."""
    world = published_results()
    world.do(object_as_outsider(), by=CERTIFIER)
    assert {*kept(world, person="W1")} == {"identity", "contact", "remarks"}
    erase(world, person="W1")
    assert world.facts(e.ErasureConfirmed)[-1].awaited == ("N1",)
    world.do(settle("dismissed"), by=VERIFIER)
    world.do(close(), by=REGISTRAR, at=CLOSED_AT)
    for_years = {"assessment_records": date(2031, 10, 13)}
    assert kept(world, person="W1") == {"identity": for_years, "remarks": for_years}
    gone = world.do(ContinueErasure(person_id="W1"), by=SERVICE, at=on("2031-10-14"))
    assert {each for _, each in gone.erases} == {"identity", "contact", "remarks"}
    assert {owner for owner, _ in gone.erases} == {"person/W1"}


def test_the_erasure_of_an_applicant_leaves_what_an_objector_wrote_and_the_other_way_round():
    """Each text lies under a key of who wrote it, each reason under the applicant's."""
    world = published_results(FAILED)
    world.do(object_as_outsider(), by=CERTIFIER)
    world.do(settle("dismissed"), by=VERIFIER)
    data = {each.TOPIC: each.model_dump(mode="json") for each in world.facts()}
    owners = {
        value.path: (data[topic][value.mark.of], value.mark.data_class.value)
        for topic in ("objection_filed.v1", "objection_dismissed.v1", "objector_named.v1")
        for value in declared_values(e.CATALOGUE[topic], data[topic])
    }
    assert owners == {
        "/text": ("W1", "remarks"),
        "/name": ("W1", "identity"),
        "/contact": ("W1", "contact"),
        "/reason": ("P1", "remarks"),
    }


def test_an_unfinished_objection_keeps_the_applicants_data_although_another_notice_made_it_final():
    """Another notice made the corrected result final meanwhile. Source: source-document 5.1."""
    world = published_results(FAILED)
    world.do(object_as_outsider(), by=CERTIFIER)
    world.do(settle("upheld"), by=VERIFIER)
    world.do(correct(Subject.THEORY, "59", objection_id="O1"), by=EXAMINER_2)
    world.do(verify("59", "100"), by=VERIFIER)
    world.do(object_to(objector_id="W1", objection_id="O2"), by=CERTIFIER)
    world.do(publish("N2"), by=REGISTRAR)
    world.do(close("N2"), by=REGISTRAR, at=CLOSED_AT)
    assert not world.notice("N1").closed
    assert {*kept(world)["contact"]} == {"open_objection"}
    assert findings_of(world, "P1", date(2026, 10, 14)).awaited == ("N1",)
    world.do(settle("dismissed", 2), by=VERIFIER)
    world.do(close("N1"), by=REGISTRAR)
    assert "contact" not in kept(world)


def test_the_receipt_says_which_rule_keeps_which_class_until_when():
    world = a_refused_application()
    findings = world.do(propose_erasure(), by=REGISTRAR).outcome["findings"]
    assert findings["ends"] == ["contact", "money", "certificate"]
    assert findings["kept"][0] == {
        "data_class": "identity",
        "because": "assessment_records",
        "until": "2031-03-02",
        "years": 5,
        "basis": "评价机构档案管理规定: 评价过程材料电子文件保存不少于5年",
    }


def test_years_end_on_the_corresponding_day():
    assert years_after(date(2028, 2, 29), 5) == date(2033, 2, 28)
    assert years_after(date(2028, 2, 29), 4) == date(2032, 2, 29)


# --- on its day -----------------------------------------------------------------------------------


def test_what_was_kept_goes_on_its_day_and_not_before():
    world = a_refused_application()
    given(world).when(ContinueErasure(person_id="P1"), by=SERVICE).fails(ErasureNotConfirmed)
    erase(world)
    early = given(world).when(ContinueErasure(person_id="P1"), by=SERVICE, at=on("2031-03-02"))
    assert early.decided.erases == ()
    decision = world.do(ContinueErasure(person_id="P1"), by=SERVICE, at=on("2031-03-03"))
    assert [each for _, each in decision.erases] == ["identity", "statements"]
    assert decision.facts[0][1].kept == ()
    again = given(world).when(ContinueErasure(person_id="P1"), by=SERVICE)
    assert again.decided.erases == ()


def test_of_a_rejected_candidate_the_accounts_keep_the_name_longest():
    world = a_rejected_application()
    erase(world)
    world.do(ContinueErasure(person_id="P1"), by=SERVICE, at=on("2045-01-01"))
    assert DataClass.STATEMENTS in world.person("P1").destroyed
    assert not world.person("P1").is_unknown
    assert {each for by in kept(world).values() for each in by} >= {KeptBy.ACCOUNTING_RECORDS}


def test_a_revoked_certificate_keeps_nothing_any_more():
    world = reported_certificates(PASSED)
    erase(world)
    for kind in CertificateKind:
        world.do(
            RevokeCertificate(
                application_id="A1", kind=kind, reason_class="holder_request", reason="本人申请"
            ),
            by=REGISTRAR,
        )
    world.do(ContinueErasure(person_id="P1"), by=SERVICE, at=on("2027-09-01"))
    assert DataClass.CERTIFICATE in world.person("P1").destroyed


# --- again, in a database that was restored from before it ----------------------------------------


def test_a_lost_erasure_is_done_again_by_one_operator_and_document_and_login_are_free():
    world = a_registered_person()
    given(world).when(repeat_erasure(2), by=OPERATOR).fails(NotFound)
    decision = world.do(repeat_erasure(), by=OPERATOR)
    assert decision.erases == (("person/P1", "identity"),)
    assert decision.forgets == ("candidate-1",)
    assert world.person("P1").erased
    with pytest.raises(NotFound):
        world.identity("P1")
    given(world).when(
        register(2, document_number=document_of(1), subject="candidate-1")
    ).then_kinds(e.PersonRegistered)


def test_only_the_classes_that_went_go_again_and_the_others_on_their_day():
    world = a_refused_application()
    decision = world.do(repeat_erasure(1, DataClass.STATEMENTS), by=OPERATOR)
    assert decision.erases == (("person/P1", "statements"),)
    assert {*kept(world)} == {"identity", "statements", "remarks"}
    [(_, fact)] = decision.facts
    assert {each.data_class for each in fact.kept} == {DataClass.IDENTITY, DataClass.REMARKS}
    assert world.identity("P1")
    decision = world.do(ContinueErasure(person_id="P1"), by=SERVICE, at=on("2031-03-03"))
    assert decision.erases == (("person/P1", "identity"),)


def test_a_lost_erasure_is_done_again_also_while_an_application_is_open_in_what_was_restored():
    world = an_enrolled_application()
    decision = world.do(repeat_erasure(), by=OPERATOR)
    assert {each for _, each in decision.erases} >= {"identity", "statements"}
    assert world.facts(e.ErasureRepeated)[-1].kept == ()


def test_a_lost_continuation_is_done_again_and_forgets_no_login_a_second_time():
    world = a_refused_application()
    erase(world)
    decision = world.do(repeat_erasure(1, DataClass.IDENTITY), by=OPERATOR)
    assert decision.erases == (("person/P1", "identity"),)
    assert decision.forgets == ()
    again = world.do(repeat_erasure(1, DataClass.IDENTITY), by=OPERATOR)
    assert again.erases == ()
