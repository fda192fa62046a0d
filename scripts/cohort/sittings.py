"""One exam session: seats, the exam, scores, the public notice and its objections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from domain.values.primitives import Marks, passes
from domain.values.working_days import NOTICE_WORKING_DAYS, add_working_days
from scripts.cohort.journey import EXAM_OFFICE, EXAMINERS, REGISTRAR, VERIFIER, Case, Cohort
from scripts.cohort.rng import CALENDAR, SeededRandom, at

MarkPair = list[str | None]
"""Marks in theory and practice; None: absent."""

ROOM_SEATS = 24
ADDRESS = "浙江省杭州市余杭区示例路1号(虚构地址)"


@dataclass
class Sitting:
    """A session and its candidates. marks: application id -> theory and practical marks."""

    cohort: Cohort
    id: str
    name: str
    level: int
    day: date
    cases: list[Case]
    marks: dict[str, MarkPair] = field(default_factory=dict)
    ends_on: date | None = None

    def schedule(self, on: date) -> Sitting:
        """Time, place and rooms."""
        rooms = -(-len(self.cases) // ROOM_SEATS)
        self.cohort.tables.add(
            "sessions",
            at(on, 10, 0, self.level),
            EXAM_OFFICE,
            id=self.id,
            name=self.name,
            occupation="4-01-02-07",
            level=self.level,
            place="巨量认证杭州考点",
            address=ADDRESS,
            theory_starts_at=at(self.day, 9, 30),
            practical_starts_at=at(self.day, 13, 30),
            rooms=[{"room": f"{n}01机房", "seats": ROOM_SEATS} for n in range(1, rooms + 1)],
        )
        return self

    def seat(self, on: date) -> Sitting:
        """Assigns a seat to each candidate, in order of enrolment."""
        moment = at(on, 14, 0, self.level)
        self.cases.sort(key=lambda case: case.now)
        for place, case in enumerate(self.cases):
            if case.now >= moment:
                raise ValueError(f"{case.id} is enrolled on {case.now}, after the seats are given")
            room, seat = divmod(place, ROOM_SEATS)
            case.now = moment + timedelta(seconds=7 * place)
            case.ticket = f"{self.id}-{room + 1:02d}-{seat + 1:03d}"
            case.write(
                "seats",
                EXAM_OFFICE,
                session_id=self.id,
                room=f"{room + 1}01机房",
                seat=seat + 1,
            )
        return self

    def sit(self, *scripted: tuple[str | None, str | None], percent: int = 84) -> Sitting:
        """Holds the exam and sets the marks.

        scripted: marks of the first candidates. percent: chance that another one passes.
        """
        rng = self.cohort.rng
        self.cohort.tables.add(
            "sessions_held",
            at(self.day, 15, 20, self.level),
            EXAM_OFFICE,
            session_id=self.id,
            ended_at=at(self.day, 15, 0),
        )
        for place, case in enumerate(self.cases):
            pair = scripted[place] if place < len(scripted) else _draw_marks(rng, percent)
            self.marks[case.id] = list(pair)
        return self

    def record(self, on: date) -> Sitting:
        """Both examiners record their marks, subject by subject."""
        for number, subject in enumerate(("理论", "技能")):
            moment = at(on, 9 + 4 * number, 10, self.level)
            for case in self.cases:
                moment += timedelta(seconds=self.cohort.rng.between(20, 50))
                mark = self.marks[case.id][number]
                fields = {"考试场次": self.id, "准考证号": case.ticket, "科目": subject}
                fields["成绩"] = "缺考" if mark is None else mark
                self.cohort.tables.add("scores", moment, EXAMINERS[number], **fields)
                case.now = moment
        return self

    def verify(self, on: date) -> Sitting:
        """A second person verifies every mark."""
        moment = at(on, 9, 30, self.level)
        for case in self.cases:
            moment += timedelta(seconds=self.cohort.rng.between(30, 70))
            self.verify_one(case, moment)
        return self

    def verify_one(self, case: Case, moment: datetime) -> None:
        theory, practical = (m if m is not None else "缺考" for m in self.marks[case.id])
        case.now = moment
        case.write("verifications", VERIFIER, theory=theory, practical=practical)

    def correct(
        self, case: Case, subject: int, marks: str, reason: str, objection_id: str | None = None
    ) -> None:
        """Corrects a mark. subject: 0 theory, 1 practice."""
        self.marks[case.id][subject] = marks
        case.write(
            "score_corrections",
            EXAMINERS[subject],
            subject=("theory", "practical")[subject],
            marks=marks,
            objection_id=objection_id,
            reason=reason,
        )

    def publish(self, notice_id: str, on: date, late_reason: str | None = None) -> None:
        """Opens the public notice; its last day follows from the calendar."""
        self.ends_on = add_working_days(on, NOTICE_WORKING_DAYS, CALENDAR).date
        self.cohort.tables.add(
            "notices",
            at(on, 16, 0, self.level),
            REGISTRAR,
            id=notice_id,
            session_id=self.id,
            late_reason=late_reason,
        )

    def close(self, notice_id: str) -> date:
        """Closes the notice on the morning after its last day. Returns: the day of closing."""
        if self.ends_on is None:
            raise ValueError(f"notice {notice_id} was not published")
        day = self.ends_on + timedelta(days=1)
        moment = at(day, 9, 0, self.level)
        self.cohort.tables.add("notice_closings", moment, REGISTRAR, notice_id=notice_id)
        return day

    def object(
        self, notice_id: str, case: Case, moment: datetime, text: str, by: Case | None = None
    ) -> str:
        """A candidate objects to a row. Returns: the objection's id."""
        objection_id = f"OB{self.cohort.count('objection'):03d}"
        objector = (by or case).person
        self.cohort.tables.add(
            "objections",
            moment,
            objector.login,
            id=objection_id,
            notice_id=notice_id,
            application_id=case.id,
            objector_id=objector.id,
            text=text,
        )
        return objection_id

    def resolve(
        self, notice_id: str, objection_id: str, moment: datetime, outcome: str, reason: str
    ) -> None:
        """Resolves an objection."""
        self.cohort.tables.add(
            "objection_outcomes",
            moment,
            VERIFIER,
            notice_id=notice_id,
            objection_id=objection_id,
            outcome=outcome,
            reason=reason,
        )

    def passed(self, leaving_out: Sequence[Case] = ()) -> list[Case]:
        """Cases with 60 or more in both subjects."""
        return [c for c in self.cases if c not in leaving_out and _passes(self.marks[c.id])]

    def failed(self) -> list[Case]:
        """Cases that did not pass."""
        return [case for case in self.cases if not _passes(self.marks[case.id])]


def _passes(pair: MarkPair) -> bool:
    return all(mark is not None and passes(Marks(mark)) for mark in pair)


def _draw_marks(rng: SeededRandom, percent: int) -> MarkPair:
    if rng.chance(percent):
        return [_mark(rng, 60, 97), _mark(rng, 60, 96)]
    if rng.chance(12):
        return [None, None]
    return [_mark(rng, 38, 88), _mark(rng, 30, 59)]


def _mark(rng: SeededRandom, low: int, high: int) -> str:
    return f"{rng.between(low, high)}" + (".5" if rng.chance(30) else "")
