"""A ledger in the middle of its work, and a generator of concurrent requests on it.

`prepare` brings candidates to states where requests conflict: certificates to number, a running
notice, an exam with too few seats, reviews, fees. `RequestGenerator` draws requests that are mostly
valid and mostly about the same few applications.
"""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.actors import Actor
from domain.service.ledger import Ledger
from tests.consistency.domain_spec import Request
from tests.support.actors import (
    AGENCY,
    ASSISTANT,
    CERTIFIER,
    EXAMINER,
    FINANCE,
    FINANCE_2,
    PROVINCE,
    REGISTRAR,
    REGULATOR,
    VERIFIER,
    VERIFIER_2,
    candidate,
)
from tests.support.commands import name_of, set_up, when
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
    """An actor in the model's terms."""
    return actor.subject, actor.role.value, actor.organisation


# --- the initial state ----------------------------------------------------------------------------


class Preparation:
    """Sends the same commands to a ledger and to the model, one by one."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.model, self.now, self.count = ledger, Journey(), START, 0
        for n, (command, actor) in enumerate(set_up()):
            submit(ledger, command, actor, key=f"setup {n}", at=self.now)

    def do(self, kind: str, actor: Actor, at: datetime | None = None, /, **fields: Any) -> None:
        """Execute a command, at a time or a minute after the last."""
        self.now = at or self.now + timedelta(minutes=1)
        self.count += 1
        command = to_command(self.model, self.now, kind, fields)
        assert self.model.ask(kind, by(actor), self.now, **fields) is None, (kind, fields)
        submit(self.ledger, command, actor, key=f"setup {self.count}", at=self.now)

    def application(self, n: int, upto: str) -> None:
        """Candidate n, up to some step."""
        app, own = f"A{n}", candidate(n)
        self.do("register", ASSISTANT, person=f"P{n}", document=f"d{n}", login=True)
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
    """Bring all candidates to their initial states. Returns: the model of that state."""
    setup = Preparation(ledger)
    for n in (*TO_NUMBER, *ON_NOTICE, *TO_SEAT):
        setup.application(n, "enrolled")
    for n in IN_REVIEW:
        setup.application(n, "review")
    for n in TO_PAY:
        setup.application(n, "pay")
    sessions = (("S1", TO_NUMBER), ("S2", ON_NOTICE))
    for session, ns in sessions:
        setup.now = min(setup.now, when("2026-09-04 12:00"))
        setup.exam(session, ns)
    published = {"notice": "N1", "session": "S1", "reason": None}
    setup.do("publish", REGISTRAR, when("2026-09-30 10:00"), **published)
    setup.do("close_notice", REGISTRAR, when("2026-10-14 09:00"), notice="N1")
    now = datetime.now(UTC)
    setup.do("publish", REGISTRAR, now, notice="N2", session="S2", reason="r")
    starts = now + timedelta(days=30)
    now += timedelta(milliseconds=1)
    setup.do("schedule", CERTIFIER, now, session="S3", starts=starts, seats=SEATS)
    return setup.model


# --- the generator --------------------------------------------------------------------------------


class RequestGenerator:
    """Draws requests that fit an approximate model of the ledger. Thread-safe."""

    def __init__(self, model: Journey, seed: int) -> None:
        """model: of the initial state; the generator changes it."""
        self._guess = model
        self._guess.now = datetime.now(UTC)
        self._guess.today = day_of(self._guess.now)
        self._seed = seed
        self._lock = threading.Lock()
        self._new_candidates = iter(range(20, 1000))

    def apply(self, request: Request) -> None:
        """Apply a recorded request to the approximate model; no check depends on it."""
        with self._lock:
            self._guess.by = request.by
            try:
                getattr(self._guess, request.kind)(**request.fields)
            except Refused:
                return

    def draw(self, rng: random.Random) -> list[Request]:
        """A few requests to send without waiting in between."""
        with self._lock:
            kind = rng.random()
            if kind < 0.15:
                return self._new_candidate(rng, next(self._new_candidates))[: rng.randint(1, 4)]
            if kind < 0.25:
                return self._reopen(rng)
            few = [f"A{n}" for n in BUSY]
            app = rng.choice(few if kind < 0.7 else sorted(self._guess.apps))
            requests = self._about(rng, app)
            return [rng.choice(requests)] if requests else self._person(rng)

    def new_candidate(self) -> list[Request]:
        """Registers, applies, pays."""
        with self._lock:
            return self._new_candidate(random.Random(0), next(self._new_candidates))[:3]

    def known(self, rng: random.Random, what: str) -> str:
        """An id to read."""
        with self._lock:
            apps = self._guess.apps
            if what == "steps":
                every = [r for a in apps.values() for r in a["refunds"]]
                return rng.choice(every or ["RPAY1-1"])
            if what == "person":
                return rng.choice(sorted(self._guess.persons))
            if what in ("rows", "objections"):
                return rng.choice(("N1", "N2", "N2"))
            newest = sorted(apps, key=lambda app: int(app[1:]))
            return rng.choice([*newest[:7], *newest[-5:]])

    # --- requests --------------------------------------------------------------------------------

    def _new_candidate(self, rng: random.Random, n: int) -> list[Request]:
        """Registers, applies, pays: requests that depend on each other."""
        app = f"A{n}"
        whole = {"app": app, "payment": f"PAY{n}", "txn": f"T{n}", "lines": WHOLE}
        opened = {"app": app, "person": f"P{n}", "level": 4, "eligible": rng.random() < 0.9}
        requests = [
            new_request("register", ASSISTANT, person=f"P{n}", document=f"d{n}", login=True),
            new_request("open", candidate(n), **opened),
            new_request("pay", FINANCE, **whole),
            new_request("use", candidate(n), app=app, item=rng.choice(MATERIAL)),
        ]
        return requests

    def _reopen(self, rng: random.Random) -> list[Request]:
        """Withdraws an application and opens the next, which takes the released claim."""
        eligible = [a for a in self._guess.apps.values() if a["status"] in ("eligible", "paid")]
        if not eligible:
            return self._person(rng)
        a = rng.choice(eligible)
        own = candidate(int(a["person"][1:]))
        again = {
            "app": f"A{next(self._new_candidates)}",
            "person": a["person"],
            "level": a["level"],
        }
        return [
            new_request("withdraw", own, app=a["id"]),
            new_request("open", own, **again, eligible=True),
        ]

    def _person(self, rng: random.Random) -> list[Request]:
        """Erases a person, and registers their document again, maybe before the erasure.

        Under another name: an agency that gives name and document of a person gets their id.
        """
        person = rng.choice(sorted(self._guess.persons))
        document = self._guess.persons[person]["document"]
        having = [p for p, of in self._guess.persons.items() if of["document"] == document]
        names = {name_of(int(each[1:])) for each in (person, *having)}
        number = next(n for n in self._new_candidates if name_of(n) not in names)
        again = new_request(
            "register", ASSISTANT, person=f"P{number}", document=document, login=True
        )
        named = {"person": person, "proposal": f"E{next(self._new_candidates)}"}
        return [
            new_request("propose_erasure", REGISTRAR, **named),
            new_request("confirm_erasure", REGULATOR, **named),
            again,
        ][: rng.randint(2, 3)]

    def _about(self, rng: random.Random, app: str) -> list[Request]:
        """Requests that fit the state of one application."""
        a = self._guess.apps[app]
        n, on = int(app[1:]), {"app": app}
        own = candidate(int(a["person"][1:]))
        found: list[Request] = []
        if a["status"] == "eligible":
            payment, txn = f"PAY{rng.choice((n, n, 14))}", f"T{rng.choice((n, n, 14))}"
            found.append(
                new_request("pay", FINANCE, **on, payment=payment, txn=txn, lines=WHOLE),
            )
        if a["status"] in ("eligible", "paid"):
            found.append(new_request("withdraw", own, **on))
            found.append(new_request("use", own, **on, item=rng.choice(MATERIAL)))
        if a["status"] in ("withdrawn", "rejected"):
            for payment, component in a["paid"]:
                fields = on | {"payment": payment, "component": component}
                found += [new_request("order_refund", FINANCE, **fields)] * 2
        if a["status"] == "in_review":
            found += self._review(rng, a)
        if a["status"] == "enrolled":
            found += self._enrolled(rng, a)
        return found + self._refunds(rng, a)

    def _review(self, rng: random.Random, a: dict[str, Any]) -> list[Request]:
        stage = ("initial", "second", "final")[a["passed"]]
        verdict = rng.choice(("pass", "pass", "reject"))
        fields = {"app": a["id"], "stage": stage, "verdict": verdict, "round": 1, "missing": []}
        return [new_request("review", REVIEWERS[stage], **fields)]

    def _refunds(self, rng: random.Random, a: dict[str, Any]) -> list[Request]:
        found = []
        for refund, r in a["refunds"].items():
            on = {"app": a["id"], "refund": refund}
            if r["state"] == "ordered":
                found.append(new_request("approve_refund", FINANCE_2, **on))
                found.append(new_request("decline_refund", FINANCE_2, **on))
            elif r["state"] in HOLDING:
                outcome = rng.choice(("accepted", "settled", "closed", "abnormal"))
                number = r["provider_no"] or f"X-{refund}"
                said = {"outcome": outcome, "no": number, "channel": "original"}
                found.append(new_request("refund_outcome", FINANCE_2, **on, **said))
        return found

    def _enrolled(self, rng: random.Random, a: dict[str, Any]) -> list[Request]:
        app, n = {"app": a["id"]}, int(a["id"][1:])
        if n in ON_NOTICE:
            objection = f"O{rng.randint(1, 12)}"
            fields = {"notice": "N2", "objection": objection}
            about = {**fields, **app, "person": a["person"]}
            outcome = rng.choice(("dismissed", "dismissed", "upheld"))
            return [
                new_request("object", candidate(int(a["person"][1:])), **about),
                new_request("resolve", VERIFIER_2, **fields, outcome=outcome),
            ]
        if a["session"] is None:
            return [new_request("seat", CERTIFIER, **app, session="S3")]
        if n not in TO_NUMBER:
            return []
        if not a["certs"]:
            return [new_request("number", REGISTRAR, **app)]
        what = rng.choice(("correct", "reissue", "suspend", "suspend", "reinstate", "revoke"))
        if what == "revoke" and rng.random() < 0.7:
            what = "reinstate"
        because = {"because": "issued_in_error"} if what == "revoke" else {}
        change = app | {"kind": rng.choice(KINDS), "what": what} | because
        return [
            new_request("issue", REGISTRAR, **app),
            new_request("number", REGISTRAR, **app),
            new_request("change", REGISTRAR, **change),
            new_request("change", REGISTRAR, **change),
        ]


def new_request(kind: str, actor: Actor, /, **fields: Any) -> Request:
    """A request with its command. The sender adds the key."""
    # The commands of these kinds do not depend on the model.
    command = to_command(Journey(), datetime.now(UTC), kind, fields)
    return Request(kind, by(actor), fields, command)


def actor_of(request: Request) -> Actor:
    """The actor of a request."""
    subject, role, organisation = request.by
    return Actor(subject=subject, role=role, organisation=organisation)
