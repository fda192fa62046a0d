"""Generates commands for the model tests: plausible ones and arbitrary ones.

A generated command is (kind, login, fields) in the vocabulary of the model; `to_command` converts
it to that of the domain. `plausible_commands` lists those that move an application forward;
`arbitrary_command` draws from small pools, so that ids collide, the order of steps is violated and
people act without the right to.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from domain.actors import Actor
from tests.support import actors
from tests.support.model import HOLDING, MATERIAL, PRICE, REQUIRED, SITE, STAGES, passes
from tests.support.model_results import KINDS, Journey

GeneratedCommand = tuple[str, str, dict[str, Any]]
Draw = Callable[[Any], Any]

STAFF = [value for value in vars(actors).values() if isinstance(value, Actor)]
CANDIDATE_AS_STAFF = [
    Actor(subject="candidate-1", role=role, organisation="public")
    for role in ("agency", "examiner", "score_verifier", "finance")
]
PEOPLE: dict[str, Actor] = {
    **{actor.subject: actor for actor in [*STAFF, *map(actors.candidate, (1, 2, 3))]},
    **{f"candidate-1 as {actor.role.value}": actor for actor in CANDIDATE_AS_STAFF},
}
REVIEWERS = dict(zip(STAGES, ("agency-1", "certifier-1", "province-1"), strict=True))

SETTLEMENTS = ("join", "refuse_registration")
PERSONS, OUTSIDERS = ("P1", "P2", "P3"), ("W1",)
APPS = ("A1", "A2", "A3", "A4")
PAYMENTS = ("PAY1", "PAY2", "PAY3", "PAY4", "PAY5")
MARKS = (None, "0", "59.5", "60", "72", "100")
FILE_KINDS = (*sorted(REQUIRED), "skill_certificate", "training_certificate")
SESSIONS, NOTICES, REPORTS = ("S1", "S2"), ("N1", "N2", "N3"), ("R1", "R2", "R3")
WHOLE = sorted(PRICE.items())


def _unused(pool: tuple[str, ...], taken: Any) -> str:
    return next((name for name in pool if name not in taken), pool[-1])


def login_of(model: Journey, a: dict[str, Any]) -> str:
    """The login of an application's person, as PEOPLE names it, also after an erasure."""
    subject: str | None = model.persons[a["person"]]["subject"]
    return (subject or f"candidate-{a['person'][1:]}").partition(" again")[0]


def plausible_commands(model: Journey, app: str, now: datetime) -> list[GeneratedCommand]:
    """The commands that move an application forward from its present state."""
    n = int(app[1:]) % len(PERSONS) + 1
    person, login = f"P{n}", f"candidate-{n}"
    if person not in model.persons:
        named = {"person": person, "document": f"d{n}", "login": True}
        without = named | {"document": "d1", "login": False}
        registered = [("register", "assistant-1", each) for each in (named, named, without)]
        return [*registered, ("register", login, named | {"document": "d1"})]
    settled = [(said, "certifier-1", {"person": person}) for said in SETTLEMENTS]
    contested = model.persons[person]["registration"] == "contested"
    if app not in model.apps:
        fields = {"app": app, "person": person, "level": 4, "eligible": app != "A4"}
        return [("open", login, fields), *(settled if contested else ())]
    a = model.apps[app]
    login = login_of(model, a)
    found = _money(model, a)
    if a["status"] == "eligible":
        payment = _unused(PAYMENTS, [c[1] for c in model.claims if c[0] == "payment"])
        fields = {"app": app, "payment": payment, "txn": f"T-{payment}", "lines": WHOLE}
        return [("pay", "finance-1", fields)]
    if a["status"] in ("paid", "supplement"):
        lacking = sorted((REQUIRED - a["files"].keys()) | a["asked"])
        if not lacking:
            return [("submit", login, {"app": app})]
        return [("hand_in", login, {"app": app, "kind": lacking[0], "file": f"f-{lacking[0]}"})]
    if a["status"] == "in_review":
        stage = STAGES[a["passed"]]
        fields = {"app": app, "stage": stage, "round": a["round"], "missing": []}
        return [
            ("review", REVIEWERS[stage], fields | {"verdict": verdict})
            for verdict in ("pass", "pass", "pass", "return", "reject")
        ] + (settled if contested else [])
    if a["status"] == "enrolled":
        found += _exam(model, a, now) if not a["notices"] else _result(model, a, login)
    return found


def _money(model: Journey, a: dict[str, Any]) -> list[GeneratedCommand]:
    app, found = {"app": a["id"]}, []
    refundable = a["status"] in ("rejected", "withdrawn")
    refunding = {
        (r["payment"], r["component"]) for r in a["refunds"].values() if r["state"] in HOLDING
    }
    for (payment, component), line in a["paid"].items():
        if (line["excess"] or refundable) and (payment, component) not in refunding:
            fields = app | {"payment": payment, "component": component}
            found.append(("order_refund", "finance-1", fields))
    for refund, r in a["refunds"].items():
        ref = app | {"refund": refund}
        said = ref | {"no": r["provider_no"] or f"X-{refund}", "channel": "original"}
        following = {"approved": "accepted", "accepted": "settled", "abnormal": "settled"}
        if r["state"] == "ordered":
            found.append(("approve_refund", "finance-2", ref))
        elif r["state"] in following:
            found.append(("refund_outcome", "finance-2", said | {"outcome": following[r["state"]]}))
    return found


def _exam(model: Journey, a: dict[str, Any], now: datetime) -> list[GeneratedCommand]:
    app = {"app": a["id"]}
    open_sessions = [s for s, session in model.sessions.items() if session["starts"] > now]
    if a["session"] is None:
        if open_sessions:
            return [("seat", "agency-1", app | {"session": open_sessions[0]})]
        session = _unused(SESSIONS, model.sessions)
        starts = now + timedelta(days=2)
        return [("schedule", "certifier-1", {"session": session, "starts": starts, "seats": 2})]
    session = {"session": a["session"]}
    if not model.sessions[a["session"]]["ended"]:
        return [("wait", "", {"days": 3}), ("end_session", "examiner-1", session)]
    missing = [s for s in ("theory", "practical") if s not in a["marks"]]
    if missing:
        fields = session | {"ticket": a["ticket"], "subject": missing[0]}
        return [("score", "examiner-1", fields | {"marks": m}) for m in ("72", "60", "59.5", None)]
    if not a["verified"]:
        return [("verify", "verifier-1", app | a["marks"])]
    notice = _unused(NOTICES, model.notices)
    return [("publish", "registrar-1", session | {"notice": notice, "reason": "r"})]


def _result(model: Journey, a: dict[str, Any], login: str) -> list[GeneratedCommand]:
    app, notice = {"app": a["id"]}, a["notices"][-1]
    n = model.notices[notice]
    if not a["verified"]:
        return [("verify", "verifier-1", app | a["marks"])]
    if a["public"] is None:
        again = _unused(NOTICES, model.notices)
        fields = {"session": a["session"], "notice": again, "reason": None}
        return [
            ("publish", "registrar-1", fields),
            ("close_notice", "registrar-1", {"notice": notice}),
        ]
    if not n["closed"]:
        pending = [o for o, (_, state) in n["objections"].items() if state == "open"]
        if pending:
            fields = {"notice": notice, "objection": pending[0]}
            return [
                ("resolve", "verifier-2", fields | {"outcome": o}) for o in ("dismissed", "upheld")
            ]
        objection = {"notice": notice, "objection": f"O{a['id']}", "person": a["person"]}
        outsider = objection | {"person": OUTSIDERS[0], "objection": f"OW{a['id'][1:]}"}
        named = outsider | {"named": OUTSIDERS[0] not in model.persons}
        return [
            ("object", login, app | objection | {"named": False}),
            ("object", "certifier-1", app | named),
            ("wait", "", {"days": 8}),
            ("close_notice", "registrar-1", {"notice": notice}),
        ]
    if a["id"] in n["withheld"]:
        fields = app | {"subject": "theory", "marks": "72", "objection": None}
        return [("correct", "examiner-2", fields)]
    return _certificates(model, a)


def _certificates(model: Journey, a: dict[str, Any]) -> list[GeneratedCommand]:
    app = {"app": a["id"]}
    number = a["certs"].get("national")
    if not number or model.numbers[number]["because"] == "issued_in_error":
        if not all(map(passes, a["marks"].values())):
            return []
        taken_over = app | {"year": 2026, "serial": int(a["id"][1:]), "site": SITE}
        return [("number", "registrar-1", app), ("import_number", "registrar-1", taken_over)]
    n = model.numbers[number]
    if n["progress"] == "numbered":
        return [("issue", "registrar-1", app)]
    if n["progress"] in ("issued", "rejected"):
        report = _unused(REPORTS, model.reports)
        return [("report", "registrar-1", {"report": report, "apps": [a["id"]]})]
    if n["progress"] == "reported":
        fields = {"report": n["report"], "number": number, "reason": "r"}
        return [("answer", "registrar-1", fields | {"accepted": yes}) for yes in (True, False)]
    change = {"kind": "national", "what": "revoke", "because": "issued_in_error"}
    return [
        *(("see", "registrar-1", app | {"scope": scope}) for scope in ("province", "nation")),
        ("change", "registrar-1", app | change),
        ("change", "registrar-1", app | {"kind": "national", "what": "correct"}),
    ]


POOLS: dict[str, Any] = {
    "person": PERSONS, "document": ("d1", "d2", "d3"), "login": (True, True, False),
    "named": (False, True),
    "app": APPS, "level": (4, 5), "proposal": ("E1", "E2"),
    "eligible": (True, True, False), "payment": PAYMENTS, "txn": ("T1", "T2", "T-PAY1"),
    "lines": (WHOLE, WHOLE, WHOLE[:1], [*WHOLE[:1], *WHOLE[:1]], [(c, 1) for c, _ in WHOLE]),
    "item": (*MATERIAL, "theory_exam"), "file": tuple(f"f-{k}" for k in FILE_KINDS[:3]),
    "stage": STAGES, "verdict": ("pass", "return", "reject"), "round": (1, 1, 2, 3),
    "missing": ([], ["work_history"], ["skill_certificate"]),
    "component": tuple(PRICE), "outcome": ("accepted", "settled", "closed", "abnormal"),
    "no": ("X1", "X-RPAY1-1"), "channel": ("original", "bank_transfer"), "session": SESSIONS,
    "subject": ("theory", "practical"), "marks": MARKS, "theory": MARKS, "practical": MARKS,
    "objection": (None, "OA1", "OA2", "O1"), "notice": NOTICES, "reason": (None, "r"),
    "year": (2025, 2026, 2027), "serial": (1, 2, 17), "site": (SITE, SITE, "S000033000999"),
    "kind": KINDS, "what": ("correct", "reissue", "suspend", "reinstate", "revoke"),
    "because": ("issued_in_error", "exam_fraud"), "report": REPORTS, "accepted": (True, False),
    "scope": ("province", "nation"), "days": (1, 3, 8), "seats": (1, 2),
    "apps": (["A1"], ["A1", "A2"], ["A2", "A2"]),
}  # fmt: skip

FIELDS: dict[str, str] = {
    "register": "person document login", "join": "person", "refuse_registration": "person",
    "propose_erasure": "person proposal", "confirm_erasure": "person proposal",
    "open": "app person level eligible",
    "withdraw": "app", "pay": "app payment txn lines", "use": "app item",
    "hand_in": "app kind file", "submit": "app", "review": "app stage verdict round missing",
    "order_refund": "app payment component", "approve_refund": "app refund",
    "decline_refund": "app refund", "refund_outcome": "app refund outcome no channel",
    "schedule": "session starts seats", "seat": "app session", "end_session": "session",
    "score": "session ticket subject marks", "verify": "app theory practical",
    "correct": "app subject marks objection", "publish": "notice session reason",
    "object": "notice app objection person named", "resolve": "notice objection outcome",
    "close_notice": "notice", "number": "app", "import_number": "app year serial site",
    "issue": "app", "change": "app kind what because", "report": "report apps",
    "answer": "report number accepted reason", "see": "app scope", "wait": "days",
}  # fmt: skip


def arbitrary_command(model: Journey, draw: Draw, now: datetime) -> GeneratedCommand:
    """Any command of any login, from the pools and the ids that exist."""
    kind = draw(sorted(FIELDS))
    known = {
        "refund": [r for a in model.apps.values() for r in a["refunds"]] or ["RPAY1-1"],
        "ticket": [a["ticket"] for a in model.apps.values() if a["ticket"]] or ["S1-01-001"],
        "number": sorted(n for n in model.numbers if n.startswith(SITE)) or [f"{SITE}264000001"],
        "starts": [now + timedelta(days=2)],
    }
    if kind == "hand_in":
        known["kind"] = list(FILE_KINDS)
    elif kind == "resolve":
        known |= {"outcome": ["dismissed", "upheld"], "objection": ["OA1", "OA2", "O1"]}
    elif kind == "object":
        known |= {"objection": ["OA1", "OA2", "O1"], "person": [*PERSONS, *OUTSIDERS]}
    elif kind in ("propose_erasure", "confirm_erasure"):
        known["person"] = [*PERSONS, *OUTSIDERS]
    fields = {name: draw(known.get(name) or POOLS[name]) for name in FIELDS[kind].split()}
    if kind == "change" and fields["what"] != "revoke":
        del fields["because"]
    return kind, draw(sorted(PEOPLE)), fields
