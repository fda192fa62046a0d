"""Histories to start a test from, each built through the decisions up to what its name says.

Candidate n is person `P<n>` with the login `candidate-<n>`, application `A<n>` and payment
`PAY<n>`. Every builder continues a given world; without one it opens a ledger first.
The exam ends on 2026-09-05, its results are published on 2026-09-30 until 2026-10-13.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.eligibility.qualifications import Qualifications
from domain.events import Item, Stage, Subject
from domain.steps import certificate as certificates
from domain.steps import exam
from domain.steps.number_allocation import NumberCertificates
from tests.support.actors import (
    AGENCY,
    ASSISTANT,
    EXAMINER,
    FINANCE,
    REGISTRAR,
    VERIFIER,
    candidate,
)
from tests.support.commands import (
    CLOSED_AT,
    ENDED_AT,
    ISSUED_AT,
    NEEDED,
    PASSED,
    PUBLISHED_AT,
    STAGES,
    Pair,
    apply_for,
    close,
    give,
    hand_in,
    open_ledger,
    pay,
    publish,
    register,
    report,
    schedule,
    score,
    seat,
    set_fees,
    submit,
    use,
    verify,
)
from tests.support.world import World


def an_open_ledger() -> World:
    """The ledger of a Zhejiang organisation with the fees of levels four and five."""
    world = World()
    world.do(open_ledger())
    set_fees(world)
    return world


def a_registered_person(n: int = 1, world: World | None = None) -> World:
    """Candidate n is registered."""
    world = world or an_open_ledger()
    world.do(register(n), by=ASSISTANT)
    return world


def an_eligible_application(n: int = 1, world: World | None = None, **changed: Any) -> World:
    """资质评估 passed, by 1.2(2)."""
    world = a_registered_person(n, world)
    world.do(apply_for(n, **changed), by=candidate(n))
    return world


def a_refused_application(n: int = 1, world: World | None = None) -> World:
    """资质评估 not passed: no work at all."""
    return an_eligible_application(n, world, qualifications=Qualifications())


def a_paid_application(n: int = 1, world: World | None = None) -> World:
    """Both components are paid."""
    world = an_eligible_application(n, world)
    world.do(pay(n, world), by=FINANCE)
    return world


def an_application_with_documents(n: int = 1, world: World | None = None) -> World:
    """Every required file is submitted, not yet sent into review."""
    world = a_paid_application(n, world)
    for kind in NEEDED:
        world.do(hand_in(kind, n), by=candidate(n))
    return world


def an_application_in_review(n: int = 1, world: World | None = None, passed: int = 0) -> World:
    """In review, with `passed` of the three reviews passed."""
    world = an_application_with_documents(n, world)
    world.do(submit(n), by=candidate(n))
    for stage, actor in STAGES[:passed]:
        world.do(give(stage, "pass", n), by=actor)
    return world


def a_rejected_application(
    n: int = 1, world: World | None = None, used: Sequence[Item] = ()
) -> World:
    """初审 rejected: 报考未成功; items were used before."""
    world = a_paid_application(n, world)
    for item in used:
        world.do(use(item, n), by=candidate(n))
    for kind in NEEDED:
        world.do(hand_in(kind, n), by=candidate(n))
    world.do(submit(n), by=candidate(n))
    world.do(give(Stage.INITIAL, "reject", n), by=AGENCY)
    return world


def an_enrolled_application(n: int = 1, world: World | None = None) -> World:
    """报考成功: all three reviews passed."""
    return an_application_in_review(n, world, passed=3)


def seated_applications(count: int = 1) -> World:
    """Candidates 1 to `count`, enrolled, each with a seat in session S1."""
    world = an_open_ledger()
    world.do(schedule())
    for n in range(1, count + 1):
        an_enrolled_application(n, world)
        world.do(seat(n))
    return world


def a_held_session(count: int = 1) -> World:
    """Session S1 is over."""
    world = seated_applications(count)
    world.do(exam.CloseSession(session_id="S1", ended_at=ENDED_AT), at=ENDED_AT)
    return world


def recorded_scores(*pairs: Pair) -> World:
    """Session S1 with these marks, candidate by candidate, not yet verified."""
    world = a_held_session(len(pairs))
    for n, (theory, practical) in enumerate(pairs, 1):
        world.do(score(Subject.THEORY, theory, n), by=EXAMINER)
        world.do(score(Subject.PRACTICAL, practical, n), by=EXAMINER)
    return world


def verified_scores(*pairs: Pair) -> World:
    """As `recorded_scores`, verified by the second person."""
    world = recorded_scores(*pairs)
    for n, (theory, practical) in enumerate(pairs, 1):
        world.do(verify(theory, practical, n), by=VERIFIER)
    return world


def published_results(*pairs: Pair) -> World:
    """The results are published in notice N1 on 2026-09-30."""
    world = verified_scores(*(pairs or (PASSED,)))
    world.do(publish(), at=PUBLISHED_AT)
    return world


def final_results(*pairs: Pair) -> World:
    """Notice N1 is closed."""
    world = published_results(*pairs)
    world.do(close(), at=CLOSED_AT)
    return world


def numbered_certificates(*pairs: Pair) -> World:
    """Every candidate of S1 passed and has both numbers."""
    world = final_results(*pairs)
    for n in range(1, max(len(pairs), 1) + 1):
        world.do(NumberCertificates(application_id=f"A{n}"), by=REGISTRAR, at=ISSUED_AT)
    return world


def issued_certificates(*pairs: Pair) -> World:
    """Every certificate is issued on 2026-10-15."""
    world = numbered_certificates(*pairs)
    for n in range(1, max(len(pairs), 1) + 1):
        world.do(certificates.IssueCertificates(application_id=f"A{n}"), by=REGISTRAR)
    return world


def reported_certificates(*pairs: Pair) -> World:
    """Report R1 contains every national certificate."""
    world = issued_certificates(*pairs)
    world.do(report(ns=range(1, max(len(pairs), 1) + 1)), by=REGISTRAR)
    return world
