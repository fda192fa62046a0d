"""Claims follow from the facts alone: what a decision takes, the audit computes again."""

from __future__ import annotations

import pytest

from domain import events as e
from domain.claims import CLAIMS, EarlierFacts, NotOpened, claims_of
from domain.events import CATALOGUE
from tests.support import journeys, refunds
from tests.support.actors import FINANCE, candidate
from tests.support.claims import live_after
from tests.support.commands import PASSED, apply_for, erase

WITHOUT_CLAIMS = {
    *("ledger_opened.v1", "edition_proposed.v1", "edition_adopted.v1"),
    *("erasure_proposed.v1", "erasure_continued.v1"),
    *("issuer_url_set.v1", "person_corrected.v1", "person_recognised.v1"),
    *("registration_rejected.v1", "actor_named.v1", "objector_named.v1"),
    *("key_introduced.v1", "key_retired.v1", "log_continued_elsewhere.v1"),
    *("eligibility_refused.v1", "fee_item_used.v1"),
    *("document_submitted.v1", "documents_submitted.v1"),
    *("initial_review_passed.v1", "initial_review_returned.v1"),
    *("second_review_passed.v1", "second_review_returned.v1", "final_review_returned.v1"),
    *("refund_entitled.v1", "refund_refused.v1", "refund_approved.v1", "refund_declined.v1"),
    *("refund_closed.v1", "refund_abnormal.v1"),
    *("exam_session_scheduled.v1", "exam_session_held.v1", "admission_ticket_issued.v1"),
    *("theory_score_recorded.v1", "practical_score_recorded.v1", "score_corrected.v1"),
    *("scores_verified.v1", "public_notice_opened.v1", "public_notice_extended.v1"),
    *("result_published.v1", "objection_dismissed.v1"),
    *("objection_upheld.v1", "serial_taken.v1", "report_frozen.v1"),
    *("certificate_issued.v1", "certificate_reported.v1", "certificate_accepted.v1"),
    *("certificate_rejected.v1", "certificate_visible.v1", "certificate_corrected.v1"),
    *("certificate_reissued.v1", "certificate_suspended.v1", "certificate_reinstated.v1"),
    *("certificate_revoked.v1", "edition_copied.v1", "service_opened.v1"),
}
"""Topics that take and release nothing: a new fact is added here or to `CLAIMS`."""


def test_every_fact_has_a_rule_or_is_known_to_have_no_claims():
    ruled = {fact.TOPIC for fact in CLAIMS}
    assert ruled & WITHOUT_CLAIMS == set()
    assert CATALOGUE.keys() - ruled - WITHOUT_CLAIMS == set()


FAILED = ("59.5", "100")

JOURNEYS = {
    "an eligible application": journeys.an_eligible_application,
    "a refused application": journeys.a_refused_application,
    "a paid application": journeys.a_paid_application,
    "a rejected application": journeys.a_rejected_application,
    "an enrolled application": journeys.an_enrolled_application,
    "seats of one session": lambda: journeys.seated_applications(3),
    "final results": lambda: journeys.final_results(PASSED, FAILED),
    "reported certificates": lambda: journeys.reported_certificates(PASSED),
    "an accepted refund": refunds.an_accepted_refund,
}


@pytest.mark.parametrize("journey", JOURNEYS.values(), ids=JOURNEYS)
def test_the_facts_of_a_journey_yield_the_claims_that_its_decisions_took(journey):
    world = journey()
    assert live_after(world.facts()) == set(world.claims)
    assert world.claims, "a journey without claims shows nothing"


def test_an_erasure_releases_what_identified_the_person():
    world = journeys.a_registered_person()
    erase(world)
    assert live_after(world.facts()) == set(world.claims) == set()


def test_a_settlement_by_another_way_claims_the_number_of_the_bank():
    world = refunds.an_abnormal_refund()
    by_bank = {"provider_refund_id": "BANK-1", "channel": "bank_transfer"}
    world.do(refunds.settled(world, **by_bank), by=FINANCE)
    assert ("provider_refund", "bank|BANK-1") in live_after(world.facts()) == set(world.claims)


def test_a_row_that_was_final_before_releases_its_claim_once():
    world = journeys.final_results(FAILED)
    world.do(apply_for(1, application_id="A9"), by=candidate(1))
    fact = e.PublicNoticeClosed(notice_id="N1", final_count=1)
    earlier = EarlierFacts()
    for each in world.facts():
        earlier.add(each)
    assert claims_of(fact, earlier).releases == ()


def test_a_fact_about_what_was_never_opened_is_refused():
    fact = e.ApplicationWithdrawn(application_id="A1", person_id="P1", reason="none")
    with pytest.raises(NotOpened):
        claims_of(fact, EarlierFacts())
