"""Independent model of the whole journey in plain dicts, for comparison with every decision.

Written from the source document and the docstrings, never from the decisions, which it does not
import. `Model.ask(kind, by, now, **fields)` executes a command: it returns None, or the code of
the refusal, and then nothing changed. `refund_lines`, `score_board` and `registry` return the
resulting rows. Ids, marks and names are text, money is fen, days are dates; `by` is (login, role,
organisation).
"""

from __future__ import annotations

import copy
from datetime import date, datetime, timedelta
from typing import Any

PRICE = {"certification_fee": 30_000, "study_material": 18_000}  # 2.1
MATERIAL = ("career_assessment", "recorded_course", "mock_exam", "handbook")  # 2.3
EXAMS = {"theory": "theory_exam", "practical": "practical_exam"}  # 2.2
STAGES = ("initial", "second", "final")  # 3.2(2)
REVIEWER = {"initial": "agency", "second": "certifier", "final": "province"}
REQUIRED = {"identity_proof", "work_history", "photo"}  # 3.1, by 1.2(2)
CLOSED = {"not_eligible", "rejected", "withdrawn"}  # 报考未成功, 2.4(1)
HOLDING = {"ordered", "approved", "accepted", "abnormal", "settled"}
SITE = "S000033000123"

CLASSES = ("identity", "contact", "statements", "remarks", "money", "certificate")
NEEDED = {  # what keeps which classes of a person's data, PIPL art. 47
    "assessment_records": "identity statements remarks",
    "certificates": "identity certificate",
    "accounting_records": "identity money",
    "bank_statements": "money",
    "certificate_in_force": "identity remarks certificate",
    "certificate_due": "identity remarks certificate",
    "unreported_number": "identity remarks certificate",
    "open_refund": "identity contact remarks money",
    "open_notice": "identity contact statements remarks",
    "open_objection": "identity contact remarks",
}
RECORDS_YEARS, VOUCHERS_YEARS, STATEMENTS_YEARS = 5, 30, 10
KINDS = ("national", "omc")

OFF = {date(2026, 9, 25) + timedelta(n) for n in range(3)}  # 中秋
OFF |= {date(2026, 10, 1) + timedelta(n) for n in range(7)}  # 国庆
WORKED = {date(2026, 9, 20), date(2026, 10, 10)}
KNOWN_THROUGH = date(2026, 12, 31)
FIXED = {(1, 1), (5, 1), (5, 2), (10, 1), (10, 2), (10, 3)}


class Refused(Exception):
    """A command that is refused."""


def refuse(code: str, unless: object = False) -> None:
    """Refuse with a code, unless the condition is true."""
    if not unless:
        raise Refused(code)


def day_of(now: datetime) -> date:
    """The calendar day in Shanghai."""
    return (now + timedelta(hours=8)).date()


def works(day: date) -> bool:
    """Whether this is a working day; past the known calendar by fixed holidays only."""
    if day > KNOWN_THROUGH:
        return day.weekday() < 5 and (day.month, day.day) not in FIXED
    return day in WORKED or (day.weekday() < 5 and day not in OFF)


def after_working_days(day: date, count: int) -> date:
    """The last day of a term; the first day is not counted. 5.1."""
    while count:
        day += timedelta(1)
        count -= works(day)
    return day


def month_after(day: date) -> date:
    """The corresponding day of the next month, moved to a working day. 5.1."""
    later = (day.replace(day=1) + timedelta(32)).replace(day=1)
    last = (later + timedelta(32)).replace(day=1) - timedelta(1)
    term = later.replace(day=min(day.day, last.day))
    return term if works(term) else after_working_days(term, 1)


def years_after(day: date, years: int) -> date:
    """The corresponding day of a later year; the last of February for its 29th."""
    if (day.month, day.day) == (2, 29) and (day.year + years) % 4:
        day -= timedelta(1)
    return day.replace(year=day.year + years)


def passes(marks: str | None) -> bool:
    """60 or more; an absence never passes. 4.3(3)."""
    return marks is not None and float(marks) >= 60


class Model:
    """State of one ledger."""

    def __init__(self) -> None:
        self.persons: dict[str, Any] = {}
        self.apps: dict[str, Any] = {}
        self.sessions: dict[str, Any] = {}
        self.notices: dict[str, Any] = {}
        self.series: dict[str, Any] = {}
        self.reports: dict[str, Any] = {}
        self.numbers: dict[str, Any] = {}
        self.claims: set[tuple[str, ...]] = set()
        self.staff: set[str] = set()
        self.gone: set[str] = set()

    def login(self, name: str) -> str:
        """Who a login is: after the erasure of its person somebody else, unless it was staff."""
        while name in self.gone:
            name += " again"
        return name

    def ask(
        self, kind: str, by: tuple[str, str, str], now: datetime, /, **fields: Any
    ) -> str | None:
        """Execute a command. Returns: None, or the code of the refusal."""
        before = copy.deepcopy(self.__dict__)
        self.by, self.now, self.today = (self.login(by[0]), *by[1:]), now, day_of(now)
        try:
            getattr(self, kind)(**fields)
        except Refused as refused:
            self.__dict__ = before
            return str(refused)
        if self.by[1] != "candidate":
            self.staff.add(self.by[0])
        return None

    # --- common checks ---------------------------------------------------------------------------

    def claim(self, *key: str) -> None:
        refuse("claim_taken", key not in self.claims)
        self.claims.add(key)

    def release(self, *key: str) -> None:
        refuse("claim_not_held", key in self.claims)
        self.claims.remove(key)

    def find(self, things: dict[str, Any], key: str) -> Any:
        refuse("not_found", key in things)
        return things[key]

    def own_app(self, app: str) -> dict[str, Any]:
        a = self.find(self.apps, app)
        self.own(a["person"])
        self.agencys(a)
        return a

    def agencys(self, a: dict[str, Any]) -> None:
        """An agency acts on what names it, or no agency before one has reviewed it. 3.2(2)."""
        refuse("not_your_own", self.by[1] != "agency" or self.is_agencys(a))

    def is_agencys(self, a: dict[str, Any]) -> bool:
        reviewed = [house for stage, _, house in a["reviews"] if stage == "initial"]
        named = [a["agency"]] if a["agency"] else reviewed
        return not named or named[0] == self.by[2]

    def concerns(self, person: str) -> None:
        """An agency acts for whom it registered, or of whom it has an application."""
        theirs = [a for a in self.apps.values() if a["person"] == person]
        known = self.persons[person]["agency"] == self.by[2] or any(map(self.is_agencys, theirs))
        refuse("not_your_own", self.by[1] != "agency" or known)

    def own(self, person: str) -> None:
        mine = self.persons[person]["subject"] == self.by[0]
        refuse("not_your_own", self.by[1] != "candidate" or mine)

    def not_own(self, a: dict[str, Any]) -> None:
        refuse("own_application", self.persons[a["person"]]["subject"] != self.by[0])

    def live(self, a: dict[str, Any]) -> tuple[str, ...]:
        return "live", a["person"], str(a["level"])

    # --- persons and applications ----------------------------------------------------------------

    def register(self, person: str, document: str, login: bool) -> None:
        refuse("already_exists", person not in self.persons)
        given = self.login(f"candidate-{person[1:]}") if login else None
        subject = self.by[0] if self.by[1] == "candidate" else given
        holder = self.holder(document)
        if subject is not None:
            self.claim("login", subject)
        self.persons[person] = {
            "subject": subject, "by": self.by[0], "document": document, "erased": False,
            "registration": "contested" if holder else "registered", "holder": holder,
            "proposal": None, "destroyed": set(),
            "agency": self.by[2] if self.by[1] == "agency" else None,
        }  # fmt: skip

    def holder(self, document: str) -> str | None:
        """The person whose document it is. 3.1(1)."""
        for name, p in self.persons.items():
            if p["document"] == document and p["registration"] == "registered" and not p["erased"]:
                return name
        return None

    def registered(self, person: str) -> dict[str, Any]:
        p: dict[str, Any] = self.find(self.persons, person)
        refuse("not_found", p["registration"] != "objector")
        return p

    def contested(self, person: str) -> dict[str, Any]:
        p = self.registered(person)
        self.concerns(person)
        refuse("own_registration", self.by[0] not in (p["subject"], p["by"]))
        refuse("person_erased", not p["erased"])
        refuse("registration_not_contested", p["registration"] == "contested")
        return p

    def join(self, person: str) -> None:
        p = self.contested(person)
        holder = self.persons[p["holder"]]
        refuse("documents_differ", not holder["erased"])
        refuse("registration_in_use", not [c for c in self.claims if c[:2] == ("live", person)])
        if p["subject"] is not None:
            refuse("person_has_login", holder["subject"] is None)
            holder["subject"] = p["subject"]
        p |= {"registration": "joined", "gave": p["subject"], "subject": None}

    def refuse_registration(self, person: str) -> None:
        self.contested(person)["registration"] = "rejected"

    def erasable(self, person: str) -> dict[str, Any]:
        p: dict[str, Any] = self.find(self.persons, person)
        refuse("person_erased", not p["erased"])
        return p

    def not_needed(self, person: str) -> None:
        refuse("person_still_needed", not [c for c in self.claims if c[:2] == ("live", person)])

    def propose_erasure(self, person: str, proposal: str) -> None:
        p = self.erasable(person)
        self.not_needed(person)
        refuse("already_exists", (p["proposal"] or [None])[0] != proposal)
        p["proposal"] = (proposal, self.by[0], self.kept(person))

    def confirm_erasure(self, person: str, proposal: str) -> None:
        p = self.erasable(person)
        found, by, kept = p["proposal"] or (None, None, None)
        refuse("not_found", found == proposal)
        refuse("second_person_needed", by != self.by[0])
        refuse("own_application", p["subject"] != self.by[0])
        self.not_needed(person)
        refuse("findings_changed", kept == self.kept(person))
        p["erased"] = True
        p["destroyed"] = {*CLASSES} - {each for each, _ in kept}
        if p["subject"] is not None:
            self.release("login", p["subject"])
            acting = {self.by[0]} if self.by[1] != "candidate" else set()
            self.gone |= {p["subject"]} - self.staff - acting

    # --- what has to be kept ---------------------------------------------------------------------

    def kept(self, person: str) -> dict[tuple[str, str], date | None]:
        """(class, what keeps it) -> the last day; None: until that has ended."""
        found: dict[tuple[str, str], date | None] = {}

        def keep(because: str, until: date | None, only: str = "") -> None:
            if until is not None and until < self.today:
                return
            for each in NEEDED[because].split():
                if only and each not in only.split():
                    continue
                before = found.get((each, because), until)
                open_end = before is None or until is None
                found[each, because] = None if open_end else max(before, until)

        for a in self.apps.values():
            if a["person"] == person:
                self._keep_procedure(a, keep)
                self._keep_objected_to(a, keep)
                self._keep_money(a, keep)
                self._keep_certificates(a, keep)
        for n in self.notices.values():
            if person in n["objectors"].values():
                self._keep_objection(n, keep)
        return found

    def _keep_objected_to(self, a: dict[str, Any], keep: Any) -> None:
        for n in (self.notices[name] for name in a["notices"]):
            rows = {app for app, _ in n["objections"].values()}
            if a["id"] in rows and not n["closed"]:
                keep("open_objection", None)

    def _keep_objection(self, n: dict[str, Any], keep: Any) -> None:
        if not n["closed"]:
            keep("open_objection", None)
        else:
            until = years_after(n["ends"], RECORDS_YEARS)
            keep("assessment_records", until, "identity remarks")

    def _keep_procedure(self, a: dict[str, Any], keep: Any) -> None:
        failed = a["status"] in CLOSED
        over = a["closed_on"] if failed else self.final_day(a)
        if over is None:
            keep("open_notice", None)
            return
        keep("assessment_records", years_after(over, RECORDS_YEARS))
        last = [self.numbers.get(a["certs"].get(kind, "")) for kind in KINDS]
        due = any(n is None or n["because"] == "issued_in_error" for n in last)
        if not failed and due and all(map(passes, a["marks"].values())):
            keep("certificate_due", None)

    def final_day(self, a: dict[str, Any]) -> date | None:
        """The first day on which the result was final; None if it is not."""
        n = self.notices[a["notices"][-1]] if a["notices"] else None
        if n is None or a["public"] is None or not n["closed"] or a["id"] in n["withheld"]:
            return None
        day: date = n["ends"] + timedelta(1)
        return day

    def _keep_money(self, a: dict[str, Any], keep: Any) -> None:
        settled = {
            (r["payment"], r["component"]) for r in a["refunds"].values() if r["state"] == "settled"
        }
        for (payment, component), line in a["paid"].items():
            used = component == "study_material" and a["used"] & set(MATERIAL)
            owed = line["excess"] or (a["status"] in CLOSED and not used)
            if line["fen"] and owed and (payment, component) not in settled:
                keep("open_refund", None)
        if a["moved"]:
            year = max(a["moved"]).year
            keep("accounting_records", date(year + VOUCHERS_YEARS, 12, 31))
            keep("bank_statements", date(year + STATEMENTS_YEARS, 12, 31))

    def _keep_certificates(self, a: dict[str, Any], keep: Any) -> None:
        for n in (self.numbers[number] for number in a["certs"].values()):
            if n["standing"] == "revoked":
                keep("certificates", n["ended"])
                continue
            if n["version"]:
                keep("certificate_in_force", None)
            reported = n["kind"] == "omc" or n["progress"] in ("accepted", "visible")
            if not n["version"] or not reported:
                keep("unreported_number", None)

    def open(self, app: str, person: str, level: int, eligible: bool) -> None:
        p = self.registered(person)
        refuse("person_erased", not p["erased"])
        self.own(person)
        refuse("not_your_own", self.by[1] != "agency" or p["agency"] == self.by[2])
        refuse("registration_closed", p["registration"] in {"registered", "contested"})
        refuse("already_exists", app not in self.apps)
        a = self.apps[app] = {
            "id": app, "person": person, "level": level, "opener": self.by[0],
            "status": "eligible" if eligible else "not_eligible", "paid": {}, "refunds": {},
            "used": set(), "files": {}, "helpers": set(), "asked": set(), "round": 0,
            "passed": 0, "reviews": [], "session": None, "ticket": None, "marks": {},
            "markers": {}, "verified": False, "notices": [], "public": None, "certs": {},
            "closed_on": None if eligible else self.today, "moved": [],
            "agency": self.by[2] if self.by[1] == "agency" else None,
        }  # fmt: skip
        if eligible:
            self.claim(*self.live(a))

    def withdraw(self, app: str) -> None:
        a = self.own_app(app)
        refuse("application_not_open", a["status"] not in CLOSED | {"enrolled"})
        self.release(*self.live(a))
        a |= {"status": "withdrawn", "closed_on": self.today}

    # --- fees ------------------------------------------------------------------------------------

    def pay(self, app: str, payment: str, txn: str, lines: list[tuple[str, int]]) -> None:
        a = self.find(self.apps, app)
        refuse("already_exists", payment not in {p for p, _ in a["paid"]})
        given = dict(lines)
        refuse("component_missing", len(given) == len(lines))
        owed = a["status"] == "eligible"
        if owed:
            refuse("component_missing", given.keys() == PRICE.keys())
            refuse("wrong_amount", given == PRICE)
            a["status"] = "paid"
        self.claim("txn", txn)
        self.claim("payment", payment)
        a["moved"].append(self.today)
        for component, fen in lines:
            a["paid"][payment, component] = {"fen": fen, "excess": not owed}

    def use(self, app: str, item: str) -> None:
        a = self.own_app(app)
        refuse("used_by_sitting", item in MATERIAL)
        owed = [p for p in a["paid"].values() if not p["excess"]]
        refuse("not_paid", owed and a["status"] not in CLOSED)
        refuse("item_used_up", item not in a["used"])
        a["used"].add(item)

    # --- documents and reviews -------------------------------------------------------------------

    def documents_open(self, app: str) -> dict[str, Any]:
        a = self.own_app(app)
        refuse("payment_first", a["status"] != "eligible")
        refuse("documents_closed", a["status"] in {"paid", "supplement"})
        return a

    def hand_in(self, app: str, kind: str, file: str) -> None:
        a = self.documents_open(app)
        others = {f for k, f in a["files"].items() if k != kind}
        refuse("same_file_twice", file not in others)
        a["files"][kind] = file
        a["helpers"].add(self.by[0])
        a["asked"].discard(kind)

    def submit(self, app: str) -> None:
        a = self.documents_open(app)
        refuse("documents_incomplete", not (REQUIRED - a["files"].keys()) | a["asked"])
        a |= {"status": "in_review", "round": a["round"] + 1, "passed": 0}
        a["helpers"].add(self.by[0])

    def review(self, app: str, stage: str, verdict: str, round: int, missing: list[str]) -> None:
        a = self.find(self.apps, app)
        self.agencys(a)
        refuse("review_out_of_order", a["status"] == "in_review")
        refuse("review_out_of_order", STAGES[a["passed"]] == stage)
        refuse("round_changed", a["round"] == round)
        login, role, organisation = self.by
        refuse("wrong_reviewer", role == REVIEWER[stage])
        p = self.persons[a["person"]]
        refuse("own_application", login not in {p["subject"], p["by"], a["opener"], *a["helpers"]})
        for other, who, house in a["reviews"]:
            same = login == who or organisation == house
            refuse("reviewed_before", other == stage or not same)
        refuse("registration_unsettled", verdict != "pass" or p["registration"] == "registered")
        a["reviews"].append((stage, login, organisation))
        if verdict == "pass":
            a["passed"] += 1
            a["status"] = "enrolled" if a["passed"] == 3 else "in_review"  # 2.4(3)
        elif verdict == "return":
            a |= {"status": "supplement", "asked": set(missing)}
        else:
            a |= {"status": "rejected", "closed_on": self.today}
            self.release(*self.live(a))

    # --- money that goes back --------------------------------------------------------------------

    def order_refund(self, app: str, payment: str, component: str) -> None:
        a = self.own_app(app)
        line = a["paid"].get((payment, component))
        refuse("unknown_fee_line", line)
        of_payment = [r for r in a["refunds"].values() if r["payment"] == payment]
        for r in of_payment:
            refuse("already_refunded", r["component"] != component or r["state"] not in HOLDING)
        refuse("nothing_to_refund", line["fen"] > 0)
        if not line["excess"]:
            used = component == "study_material" and a["used"] & set(MATERIAL)
            if a["status"] == "enrolled" or used:  # 2.4(2), 2.4(1): refused, and recorded so
                return
            refuse("application_still_open", a["status"] in CLOSED)
        number = f"R{payment}-{len(of_payment) + 1}"
        a["refunds"][number] = {
            "payment": payment, "component": component, "fen": line["fen"],
            "state": "ordered", "by": self.by[0], "provider_no": None,
        }  # fmt: skip

    def step(self, app: str, refund: str, allowed: set[str]) -> tuple[dict[str, Any], Any]:
        a = self.find(self.apps, app)
        r = self.find(a["refunds"], refund)
        refuse("refund_out_of_order", r["state"] in allowed)
        return a, r

    def approve_refund(self, app: str, refund: str) -> None:
        a, r = self.step(app, refund, {"ordered"})
        refuse("second_person_needed", r["by"] != self.by[0])
        self.not_own(a)
        r["state"] = "approved"

    def decline_refund(self, app: str, refund: str) -> None:
        _, r = self.step(app, refund, {"ordered"})
        refuse("second_person_needed", r["by"] != self.by[0])
        r["state"] = "declined"

    def refund_outcome(self, app: str, refund: str, outcome: str, no: str, channel: str) -> None:
        before = {
            "accepted": {"approved"}, "settled": {"accepted", "abnormal"},
            "closed": {"approved", "accepted"}, "abnormal": {"accepted"},
        }[outcome]  # fmt: skip
        a, r = self.step(app, refund, before)
        if outcome == "accepted":
            self.claim("provider_refund", "wechat", no)
            r["provider_no"] = no
        elif outcome == "settled" and no != r["provider_no"]:
            refuse("wrong_provider_refund", channel == "bank_transfer")
            self.claim("provider_refund", "bank", no)
        if outcome == "settled":
            a["moved"].append(self.today)
        r["state"] = outcome
