"""A ledger in the middle of its work, and people who want something of it all at once.

`prepare` brings candidates to where the crowd meets them: certificates to be numbered, a notice
that is running, an exam with too few seats, reviews, fees. `Crowd` draws wishes that are mostly
sensible and mostly about the same few things, so that they get into each other's way.
"""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.actors import Actor
from domain.service.ledger import Ledger
from domain.values.primitives import Level
from tests.consistency.domain_spec import Wish
from tests.support.actors import (
    AGENCY,
    ASSISTANT,
    CERTIFIER,
    EXAMINER,
    FINANCE,
    FINANCE_2,
    OPERATOR,
    PROVINCE,
    REGISTRAR,
    VERIFIER,
    VERIFIER_2,
    candidate,
)
from tests.support.commands import fees, open_ledger, when
from tests.support.ledgers import submit
from tests.support.model import HOLDING, MATERIAL, PRICE, REQUIRED, Refused, day_of
from tests.support.model_adapter import START, to_command
from tests.support.model_results import KINDS, Journey

WHOLE = sorted(PRICE.items())
REVIEWERS = {"initial": AGENCY, "second": CERTIFIER, "final": PROVINCE}
TO_NUMBER, ON_NOTICE, TO_SEAT = range(1, 5), range(5, 8), range(8, 12)
IN_REVIEW, TO_PAY = range(12, 14), range(14, 15)
BUSY = (*TO_NUMBER, *TO_NUMBER, *ON_NOTICE, *TO_SEAT, *IN_REVIEW)
SEATS = 2


def by(actor: Actor) -> tuple[str, str, str]:
    """An actor in the model's words."""
    return actor.subject, actor.role.value, actor.organisation


# --- before the crowd comes -----------------------------------------------------------------------


class Preparation:
    """Tells a ledger and the model the same things, one by one."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.model, self.now, self.count = ledger, Journey(), START, 0
        for command in (open_ledger(), fees(), fees(level=Level.JUNIOR)):
            submit(ledger, command, OPERATOR, key=f"setup {command!r}", at=self.now)

    def do(self, kind: str, actor: Actor, at: datetime | None = None, /, **fields: Any) -> None:
        """Carry a wish out, a minute after the last or at a time."""
        self.now = at or self.now + timedelta(minutes=1)
        self.count += 1
        command = to_command(self.model, self.now, kind, fields)
        assert self.model.ask(kind, by(actor), self.now, **fields) is None, (kind, fields)
        submit(self.ledger, command, actor, key=f"setup {self.count}", at=self.now)

    def application(self, n: int, upto: str) -> None:
        """Candidate n, up to some step."""
        app, own = f"A{n}", candidate(n)
        self.do("register", ASSISTANT, person=f"P{n}", document=f"d{n}")
        self.do("open", own, app=app, person=f"P{n}", level=4, eligible=True)
        if upto == "pay":
            return
        self.do("pay", FINANCE, app=app, payment=f"PAY{n}", txn=f"T{n}", lines=WHOLE)
        for kind in sorted(REQUIRED):
            self.do("hand_in", own, app=app, kind=kind, file=f"f-{kind}")
        self.do("submit", own, app=app)
        if upto == "review":
            return
        for stage, actor in REVIEWERS.items():
            fields = {"app": app, "stage": stage, "verdict": "pass", "round": 1, "missing": []}
            self.do("review", actor, **fields)

    def exam(self, session: str, ns: range) -> None:
        """An exam on 2026-09-05, which all of them pass."""
        starts, ends = when("2026-09-05 09:00"), when("2026-09-05 20:00")
        self.do("schedule", CERTIFIER, session=session, starts=starts, seats=len(ns))
        for n in ns:
            self.do("seat", AGENCY, app=f"A{n}", session=session)
        self.do("end_session", EXAMINER, max(self.now, ends), session=session)
        for n in ns:
            ticket = self.model.apps[f"A{n}"]["ticket"]
            for subject in ("theory", "practical"):
                fields = {"session": session, "ticket": ticket, "subject": subject, "marks": "72"}
                self.do("score", EXAMINER, **fields)
            self.do("verify", VERIFIER, app=f"A{n}", theory="72", practical="72")


def prepare(ledger: Ledger) -> Journey:
    """Everybody where the crowd meets them; the model as it stands then."""
    told = Preparation(ledger)
    for n in (*TO_NUMBER, *ON_NOTICE, *TO_SEAT):
        told.application(n, "enrolled")
    for n in IN_REVIEW:
        told.application(n, "review")
    for n in TO_PAY:
        told.application(n, "pay")
    sessions = (("S1", TO_NUMBER), ("S2", ON_NOTICE))
    for session, ns in sessions:
        told.now = min(told.now, when("2026-09-04 12:00"))
        told.exam(session, ns)
    published = {"notice": "N1", "session": "S1", "reason": None}
    told.do("publish", REGISTRAR, when("2026-09-30 10:00"), **published)
    told.do("close_notice", REGISTRAR, when("2026-10-14 09:00"), notice="N1")
    now = datetime.now(UTC)
    told.do("publish", REGISTRAR, now, notice="N2", session="S2", reason="r")
    starts = now + timedelta(days=30)
    now += timedelta(milliseconds=1)
    told.do("schedule", CERTIFIER, now, session="S3", starts=starts, seats=SEATS)
    return told.model


# --- the crowd ------------------------------------------------------------------------------------


class Crowd:
    """Draws wishes from a guess of how the ledger stands. Thread-safe."""

    def __init__(self, model: Journey, seed: int) -> None:
        """model: as it stands at first; it is used up."""
        self._guess = model
        self._guess.now = datetime.now(UTC)
        self._guess.today = day_of(self._guess.now)
        self._seed = seed
        self._lock = threading.Lock()
        self._newcomers = iter(range(20, 1000))

    def learn(self, wish: Wish) -> None:
        """This was carried out. The guess may be wrong by then; nothing depends on it."""
        with self._lock:
            self._guess.by = wish.by
            try:
                getattr(self._guess, wish.kind)(**wish.fields)
            except Refused:
                return

    def draw(self, dice: random.Random) -> list[Wish]:
        """A few wishes to be asked for one right after the other."""
        with self._lock:
            kind = dice.random()
            if kind < 0.15:
                return self._newcomer(dice, next(self._newcomers))[: dice.randint(1, 4)]
            if kind < 0.25:
                return self._comes_and_goes(dice)
            few = [f"A{n}" for n in BUSY]
            app = dice.choice(few if kind < 0.7 else sorted(self._guess.apps))
            wishes = self._about(dice, app)
            return [dice.choice(wishes)] if wishes else self._person(dice)

    def newcomer(self) -> list[Wish]:
        """Registers, applies, pays."""
        with self._lock:
            return self._newcomer(random.Random(0), next(self._newcomers))[:3]

    def known(self, dice: random.Random, what: str) -> str:
        """Something to look at."""
        with self._lock:
            apps = self._guess.apps
            if what == "steps":
                every = [r for a in apps.values() for r in a["refunds"]]
                return dice.choice(every or ["RPAY1-1"])
            if what == "person":
                return dice.choice(sorted(self._guess.persons))
            if what in ("rows", "objections"):
                return dice.choice(("N1", "N2", "N2"))
            newest = sorted(apps, key=lambda app: int(app[1:]))
            return dice.choice([*newest[:7], *newest[-5:]])

    # --- wishes ----------------------------------------------------------------------------------

    def _newcomer(self, dice: random.Random, n: int) -> list[Wish]:
        """Registers, applies, pays: three wishes that need each other."""
        app = f"A{n}"
        whole = {"app": app, "payment": f"PAY{n}", "txn": f"T{n}", "lines": WHOLE}
        opened = {"app": app, "person": f"P{n}", "level": 4, "eligible": dice.random() < 0.9}
        wishes = [
            wish_of("register", ASSISTANT, person=f"P{n}", document=f"d{n}"),
            wish_of("open", candidate(n), **opened),
            wish_of("pay", FINANCE, **whole),
            wish_of("use", candidate(n), app=app, item=dice.choice(MATERIAL)),
        ]
        return wishes

    def _comes_and_goes(self, dice: random.Random) -> list[Wish]:
        """Gives one application up and opens the next: what the first held is free again."""
        eligible = [a for a in self._guess.apps.values() if a["status"] in ("eligible", "paid")]
        if not eligible:
            return self._person(dice)
        a = dice.choice(eligible)
        own = candidate(int(a["person"][1:]))
        again = {"app": f"A{next(self._newcomers)}", "person": a["person"], "level": a["level"]}
        return [
            wish_of("withdraw", own, app=a["id"]),
            wish_of("open", own, **again, eligible=True),
        ]

    def _person(self, dice: random.Random) -> list[Wish]:
        """Erases somebody, and registers their document anew, maybe before they are erased."""
        person = dice.choice(sorted(self._guess.persons))
        document = self._guess.persons[person]["document"]
        other = f"P{next(self._newcomers)}"
        again = wish_of("register", ASSISTANT, person=other, document=document)
        return [wish_of("erase", REGISTRAR, person=person), again][: dice.randint(1, 2)]

    def _about(self, dice: random.Random, app: str) -> list[Wish]:
        """What people may want of one application."""
        a = self._guess.apps[app]
        n, on = int(app[1:]), {"app": app}
        own = candidate(int(a["person"][1:]))
        found: list[Wish] = []
        if a["status"] == "eligible":
            payment, txn = f"PAY{dice.choice((n, n, 14))}", f"T{dice.choice((n, n, 14))}"
            found.append(
                wish_of("pay", FINANCE, **on, payment=payment, txn=txn, lines=WHOLE),
            )
        if a["status"] in ("eligible", "paid"):
            found.append(wish_of("withdraw", own, **on))
            found.append(wish_of("use", own, **on, item=dice.choice(MATERIAL)))
        if a["status"] in ("withdrawn", "rejected"):
            for payment, component in a["paid"]:
                fields = on | {"payment": payment, "component": component}
                found += [wish_of("order_refund", FINANCE, **fields)] * 2
        if a["status"] == "in_review":
            found += self._review(dice, a)
        if a["status"] == "enrolled":
            found += self._enrolled(dice, a)
        return found + self._refunds(dice, a)

    def _review(self, dice: random.Random, a: dict[str, Any]) -> list[Wish]:
        stage = ("initial", "second", "final")[a["passed"]]
        verdict = dice.choice(("pass", "pass", "reject"))
        fields = {"app": a["id"], "stage": stage, "verdict": verdict, "round": 1, "missing": []}
        return [wish_of("review", REVIEWERS[stage], **fields)]

    def _refunds(self, dice: random.Random, a: dict[str, Any]) -> list[Wish]:
        found = []
        for refund, r in a["refunds"].items():
            on = {"app": a["id"], "refund": refund}
            if r["state"] == "ordered":
                found.append(wish_of("approve_refund", FINANCE_2, **on))
                found.append(wish_of("decline_refund", FINANCE_2, **on))
            elif r["state"] in HOLDING:
                outcome = dice.choice(("accepted", "settled", "closed", "abnormal"))
                number = r["provider_no"] or f"X-{refund}"
                said = {"outcome": outcome, "no": number, "channel": "original"}
                found.append(wish_of("refund_outcome", FINANCE_2, **on, **said))
        return found

    def _enrolled(self, dice: random.Random, a: dict[str, Any]) -> list[Wish]:
        app, n = {"app": a["id"]}, int(a["id"][1:])
        if n in ON_NOTICE:
            objection = f"O{dice.randint(1, 12)}"
            fields = {"notice": "N2", "objection": objection}
            about = {**fields, **app, "person": a["person"]}
            outcome = dice.choice(("dismissed", "dismissed", "upheld"))
            return [
                wish_of("object", candidate(int(a["person"][1:])), **about),
                wish_of("resolve", VERIFIER_2, **fields, outcome=outcome),
            ]
        if a["session"] is None:
            return [wish_of("seat", CERTIFIER, **app, session="S3")]
        if n not in TO_NUMBER:
            return []
        if not a["certs"]:
            return [wish_of("number", REGISTRAR, **app)]
        what = dice.choice(("correct", "reissue", "suspend", "suspend", "reinstate", "revoke"))
        if what == "revoke" and dice.random() < 0.7:
            what = "reinstate"
        because = {"because": "issued_in_error"} if what == "revoke" else {}
        change = app | {"kind": dice.choice(KINDS), "what": what} | because
        return [
            wish_of("issue", REGISTRAR, **app),
            wish_of("number", REGISTRAR, **app),
            wish_of("change", REGISTRAR, **change),
            wish_of("change", REGISTRAR, **change),
        ]


def wish_of(kind: str, actor: Actor, /, **fields: Any) -> Wish:
    """Somebody's wish, as a command too. A key is given to it by who sends it."""
    # Those that a crowd has need no model to be said as commands.
    command = to_command(Journey(), datetime.now(UTC), kind, fields)
    return Wish(kind, by(actor), fields, command)


def actor_of(wish: Wish) -> Actor:
    """Who has it."""
    subject, role, organisation = wish.by
    return Actor(subject=subject, role=role, organisation=organisation)
