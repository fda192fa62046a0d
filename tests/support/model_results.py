"""Second half of the model: exam, notice, certificates, report to the authority."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from tests.support.model import (
    EXAMS,
    KINDS,
    KNOWN_THROUGH,
    SITE,
    Model,
    after_working_days,
    day_of,
    month_after,
    passes,
    refuse,
)


class Journey(Model):
    """The model of the whole journey."""

    # --- the exam --------------------------------------------------------------------------------

    def schedule(self, session: str, starts: datetime, seats: int) -> None:
        refuse("already_exists", session not in self.sessions)
        self.sessions[session] = {"starts": starts, "seats": seats, "taken": [], "ended": None}

    def seat(self, app: str, session: str) -> None:
        a = self.find(self.apps, app)
        self.agencys(a)
        s = self.find(self.sessions, session)
        refuse("not_enrolled", a["status"] == "enrolled")
        refuse("already_seated", a["session"] is None)
        refuse("wrong_session", a["level"] == 4)
        refuse("session_over", s["starts"] > self.now)
        refuse("session_full", len(s["taken"]) < s["seats"])
        self.claim("sits", session, a["person"])
        s["taken"].append(app)
        a |= {"session": session, "ticket": f"{session}-01-{len(s['taken']):03d}"}

    def end_session(self, session: str) -> None:
        s = self.find(self.sessions, session)
        refuse("already_exists", s["ended"] is None)
        refuse("session_not_held", self.now > s["starts"] + timedelta(hours=4))
        s["ended"] = self.now

    def score(self, session: str, ticket: str, subject: str, marks: str | None) -> None:
        s = self.find(self.sessions, session)
        a = next((self.apps[x] for x in s["taken"] if self.apps[x]["ticket"] == ticket), None)
        refuse("not_found", a)
        refuse("session_not_held", s["ended"])
        refuse("score_already_recorded", subject not in a["marks"])
        self.not_own(a)
        a["marks"][subject], a["markers"][subject] = marks, self.by[0]
        a["used"].add(EXAMS[subject])  # an absence uses it up as well

    def scored(self, app: str) -> dict[str, Any]:
        a = self.find(self.apps, app)
        refuse("score_missing", a["marks"].keys() == EXAMS.keys())
        return a

    def verify(self, app: str, theory: str | None, practical: str | None) -> None:
        a = self.scored(app)
        refuse("already_verified", not a["verified"])
        refuse("second_person_needed", self.by[0] not in a["markers"].values())
        self.not_own(a)
        refuse("score_differs", a["marks"] == {"theory": theory, "practical": practical})
        a["verified"] = True

    def correct(self, app: str, subject: str, marks: str | None, objection: str | None) -> None:
        a = self.scored(app)
        refuse("score_unchanged", a["marks"][subject] != marks)
        numbers = [self.numbers[n] for n in a["certs"].values()]
        refuse("certificate_already_numbered", all(n["standing"] == "revoked" for n in numbers))
        self.not_own(a)
        if objection:
            where = [self.notices[n]["objections"].get(objection) for n in a["notices"]]
            refuse("not_found", (app, "upheld") in where)
        a["marks"][subject], a["markers"][subject] = marks, self.by[0]
        a |= {"verified": False, "public": None}

    # --- the public notice -----------------------------------------------------------------------

    def publish(self, notice: str, session: str, reason: str | None) -> None:
        s = self.find(self.sessions, session)
        refuse("already_exists", notice not in self.notices)
        refuse("session_not_held", s["ended"])
        everybody = [self.apps[x] for x in s["taken"]]
        fresh = [a for a in everybody if not a["notices"]]
        refuse("scores_not_verified", all(a["verified"] for a in fresh))
        rows = fresh or [a for a in everybody if a["verified"] and a["public"] is None]
        refuse("nothing_to_publish", rows)
        late = self.today > month_after(day_of(s["ended"]))
        refuse("notice_too_late", not (fresh and late) or reason)
        ends = after_working_days(self.today, 5)
        self.notices[notice] = {
            "rows": {a["id"]: (a["marks"]["theory"], a["marks"]["practical"]) for a in rows},
            "ends": ends, "provisional": ends > KNOWN_THROUGH, "objections": {}, "objectors": {},
            "withheld": set(), "closed": False,
        }  # fmt: skip
        for a in rows:
            a["notices"].append(notice)
            a["public"] = self.notices[notice]["rows"][a["id"]]

    def over(self, n: dict[str, Any]) -> bool:
        return self.today > n["ends"]

    def object(
        self, notice: str, app: str, objection: str, person: str, named: bool = False
    ) -> None:
        """Any known person, or somebody who gives their name instead. 5.1."""
        n = self.find(self.notices, notice)
        if named:
            self.name_objector(person)
        p = self.find(self.persons, person)
        refuse("not_found", p["registration"] != "objector" or self.may_know_objector(p))
        self.own(person)
        self.concerns(person)
        refuse("person_erased", not p["erased"])
        refuse("notice_closed", not n["closed"])
        refuse("notice_over", n["provisional"] or not self.over(n))
        refuse("row_not_in_notice", app in n["rows"])
        refuse("already_exists", objection not in n["objections"])
        n["objections"][objection] = (app, "open")
        n["objectors"][objection] = person

    def may_know_objector(self, p: dict[str, Any]) -> bool:
        """Who is not registered is known to the certifier and to the agency that named them."""
        role, house = self.by[1:]
        return role == "certifier" or (role == "agency" and p["agency"] == house)

    def name_objector(self, person: str) -> None:
        refuse("not_your_own", self.by[1] != "candidate")
        refuse("already_exists", person not in self.persons)
        self.persons[person] = {
            "subject": None, "by": self.by[0], "document": None, "erased": False,
            "registration": "objector", "holder": None, "proposal": None, "destroyed": set(),
            "agency": self.by[2] if self.by[1] == "agency" else None,
        }  # fmt: skip

    def resolve(self, notice: str, objection: str, outcome: str) -> None:
        n = self.find(self.notices, notice)
        refuse("notice_closed", not n["closed"])
        app, state = n["objections"].get(objection, (None, None))
        refuse("not_found", state == "open")
        self.not_own(self.apps[app])
        refuse("own_application", self.persons[n["objectors"][objection]]["subject"] != self.by[0])
        n["objections"][objection] = (app, outcome)
        if outcome == "upheld":
            n["withheld"].add(app)

    def close_notice(self, notice: str) -> None:
        n = self.find(self.notices, notice)
        refuse("notice_closed", not n["closed"])
        refuse("notice_end_provisional", not n["provisional"])
        refuse("notice_running", self.over(n))
        refuse("objections_open", "open" not in {state for _, state in n["objections"].values()})
        n["closed"] = True
        for app in n["rows"]:
            a = self.apps[app]
            if a["notices"][-1] != notice or a["public"] is None:
                n["withheld"].add(app)
            if app not in n["withheld"] and not self.final_in(app, a["notices"][:-1]):
                self.release(*self.live(a))

    def final_in(self, app: str, notices: list[str]) -> bool:
        every = [self.notices[n] for n in notices]
        return any(n["closed"] and app not in n["withheld"] for n in every)

    # --- certificates ----------------------------------------------------------------------------

    def final_from(self, a: dict[str, Any]) -> date:
        final = a["public"] is not None and self.final_in(a["id"], a["notices"][-1:])
        refuse("result_not_final", final)
        return self.notices[a["notices"][-1]]["ends"] + timedelta(1)

    def due(self, app: str) -> tuple[dict[str, Any], list[str], int]:
        a = self.find(self.apps, app)
        first = self.final_from(a)
        refuse("not_passed", all(passes(m) for m in a["marks"].values()))
        last = {kind: self.numbers.get(a["certs"].get(kind, "")) for kind in KINDS}
        error = "issued_in_error"
        return a, [k for k in KINDS if not last[k] or last[k]["because"] == error], first.year

    def take(self, a: dict[str, Any], kind: str, year: int, source: str, serial: int = 0) -> None:
        key = f"{kind}-{year}-{a['level']}"
        s = self.series.get(key, {"last": 0, "source": source})
        refuse("series_is_handed_out", s["source"] == source)
        serial = serial or s["last"] + 1
        number = f"{SITE}{year % 100}{a['level']}{serial:06d}"
        if kind == "omc":
            number = f"OMC-{year}-{a['level']}-{serial:07d}"
        self.claim("number", number)
        self.series[key] = {"last": max(serial, s["last"]), "source": source}
        a["certs"][kind] = number
        self.numbers[number] = {
            "app": a["id"], "kind": kind, "year": year, "progress": "numbered",
            "standing": "valid", "because": None, "version": 0, "issued": None,
            "report": None, "seen": [], "ended": None,
        }  # fmt: skip

    def number(self, app: str) -> None:
        a, kinds, _ = self.due(app)
        refuse("numbered_already", kinds)
        for kind in kinds:
            self.take(a, kind, self.today.year, "allocated")

    def import_number(self, app: str, year: int, serial: int, site: str = SITE) -> None:
        a, kinds, earliest = self.due(app)
        refuse("numbered_already", "national" in kinds)
        refuse("foreign_number", site == SITE)
        refuse("year_impossible", earliest <= year <= self.today.year)
        self.take(a, "national", year, "imported", serial)
        if "omc" in kinds:
            self.take(a, "omc", year, "allocated")

    def not_destroyed(self, person: str) -> None:
        """Name and document are needed."""
        refuse("person_erased", "identity" not in self.persons[person]["destroyed"])

    def issue(self, app: str) -> None:
        a = self.find(self.apps, app)
        numbers = [self.numbers[n] for n in a["certs"].values()]
        due = [n for n in numbers if (n["progress"], n["standing"]) == ("numbered", "valid")]
        refuse("certificate_out_of_order", due)
        self.not_destroyed(a["person"])
        refuse("year_differs", all(n["year"] == self.today.year for n in due))
        for n in due:
            n |= {"progress": "issued", "version": 1, "issued": self.today}

    def change(self, app: str, kind: str, what: str, because: str | None = None) -> None:
        """Correct, reissue, suspend, reinstate or revoke a certificate."""
        a = self.find(self.apps, app)
        n = self.find(self.numbers, a["certs"].get(kind, ""))
        counts = {"reissue": {"valid"}, "suspend": {"valid"}, "reinstate": {"suspended"}}
        allowed = counts.get(what, {"valid", "suspended"})
        refuse("certificate_out_of_order", n["standing"] in allowed)
        refuse("certificate_out_of_order", n["version"] or what == "revoke")
        if what in ("correct", "reissue"):
            self.not_destroyed(a["person"])
        if what in ("correct", "reissue"):
            n["version"] += 1
        if what == "correct":
            n |= {"progress": "issued", "seen": []}
        n["because"] = because
        n["ended"] = self.today if what == "revoke" else None
        after = {"suspend": "suspended", "reinstate": "valid", "revoke": "revoked"}
        n["standing"] = after.get(what, n["standing"])

    # --- the report to the authority -------------------------------------------------------------

    def national(self, app: str) -> dict[str, Any]:
        a = self.find(self.apps, app)
        return self.find(self.numbers, a["certs"].get("national", ""))

    def report(self, report: str, apps: list[str]) -> None:
        refuse("already_exists", report not in self.reports)
        for place, app in enumerate(apps):
            refuse("row_twice", app not in apps[:place])
            n = self.national(app)
            ready = n["progress"] in ("issued", "rejected") and n["standing"] == "valid"
            refuse("certificate_out_of_order", ready)
            self.not_destroyed(self.apps[app]["person"])
        for app in apps:
            self.national(app).update(progress="reported", report=report)
        self.reports[report] = {self.apps[app]["certs"]["national"]: app for app in apps}

    def answer(self, report: str, number: str, accepted: bool, reason: str | None) -> None:
        app = self.find(self.find(self.reports, report), number)
        n = self.national(app)
        waits = n["progress"] == "reported" and n["report"] == report
        refuse("wrong_report", waits and self.apps[app]["certs"]["national"] == number)
        refuse("rejection_needs_reason", accepted or reason)
        n["progress"] = "accepted" if accepted else "rejected"

    def see(self, app: str, scope: str) -> None:
        n = self.national(app)
        refuse("certificate_out_of_order", n["progress"] in ("accepted", "visible"))
        refuse("seen_already", scope not in n["seen"])
        n["seen"].append(scope)
        n["progress"] = "visible"

    # --- resulting rows ---------------------------------------------------------------------------

    def refund_lines(self) -> set[tuple[Any, ...]]:
        """(application, payment, component, fen, excess, refunds as (number, state))."""
        return {
            (a["id"], payment, component, line["fen"], line["excess"],
             tuple((no, r["state"]) for no, r in a["refunds"].items()
                   if (r["payment"], r["component"]) == (payment, component)))
            for a in self.apps.values() for (payment, component), line in a["paid"].items()
        }  # fmt: skip

    def score_board(self) -> set[tuple[Any, ...]]:
        """(notice, application, theory, practical, passed, withheld, notice closed)."""
        return {
            (name, app, *marks, all(map(passes, marks)), app in n["withheld"], n["closed"])
            for name, n in self.notices.items() for app, marks in n["rows"].items()
        }  # fmt: skip

    def registry(self) -> set[tuple[Any, ...]]:
        """(number, application, kind, progress, standing, version); OMC without its check."""
        return {
            (number, n["app"], n["kind"], n["progress"], n["standing"], n["version"])
            for number, n in self.numbers.items()
        }
