"""Folding facts into the states that decisions read.

Covers: domain/states/folds.py, domain/states/application.py, domain/actors.py
"""

from dataclasses import fields, replace

import pytest

from domain import events as e
from domain.editions.edition import EditionKind
from domain.events import CATALOGUE, CertificateKind, Component, Stage
from domain.service import snapshots
from domain.states import application as candidacy
from domain.states import folds as states
from domain.states.application import CLOSED, Status
from domain.values.primitives import Marks
from tests.support.actors import OPERATOR
from tests.support.commands import PASSED, order, pay_again
from tests.support.golden import sample
from tests.support.journeys import (
    a_paid_application,
    a_refused_application,
    a_rejected_application,
    an_application_in_review,
    an_eligible_application,
    an_enrolled_application,
    issued_certificates,
    published_results,
    recorded_scores,
    seated_applications,
)
from tests.support.world import Entry, World


def entry(fact: e.Fact, version: int = 1) -> Entry:
    return Entry("stream", version, World().now, OPERATOR.model_dump(mode="json"), fact)


def test_every_fact_of_the_catalogue_has_a_fold_and_nothing_else_has_one():
    assert set(states.FOLDS) == set(CATALOGUE.values())


def test_every_application_fact_is_folded_by_the_candidacy():
    of_applications = {f for f in CATALOGUE.values() if issubclass(f, e.ApplicationFact)}
    assert set(candidacy.FOLDS) == of_applications


def test_an_unknown_fact_raises_instead_of_being_ignored():
    class Unheard(e.ApplicationFact):
        """Something no fold knows."""

    with pytest.raises(KeyError):
        states.evolve(None, entry(Unheard(application_id="A1", person_id="P1")))


def test_a_state_has_the_version_of_its_last_fact():
    world = a_paid_application()
    assert world.candidacy("A1").version == 3
    assert world.ledger().version == 1
    assert world.editions(EditionKind.FEES).version == 2


def test_folding_entry_by_entry_equals_folding_the_stream():
    world = issued_certificates()
    for stream, state in world.states.items():
        entries = [x for x in world.entries if x.originator_id == stream]
        assert states.project(None, entries) == state


def test_the_actor_of_an_entry_is_read_from_the_envelope_form():
    fact = CATALOGUE["application_opened.v1"].model_validate(
        sample(CATALOGUE["application_opened.v1"])
    )
    plain = entry(fact)
    assert states.evolve(None, plain).opened_by == OPERATOR.subject
    assert states.evolve(None, replace(plain, actor=OPERATOR)).opened_by == OPERATOR.subject


@pytest.mark.parametrize("kind", list(snapshots.STATE_CLASSES))
def test_every_state_round_trips_through_a_snapshot(kind):
    world = published_results()
    streams = [s for s in world.states if snapshots.kind_of(s) == kind]
    if kind in ("series", "report"):
        assert streams == []
    for stream in streams:
        snapshot = snapshots.take(stream, world.states[stream])
        again = snapshots.restore(
            snapshots.Snapshot.model_validate_json(snapshot.model_dump_json())
        )
        assert again == world.states[stream]


def test_no_state_contains_personal_data():
    for cls in snapshots.STATE_CLASSES.values():
        names = {field.name for field in fields(cls)}
        assert not names & {"name", "phone", "document_number", "qualifications", "text"}


@pytest.mark.parametrize(
    ("world", "status"),
    [
        (an_eligible_application(), Status.ELIGIBLE),
        (a_refused_application(), Status.NOT_ELIGIBLE),
        (a_paid_application(), Status.PAID),
        (an_application_in_review(), Status.IN_REVIEW),
        (an_application_in_review(passed=2), Status.IN_REVIEW),
        (a_rejected_application(), Status.REJECTED),
        (an_enrolled_application(), Status.ENROLLED),
    ],
)
def test_the_status_of_an_application_follows_its_last_step(world, status):
    """Source: source-document 2.4(1), 2.4(3), 3.2(2)."""
    assert world.candidacy("A1").status is status


def test_three_statuses_mean_an_unsuccessful_application():
    """Source: source-document 2.4(1)."""
    assert {Status.NOT_ELIGIBLE, Status.REJECTED, Status.WITHDRAWN} == CLOSED


@pytest.mark.parametrize("passed", [0, 1, 2])
def test_the_next_review_is_the_one_after_those_that_passed(passed):
    """Source: source-document 3.2(2)."""
    state = an_application_in_review(passed=passed).candidacy("A1")
    assert state.next_stage() is tuple(Stage)[passed]


def test_an_excess_payment_is_not_the_payment_of_a_component():
    world = an_eligible_application()
    world.do(pay_again(), by=OPERATOR)
    paid = world.candidacy("A1").paid_component(Component.STUDY_MATERIAL)
    assert paid is not None
    world.do(pay_again(payment_id="PAY3", provider_transaction_id="4300"))
    assert world.candidacy("A1").paid_component(Component.STUDY_MATERIAL) == paid
    assert [line.excess for line in world.candidacy("A1").paid] == [False, False, True, True]


def test_marks_are_missing_until_they_are_recorded_and_a_missing_mark_never_passes():
    """Source: source-document 4.3(3)."""
    assert an_enrolled_application().candidacy("A1").marks() == (None, None)
    assert not an_enrolled_application().candidacy("A1").has_passed()
    scored = recorded_scores(PASSED).candidacy("A1")
    assert scored.marks() == (Marks("72"), Marks("65.5"))
    assert scored.has_passed()


def test_a_refund_is_found_by_its_number():
    world = a_rejected_application()
    world.do(order(Component.CERTIFICATION_FEE))
    assert world.candidacy("A1").refund("RPAY1-1").amount_fen == 30_000
    assert world.candidacy("A1").refund("RPAY1-2") is None


def test_a_session_records_seats_and_tickets():
    """Source: source-document 4.2."""
    session = seated_applications(2).session("S1")
    assert session.seats == {"101#1": "A1", "101#2": "A2"}
    assert session.free_seat() == ("101", 3)
    assert session.free_seat("102") == ("102", 1)
    assert session.free_seat("999") is None


def test_a_notice_separates_open_from_resolved_objections():
    world = published_results()
    for n, outcome in ((1, e.ObjectionDismissed), (2, e.ObjectionUpheld), (3, None)):
        objection = {"notice_id": "N1", "objection_id": f"O{n}"}
        world.append(
            e.ObjectionFiled(
                **objection, application_id="A1", person_id="P1", objector_id="P2", text="漏判"
            )
        )
        if outcome:
            row = {"application_id": "A1", "person_id": "P1"}
            world.append(outcome(**objection, **row, reason="已核对"))
    notice = world.notice("N1")
    assert set(notice.objections) == {"O1", "O2", "O3"}
    assert set(notice.open_objections) == {"O3"}
    assert (notice.upheld, notice.withheld) == ({"O2"}, {"A1"})


def test_a_series_counts_on_from_its_highest_serial():
    world = issued_certificates()
    assert world.series("national-2026-4").last_serial == 1
    assert world.series("national-2031-4") == states.Series("national-2031-4")


def test_a_certificate_begins_numbered_and_counts_its_versions_from_issue():
    """Source: source-document 5.3."""
    certificate = issued_certificates().candidacy("A1").certificates[CertificateKind.NATIONAL]
    assert (certificate.progress, certificate.version, certificate.standing) == (
        "issued",
        1,
        "valid",
    )
