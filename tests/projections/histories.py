"""Random histories that the decisions allow: many commands are tried, the refused ones dropped."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from domain import events as e
from domain.decision import Command
from domain.eligibility.qualifications import Qualifications
from domain.errors import LedgerError
from domain.events import CertificateKind, Component, Item, Provider, Subject
from domain.steps import certificate as c
from domain.steps.authority_report import AnswerReportRow, RecordVisibility
from domain.steps.certificate import IssueCertificates
from domain.steps.exam import CloseSession, RecordScore
from domain.steps.number_allocation import NumberCertificates
from domain.steps.public_notice import ResolveObjection
from tests.support import commands as cmd
from tests.support.actors import (
    ASSISTANT,
    EXAMINER,
    FINANCE,
    FINANCE_2,
    OPERATOR,
    REGISTRAR,
    VERIFIER,
    candidate,
)
from tests.support.journeys import an_open_ledger
from tests.support.refunds import approve, decline, provider_outcome
from tests.support.world import World

SEATS = (e.ExamRoom(room="101", seats=40),)
MARKS = ("0", "45.5", "59.5", "60", "72", "88.5", "100", None)
AFTER_S2 = cmd.when("2026-10-30 10:00")
AFTER_ALL = cmd.when("2026-11-13 10:00")


class Story:
    """A world that random candidates act in."""

    def __init__(self, seed: int, candidates: int) -> None:
        self.random = random.Random(seed)
        self.world = an_open_ledger()
        self.people = range(1, candidates + 1)
        self.refused = 0

    def attempt(
        self, make: Callable[[], Command], by: Any = OPERATOR, at: datetime | None = None
    ) -> bool:
        """Do it if the decisions allow it."""
        try:
            self.world.do(make(), by, at)
        except (LedgerError, KeyError, ValueError):
            # A KeyError or ValueError is of the command's making: nobody is there to be named.
            self.refused += 1
            return False
        return True

    def sometimes(self, chance: float) -> bool:
        return self.random.random() < chance

    def state(self, n: int) -> Any:
        return self.world.candidacy(f"A{n}")

    # --- before the exam -------------------------------------------------------------------------

    def enrol(self, n: int) -> Iterator[None]:
        """Candidate n on the way to 报考成功, with things going wrong."""
        provider = self.random.choice(tuple(Provider))
        yield self.attempt(lambda: cmd.register(n), ASSISTANT)
        provider_outcome = {} if self.sometimes(0.9) else {"qualifications": Qualifications()}
        yield self.attempt(lambda: cmd.apply_for(n, **provider_outcome), candidate(n))
        yield self.attempt(lambda: cmd.pay(n, self.world, provider=provider), FINANCE)
        for kind in cmd.NEEDED:
            yield self.attempt(lambda kind=kind: cmd.hand_in(kind, n), candidate(n))
        for _ in range(2):
            yield self.attempt(lambda: cmd.submit(n), candidate(n))
            for stage, actor in cmd.STAGES:
                verdict = "pass" if self.sometimes(0.85) else self.random.choice(
                    ("return", "reject")
                )  # fmt: skip
                yield self.attempt(lambda s=stage, v=verdict: cmd.give(s, v, n), actor)
        yield self.attempt(lambda: cmd.seat(n))

    def disturb(self, n: int) -> None:
        """An event that may happen at any time."""
        things: tuple[Callable[[], Any], ...] = (
            lambda: self.attempt(lambda: cmd.use(self._item(), n), candidate(n)),
            lambda: self.attempt(lambda: cmd.pay_again(n, provider=Provider.ALIPAY), FINANCE),
            lambda: self.sometimes(0.2) and self.attempt(lambda: cmd.withdraw(n), candidate(n)),
            lambda: self.sometimes(0.3) and self.attempt(lambda: cmd.erase(self.world, n)),
            lambda: self.attempt(lambda: cmd.correct_person(n, name="张伟"), ASSISTANT),
            lambda: self.refund(n),
            lambda: self.refund(n),
            lambda: self.refund(n),
        )
        self.random.choice(things)()

    def _item(self) -> Item:
        return self.random.choice(
            (Item.CAREER_ASSESSMENT, Item.RECORDED_COURSE, Item.MOCK_EXAM, Item.HANDBOOK)
        )

    def refund(self, n: int) -> None:
        """One step of one refund: ordered, decided, or reported by the provider."""
        payment = self.random.choice((f"PAY{n}", f"TWIN{n}"))
        component = self.random.choice(tuple(Component))
        self.attempt(lambda: cmd.order(component, payment, n), FINANCE)
        if self.world.exists(f"application-A{n}"):
            for refund in self.state(n).refunds:
                self._move(refund.refund_no, n)

    def _move(self, number: str, n: int) -> None:
        """The first of a few steps in random order that the refund can take."""
        steps = [lambda: decline(number)] if self.sometimes(0.15) else [lambda: approve(number, n)]
        for outcome in ("accepted", "accepted", "settled", "settled", "abnormal", "closed"):
            steps.append(lambda outcome=outcome: self._recorded(outcome, number, n))
        self.random.shuffle(steps)
        for step in steps:
            if self.attempt(step, FINANCE_2):
                return

    def _recorded(self, outcome: str, number: str, n: int) -> Command:
        channel = self.random.choice(("original", "balance", "bank_transfer"))
        fields = {
            "accepted": {"provider_refund_id": f"503{number}"},
            "settled": {
                "provider_refund_id": f"503{number}",
                "channel": channel,
                "settled_at": self.world.now,
            },
        }
        return provider_outcome(outcome, number, n, **fields.get(outcome, {"reason": "渠道返回"}))

    # --- the exam and the notice -----------------------------------------------------------------

    def examine(self) -> None:
        end = cmd.ENDED_AT
        self.attempt(lambda: CloseSession(session_id="S1", ended_at=end), OPERATOR, end)
        for n in self.people:
            for subject in Subject:
                mark = self.random.choice(MARKS) if self.sometimes(0.4) else "75"
                self.attempt(lambda n=n, s=subject, m=mark: self._score(n, s, m), EXAMINER)
            self.verify(n)

    def _score(self, n: int, subject: Subject, mark: str | None) -> Command:
        return RecordScore(
            session_id="S1",
            ticket_number=self.state(n).ticket_number,
            subject=subject,
            marks=cmd.marks(mark),
        )

    def verify(self, n: int) -> None:
        def command() -> Command:
            state = self.state(n)
            if state.theory is None or state.practical is None:
                raise ValueError("not marked yet")
            marks = [None if s.marks is None else str(s.marks)
                     for s in (state.theory, state.practical)]  # fmt: skip
            return cmd.verify(*marks, n)

        self.attempt(command, VERIFIER)

    def publish(self) -> None:
        self.attempt(lambda: cmd.publish(), OPERATOR, cmd.PUBLISHED_AT)
        for n in self.people:
            if self.sometimes(0.4):
                self.attempt(lambda n=n: cmd.object_to(n), candidate(n))
            if self.sometimes(0.2):
                other = cmd.object_to(n, objection_id=f"OO{n}")
                self.attempt(lambda other=other: other, candidate(n))
        for prefix in ("O", "OO"):
            for n in self.people:
                outcome = self.random.choice(("dismissed", "upheld"))
                self.attempt(
                    lambda p=prefix, n=n, o=outcome: ResolveObjection(
                        notice_id="N1", objection_id=f"{p}{n}", outcome=o, reason="已核对答卷"
                    ),
                    REGISTRAR,
                )
                if self.sometimes(0.3):
                    self.correct(n)
        self.attempt(lambda: cmd.close(), OPERATOR, cmd.CLOSED_AT)
        for n in self.people:
            self.verify(n)
        self.attempt(lambda: cmd.publish("N2"), OPERATOR)
        self.attempt(lambda: cmd.close("N2"), OPERATOR, AFTER_S2)

    def correct(self, n: int) -> None:
        subject, mark = self.random.choice(tuple(Subject)), self.random.choice(MARKS)
        self.attempt(lambda: cmd.correct(subject, mark, n), EXAMINER)

    # --- certificates ----------------------------------------------------------------------------

    def certify(self, n: int) -> Iterator[None]:
        yield self.attempt(lambda: NumberCertificates(application_id=f"A{n}"), REGISTRAR)
        yield self.attempt(lambda: IssueCertificates(application_id=f"A{n}"), REGISTRAR)
        for round_number in (1, 2):
            report_id = f"R{n}-{round_number}"
            yield self.attempt(lambda r=report_id: cmd.report(r, ns=(n,)), REGISTRAR)
            yield self.attempt(lambda r=report_id: self._answer(n, r), REGISTRAR)
            for scope in ("province", "nation"):
                yield self.attempt(
                    lambda s=scope: RecordVisibility(application_id=f"A{n}", scope=s), REGISTRAR
                )
            yield self.restate(n)
            yield self.restate(n)

    def _answer(self, n: int, report_id: str) -> Command:
        return AnswerReportRow(
            report_id=report_id,
            number=cmd.national_number(self.world, n),
            accepted=self.sometimes(0.7),
            reason="证件号码不一致",
        )

    def restate(self, n: int) -> None:
        cls = self.random.choice(
            (
                c.CorrectCertificate,
                c.ReissueCertificate,
                c.SuspendCertificate,
                c.ReinstateCertificate,
                c.RevokeCertificate,
            )
        )
        kind = self.random.choice(tuple(CertificateKind))
        fields: dict[str, Any] = {"application_id": f"A{n}", "kind": kind, "reason": "按规定办理"}
        if cls is c.RevokeCertificate:
            fields["reason_class"] = self.random.choice(tuple(e.RevocationReason))
        self.attempt(lambda: cls(**fields), REGISTRAR)

    def interleave(self, ways: list[Iterator[None]], *, disturbed: bool) -> None:
        """A step of this, a step of that, until every way has ended."""
        while ways:
            way = self.random.choice(ways)
            with suppress(StopIteration):
                next(way)
                if disturbed and self.sometimes(0.35):
                    self.disturb(self.random.choice(self.people))
                continue
            ways.remove(way)


def a_random_history(seed: int, candidates: int = 6) -> World:
    """The same one for the same seed: people come all the way, or do not, or fall out with it."""
    story = Story(seed, candidates)
    story.world.do(cmd.schedule(rooms=SEATS))
    story.interleave([story.enrol(n) for n in story.people], disturbed=True)
    story.examine()
    story.publish()
    story.world.now = max(story.world.now, AFTER_S2)
    story.interleave([story.certify(n) for n in story.people], disturbed=True)
    story.world.now = max(story.world.now, AFTER_ALL)
    for _ in range(4):
        for n in story.people:
            story.refund(n)
            story.disturb(n)
    return story.world
