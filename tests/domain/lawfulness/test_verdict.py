"""What no decision could have made is named, with its position, its topic and its clause.

Each history is altered as somebody with the whole database could: facts are put in, taken out or
changed, with versions and times that fit.
Covers: domain/lawfulness/verdict.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from domain import events as e
from domain.actors import Actor, Role
from domain.commands import SPECS
from domain.decision import Context, KeyInUse
from domain.events import CertificateKind, Component, Fact, KeyIntroduced, RevocationReason
from domain.lawfulness.judge import Judge
from domain.lawfulness.verdict import Unlawful, clause_of
from domain.steps import certificate, refund
from domain.steps.certificate import decide_reinstate
from domain.steps.exam import CloseSession
from domain.values.primitives import Marks, format_instant
from tests.support import journeys
from tests.support.actors import (
    AGENCY,
    ASSISTANT,
    CERTIFIER,
    EXAMINER,
    FINANCE,
    FINANCE_2,
    PROVINCE,
    REGISTRAR,
    VERIFIER,
    candidate,
    staff,
)
from tests.support.commands import (
    ENDED_AT,
    continue_log,
    correct_person,
    document_of,
    open_ledger,
    order,
    pay_again,
    register,
    withdraw,
)
from tests.support.key_facts import id_of, introduce, introduced, key_named
from tests.support.recorded_histories import Envelope, RecordingWorld, envelope_of, judged
from tests.support.world import Entry, World, stream_of_fact

Commands = list[list[Envelope]]


@pytest.fixture(autouse=True)
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every journey keeps what its commands record."""
    monkeypatch.setattr(journeys, "World", RecordingWorld)


def recorded(world: World) -> RecordingWorld:
    assert isinstance(world, RecordingWorld)
    assert judged(world.commands).unlawful == []
    return world


def forge(world: RecordingWorld, *facts: Fact, by: Actor, minutes: int = 1) -> list[Envelope]:
    """What somebody would insert after a history: facts of one command, with fitting versions."""
    versions: dict[str, int] = {}
    entries = []
    for fact in facts:
        stream = stream_of_fact(fact)
        state = world.states.get(stream)
        versions[stream] = versions.get(stream, state.version if state else 0) + 1
        at = world.now + timedelta(minutes=minutes)
        entries.append(Entry(stream, versions[stream], at, by.model_dump(mode="json"), fact))
    number = len(world.commands) + 1
    return [envelope_of(entry, number) for entry in entries]


def the_finding(judge: Judge) -> Unlawful:
    [found] = judge.unlawful
    return found


def inserted(world: World, *facts: Fact, by: Actor, minutes: int = 1) -> Unlawful:
    """The finding on facts that were inserted at the end of a lawful history."""
    history = recorded(world)
    events = forge(history, *facts, by=by, minutes=minutes)
    found = the_finding(judged([*history.commands, events]))
    assert found.position > len(history.entries)
    return found


def altered(world: World, topic: str, change: Callable[[Envelope], object]) -> Judge:
    """The judge of a history in which the last event of a topic was changed."""
    history = recorded(world)
    commands = copy.deepcopy(history.commands)
    event = [x for command in commands for x in command if x["topic"] == topic][-1]
    change(event)
    return judged(commands)


def position_of(world: World, topic: str) -> int:
    topics = [entry.fact.TOPIC for entry in world.entries]
    return len(topics) - topics[::-1].index(topic)


# --- facts that were inserted ---------------------------------------------------------------------


def test_a_join_with_a_person_who_has_another_document_is_named() -> None:
    """Source: source-document 3.1(1)."""
    world = journeys.an_open_ledger()
    world.do(register(1, subject=None), by=ASSISTANT)
    world.do(register(2, document_number=document_of(1)), by=candidate(2))
    world.do(correct_person(1, document_number=document_of(3)), by=REGISTRAR)
    joined = e.RegistrationJoined(person_id="P2", joined_to="P1")
    assigned = e.LoginAssigned(person_id="P1", subject="candidate-2")
    found = inserted(world, joined, assigned, by=CERTIFIER)
    assert (found.topic, found.clause) == ("registration_joined.v1", "3.1(1)")
    assert "documents_differ" in found.reason


def revoked_certificate() -> World:
    world = journeys.issued_certificates()
    which = {"application_id": "A1", "kind": CertificateKind.NATIONAL, "reason": "考试作弊"}
    why = RevocationReason.EXAM_FRAUD
    world.do(certificate.RevokeCertificate(**which, reason_class=why), by=REGISTRAR)
    return world


def test_a_revoked_certificate_that_is_reinstated_is_named() -> None:
    world = revoked_certificate()
    number = world.candidacy("A1").certificates[CertificateKind.NATIONAL].number
    fact = e.CertificateReinstated(
        application_id="A1",
        person_id="P1",
        kind=CertificateKind.NATIONAL,
        number=number,
        version=1,
        reason="复核",
    )
    found = inserted(world, fact, by=REGISTRAR)
    assert found.position == len(world.entries) + 1
    assert (found.topic, found.clause) == ("certificate_reinstated.v1", "3.2(3)")
    assert "certificate_out_of_order" in found.reason


def test_a_score_without_a_seat_is_named() -> None:
    world = journeys.an_enrolled_application(2, journeys.seated_applications())
    world.do(CloseSession(session_id="S1", ended_at=ENDED_AT), at=ENDED_AT)
    fact = e.TheoryScoreRecorded(
        application_id="A2", person_id="P2", session_id="S1", marks=Marks("90")
    )
    use = e.FeeItemUsed(
        application_id="A2",
        person_id="P2",
        payment_id="PAY2",
        component=Component.CERTIFICATION_FEE,
        item=e.Item.THEORY_EXAM,
        used_at=world.now,
    )
    found = inserted(world, fact, use, by=EXAMINER)
    assert (found.topic, found.clause) == ("theory_score_recorded.v1", "2.2, 4.3(1), 4.3(2)")
    assert "not_found" in found.reason


def a_settled_refund() -> World:
    world = journeys.a_rejected_application()
    world.do(order(Component.CERTIFICATION_FEE), by=FINANCE)
    which = {"application_id": "A1", "refund_no": "RPAY1-1"}
    world.do(refund.ApproveRefund(**which), by=FINANCE_2)
    accepted: dict[str, Any] = {**which, "provider_refund_id": "5000"}
    world.do(refund.RecordRefundOutcome(**accepted, outcome="accepted"), by=FINANCE)
    arrived = {"outcome": "settled", "channel": "original", "settled_at": world.now}
    world.do(refund.RecordRefundOutcome(**accepted, **arrived), by=FINANCE)
    return world


def a_refund_order(**changed: Any) -> e.RefundOrdered:
    given: dict[str, Any] = {
        "application_id": "A1",
        "person_id": "P1",
        "refund_no": "RPAY1-2",
        "payment_id": "PAY1",
        "component": Component.STUDY_MATERIAL,
        "amount_fen": 18_000,
        "provider": e.Provider.WECHAT,
        "channel_id": "wechat",
        "provider_transaction_id": f"4200{1:024d}",
        "clause": "2.4(1)",
    }
    return e.RefundOrdered(**(given | changed))


def test_a_refund_beyond_what_was_paid_is_named() -> None:
    world = a_settled_refund()
    found = inserted(world, a_refund_order(amount_fen=18_001), by=FINANCE)
    assert (found.topic, found.clause) == ("refund_ordered.v1", "2.4(1), 2.4(2), 2.4(3)")
    assert found.reason == "amount_fen was decided otherwise"


def test_a_component_that_is_refunded_twice_is_named() -> None:
    again = a_refund_order(component=Component.CERTIFICATION_FEE, amount_fen=30_000)
    assert "already_refunded" in inserted(a_settled_refund(), again, by=FINANCE).reason


def test_a_certificate_before_the_notice_closed_is_named() -> None:
    lawful = recorded(journeys.numbered_certificates())
    numbering = [e.CATALOGUE[x["topic"]].model_validate(x["data"]) for x in lawful.commands[-1]]
    found = inserted(journeys.published_results(), *numbering, by=REGISTRAR)
    assert (found.topic, found.clause) == ("serial_taken.v1", "0.2, 5.2, 5.3")
    assert "result_not_final" in found.reason


def test_a_second_review_by_the_same_person_is_named() -> None:
    world = journeys.an_application_in_review(passed=1)
    both = staff(AGENCY.subject, Role.CERTIFIER, "omc")
    fact = e.SecondReviewPassed(application_id="A1", person_id="P1", round=1)
    found = inserted(world, fact, by=both)
    assert found.topic == "second_review_passed.v1"
    assert "3.2(2)" in found.clause
    assert "reviewed_before" in found.reason


@pytest.mark.parametrize("by", [candidate(1), PROVINCE, VERIFIER])
def test_an_actor_whose_role_may_not_do_it_is_named(by: Actor) -> None:
    world = journeys.an_eligible_application()
    paid = e.FeePaid(
        application_id="A1",
        person_id="P1",
        payment_id="PAY9",
        provider=e.Provider.BANK,
        channel_id="bank",
        source=e.EvidenceSource.PERSON,
        provider_transaction_id="9",
        merchant_order_no="9",
        paid_at=world.now,
        lines=(
            e.FeeLine(component=Component.CERTIFICATION_FEE, amount_fen=30_000),
            e.FeeLine(component=Component.STUDY_MATERIAL, amount_fen=18_000),
        ),
    )
    found = inserted(world, paid, by=by)
    assert (found.clause, found.reason) == (
        "2.1, 2.2, 2.3",
        f"role {by.role.value} may not do this",
    )
    history = recorded(world)
    assert judged([*history.commands, forge(history, paid, by=FINANCE)]).unlawful == []


def test_the_same_transaction_for_two_applications_is_named() -> None:
    world = journeys.a_paid_application(2, journeys.a_paid_application(1))
    twice = (
        journeys.a_paid_application(3, world)
        .facts(e.FeePaid)[-1]
        .model_copy(update={"payment_id": "PAY9", "provider_transaction_id": f"4200{1:024d}"})
    )
    excess = e.ExcessPaymentReceived(**dict(twice), reason="component_already_paid")
    found = inserted(world, excess, by=FINANCE)
    assert found.reason.startswith("claim_taken: another provider_transaction")


def test_the_register_that_holds_one_person_twice_is_named() -> None:
    world = journeys.a_registered_person()
    [person] = world.facts(e.PersonRegistered)
    again = person.model_copy(update={"person_id": "P2", "subject": None})
    found = inserted(world, again, by=AGENCY)
    assert found.clause == "3.1(1)"
    assert found.reason == "person_recognised.v1 was decided"
    found = inserted(world, again.model_copy(update={"name": "钱二"}), by=AGENCY)
    assert found.reason == "registration_contested.v1 was decided"


# --- facts that were altered ----------------------------------------------------------------------


def test_a_fee_that_is_not_in_the_schedule_is_named() -> None:
    world = journeys.a_paid_application()

    def change(event: Envelope) -> None:
        event["data"]["lines"][1]["amount_fen"] = 1

    found = the_finding(altered(world, "fee_paid.v1", change))
    assert (found.position, found.topic) == (len(world.entries), "fee_paid.v1")
    assert found.clause == "2.1, 2.2, 2.3"
    assert "wrong_amount" in found.reason


def test_scores_that_were_raised_after_they_were_verified_are_named() -> None:
    world = journeys.published_results(("72", "59.5"))
    judge = altered(
        world, "practical_score_recorded.v1", lambda event: event["data"].update(marks="60")
    )
    assert [each.topic for each in judge.unlawful] == [
        "scores_verified.v1",
        "result_published.v1",
    ]


def test_a_notice_that_ends_a_day_early_is_named() -> None:
    world = journeys.published_results()
    judge = altered(
        world, "public_notice_opened.v1", lambda event: event["data"].update(ends_on="2026-10-12")
    )
    found = the_finding(judge)
    assert (found.clause, found.reason) == ("5.1", "ends_on was decided otherwise")


def test_a_photo_taken_too_long_ago_is_named() -> None:
    world = journeys.an_application_with_documents()
    judge = altered(
        world, "document_submitted.v1", lambda event: event["data"].update(taken_on="2025-01-01")
    )
    assert "document_faulty" in the_finding(judge).reason


def test_a_statement_of_another_person_is_named() -> None:
    world = journeys.an_eligible_application()

    def change(event: Envelope) -> None:
        key = event["data"]["qualifications"]["key"]
        sealed = 'test:"{\\"work_periods\\":[]}"'
        event["data"]["qualifications"] = {"key": key, "sealed": sealed}

    found = the_finding(altered(world, "eligibility_confirmed.v1", change))
    assert found.topic in ("application_opened.v1", "eligibility_confirmed.v1")
    assert found.clause.startswith("1.1, 1.2(1)")


def test_a_fact_under_another_time_than_its_command_is_named() -> None:
    world = journeys.an_eligible_application()
    judge = altered(
        world,
        "eligibility_confirmed.v1",
        lambda event: event.update(occurred_at="2026-03-02T00:00:00.000000Z"),
    )
    assert the_finding(judge).topic == "eligibility_confirmed.v1"


def test_a_fact_earlier_than_its_stream_is_named() -> None:
    fact = e.ApplicationWithdrawn(application_id="A1", person_id="P1", reason="个人原因")
    found = inserted(journeys.an_eligible_application(), fact, by=candidate(1), minutes=-1)
    assert found.reason == "its stream has recorded something later already"


def test_a_fact_that_happened_after_it_was_recorded_is_named() -> None:
    world = journeys.an_eligible_application()
    judge = altered(
        world,
        "application_opened.v1",
        lambda event: event.update(recorded_at="2026-03-02T00:00:00.000000Z"),
    )
    assert [each.clause[:3] for each in judge.unlawful] == ["1.2"]
    commands = copy.deepcopy(recorded(world).commands)
    for event in commands[-1]:
        event["recorded_at"] = "2026-03-02T00:00:00.000000Z"
    assert the_finding(judged(commands)).reason == "it happened after it was recorded"


def test_the_clock_of_the_database_may_be_a_minute_behind() -> None:
    commands = copy.deepcopy(recorded(journeys.an_open_ledger()).commands)
    happened = datetime.fromisoformat(commands[-1][0]["occurred_at"])
    for behind, named in ((timedelta(seconds=60), 0), (timedelta(seconds=61), 1)):
        commands[-1][0]["recorded_at"] = format_instant(happened - behind)
        assert len(judged(commands).unlawful) == named


def test_a_time_that_nobody_gave_may_be_a_minute_before_one_that_was_given() -> None:
    world = recorded(journeys.an_eligible_application())
    fact = e.ApplicationWithdrawn(application_id="A1", person_id="P1", reason="个人原因")
    [event] = forge(world, fact, by=candidate(1))
    for seconds, named in ((60, 0), (61, 1)):
        at = format_instant(world.now - timedelta(seconds=seconds))
        given = {**event, "occurred_at": at, "recorded_at": at}
        assert len(judged([*world.commands, [given]]).unlawful) == named


def test_a_time_that_is_none_is_named() -> None:
    world = journeys.an_open_ledger()
    judge = altered(world, "edition_adopted.v1", lambda event: event.update(occurred_at="z"))
    assert the_finding(judge).topic == "edition_adopted.v1"


# --- facts that are missing, too many or out of place ---------------------------------------------


def renumbered(commands: Commands) -> Commands:
    """The commands with versions that follow one another, as a careful forger leaves them."""
    versions: dict[str, int] = {}
    commands = copy.deepcopy(commands)
    for event in (x for command in commands for x in command):
        versions[event["stream"]] = event["version"] = versions.get(event["stream"], 0) + 1
    return commands


def test_a_fact_missing_from_a_command_is_named() -> None:
    world = recorded(journeys.seated_applications())
    commands = renumbered([*world.commands[:-1], world.commands[-1][:1]])
    found = the_finding(judged(commands))
    assert (found.position, found.topic) == (len(world.entries) - 1, "seat_assigned.v1")
    assert (found.clause, found.reason) == (
        "4.1, 4.2",
        "admission_ticket_issued.v1 is missing after it",
    )


def test_a_fact_without_the_one_it_follows_is_named() -> None:
    world = recorded(journeys.seated_applications())
    commands = renumbered([*world.commands[:-1], world.commands[-1][1:]])
    found = the_finding(judged(commands))
    assert found.topic == "admission_ticket_issued.v1"
    assert found.reason == "no command records this fact first"


def test_a_fact_added_to_a_command_is_named() -> None:
    world = recorded(journeys.a_rejected_application())
    [rejected, _] = world.commands[-1]
    entitled = e.RefundEntitled(
        application_id="A1",
        person_id="P1",
        lines=(
            e.RefundLine(
                payment_id="PAY1", component=Component.CERTIFICATION_FEE, amount_fen=30_000
            ),
        ),
        not_refundable=(),
    )
    [extra] = forge(world, entitled, by=AGENCY)
    extra |= {key: rejected[key] for key in ("command_id", "occurred_at", "recorded_at", "actor")}
    found = the_finding(judged([*world.commands, [extra]]))
    assert (found.position, found.topic) == (len(world.entries) + 1, "refund_entitled.v1")
    assert found.reason == "its command records 2 facts, not 3"


def test_a_deleted_payment_makes_what_rests_on_it_unlawful() -> None:
    world = recorded(journeys.an_application_in_review(passed=3))
    without = [c for c in world.commands if c[0]["topic"] != "fee_paid.v1"]
    named = judged(renumbered(without)).unlawful
    assert named[0].topic == "document_submitted.v1"
    assert "payment_first" in named[0].reason
    # The review goes on from the state that the forged history has.
    assert "initial_review_passed.v1" not in {each.topic for each in named}


def test_a_gap_in_the_versions_of_a_stream_is_named() -> None:
    world = recorded(journeys.a_rejected_application(used=(e.Item.HANDBOOK, e.Item.MOCK_EXAM)))
    without = [c for c in world.commands if c[0]["data"].get("item") != "handbook"]
    assert len(without) == len(world.commands) - 1
    named = judged(without).unlawful
    assert (named[0].topic, named[0].clause) == ("fee_item_used.v1", "2.2, 2.3, 2.4(1)")
    assert named[0].reason == "version 4 of its stream comes next"
    assert judged(renumbered(without)).unlawful == []


def test_a_fact_in_another_stream_than_its_own_is_named() -> None:
    world = journeys.an_eligible_application()
    judge = altered(
        world, "eligibility_confirmed.v1", lambda event: event.update(stream="application-A9")
    )
    assert judge.unlawful[0].topic == "eligibility_confirmed.v1"


def test_a_history_is_judged_up_to_its_end_after_an_unlawful_event() -> None:
    world = journeys.a_paid_application()
    history = recorded(world)
    paid = next(c for c in history.commands if c[0]["topic"] == "fee_paid.v1")
    paid = copy.deepcopy(paid)
    paid[0]["data"]["lines"][0]["amount_fen"] = 1
    world.do(withdraw(1))
    world.do(pay_again(1), by=FINANCE)
    commands = [paid if c[0]["topic"] == "fee_paid.v1" else c for c in history.commands]
    judge = judged(commands)
    assert [each.topic for each in judge.unlawful] == ["fee_paid.v1", "refund_entitled.v1"]
    assert judge.judged == len(world.entries)


# --- keys -----------------------------------------------------------------------------------------

FIRST, SECOND, THIRD, FOREIGN = map(key_named, ("first", "second", "third", "foreign"))


@dataclass
class WorldOfKeys(RecordingWorld):
    """A world whose service has a log key when the ledger opens."""

    def context(self, actor: Actor, now: datetime) -> Context:
        fact = introduced(FIRST)
        key = KeyInUse(
            fact.purpose, fact.key_id, fact.algorithm, fact.public_key, fact.signature_new
        )
        return super().context(actor, now)._replace(keys=(key,))


def one_log_key_after_another() -> WorldOfKeys:
    """The first at the opening, the second introduced, the third after an accepted loss."""
    world = WorldOfKeys()
    world.do(open_ledger())
    world.do(introduce(introduced(SECOND, FIRST)))
    world.do(continue_log(log_key=introduced(THIRD, SECOND)))
    return world


IN_THE_LOG, AFTER_A_LOSS = "docs/production.md, keys in the log", "docs/production.md, after a loss"

KEY_FORGERIES: dict[str, tuple[KeyIntroduced, int, str]] = {
    "the opening signed by nobody": (
        introduced(FIRST).model_copy(update={"signature_new": None}), 0, "0.1, 5.3"
    ),
    "the opening of another ledger": (introduced(FIRST, ledger="x"), 0, "0.1, 5.3"),
    "a foreign key with only its own signature": (introduced(FOREIGN), 1, IN_THE_LOG),
    "a foreign key, signed by another foreign key": (introduced(FOREIGN, THIRD), 1, IN_THE_LOG),
    "the id of the old key on a foreign one": (
        introduced(FOREIGN, FIRST).model_copy(update={"key_id": id_of(SECOND)}), 1, IN_THE_LOG
    ),
    "a foreign key after a loss": (
        introduced(FOREIGN, FIRST), 2, AFTER_A_LOSS
    ),
    "another signature of the old key after a loss": (
        introduced(THIRD, SECOND).model_copy(
            update={"signature_old": introduced(FOREIGN, SECOND).signature_old}
        ),
        2,
        AFTER_A_LOSS,
    ),
}  # fmt: skip


def test_keys_that_sign_one_another_are_lawful() -> None:
    world = one_log_key_after_another()
    assert judged(world.commands).unlawful == []


@pytest.mark.parametrize(("forged", "command", "clause"), KEY_FORGERIES.values(), ids=KEY_FORGERIES)
def test_a_fact_about_a_key_with_a_wrong_signature_is_named(
    forged: KeyIntroduced, command: int, clause: str
) -> None:
    commands = copy.deepcopy(one_log_key_after_another().commands)
    event = next(x for x in commands[command] if x["topic"] == KeyIntroduced.TOPIC)
    event["data"] = forged.model_dump(mode="json")
    found = judged(commands).unlawful[0]
    assert (found.topic, found.clause) == (commands[command][0]["topic"], clause)
    assert found.reason.startswith(("key_not_signed: ", "key_id_differs: "))


# --- words ----------------------------------------------------------------------------------------


def test_every_decision_has_a_clause_to_name() -> None:
    assert all(clause_of(spec.decide) for spec in SPECS)
    assert clause_of(decide_reinstate) == "3.2(3)"
    assert clause_of(e.AdmissionTicketIssued) == "4.1"
    assert clause_of(e.RefundDeclined) == ""


def test_a_finding_reads_as_a_sentence() -> None:
    found = Unlawful(7, "certificate_reinstated.v1", "3.2(3)", "certificate_out_of_order: x")
    assert str(found) == (
        "certificate_reinstated.v1 could not have been decided (3.2(3)): "
        "certificate_out_of_order: x"
    )
    assert "()" not in str(found._replace(clause=""))
