"""Expected results of reads: the model and the journal after a position, in the form of answers.

Each function gives what the read of its name has to give; `SHOWN` takes the same out of a JSON
body. Reads of the ledger itself are in LEDGER, reads of views in VIEWS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.consistency.domain_spec import DomainSpec, Expected, Read
from tests.support.model import passes
from tests.support.model_adapter import without_check
from tests.support.model_results import Journey

PAGE = 60
"""Events of a page of the journal."""

# --- the ledger itself ----------------------------------------------------------------------------

GONE = "gone"
"""What is read of a person whose name and document are destroyed."""


def _version(spec: DomainSpec, stream: str, position: int) -> int:
    return sum(event.stream == stream for event in spec.stored.events[:position])


def application(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """(status, version), or None if there is no such application."""
    found = model.apps.get(read.of)
    if found is None:
        return None
    return found["status"], _version(spec, f"application-{read.of}", position)


def person(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """Version, GONE once name and document are destroyed, or None if there is no such person."""
    found = model.persons.get(read.of)
    if found is None:
        return None
    if "identity" in found["destroyed"]:
        return GONE
    return _version(spec, f"person-{read.of}", position)


def history(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """(version, topic) of every fact, or None if there is no such application."""
    stream = f"application-{read.of}"
    found = [e for e in spec.stored.events[:position] if e.stream == stream]
    return [(event.version, event.topic) for event in found] or None


def events(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """(position, leaf hash) of a page's events. The service reads the head before the events."""
    page = spec.stored.events[read.after : min(read.after + PAGE, position)]
    return [(e.position, e.leaf_hash.hex()) for e in page]


LEDGER: dict[str, Expected] = {
    "application": application,
    "person": person,
    "history": history,
    "events": events,
}

# --- views ----------------------------------------------------------------------------------------


def refunds(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """(number, component, state, position of the last step) of an application's refunds."""
    found = model.apps.get(read.of, {"refunds": {}})["refunds"]
    return {
        (number, r["component"], r["state"], _steps(spec, number, position)[-1])
        for number, r in found.items()
    }


def steps(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """Positions of what happened to a refund; None if there is no such refund."""
    return _steps(spec, read.of, position) or None


def _steps(spec: DomainSpec, number: str, position: int) -> list[int]:
    found = spec.stored.events[:position]
    return [event.position for event in found if event.data.get("refund_no") == number]


def totals(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """What was paid by component, fen; and whether everything holds."""
    paid: Counter[str] = Counter()
    for app in model.apps.values():
        for (_, component), proxy in app["paid"].items():
            paid[component] += proxy["fen"]
    return {name: fen for name, fen in paid.items() if fen}, True


def payments(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """(position, fen) of what came in for an application, and that debits equal credits."""
    found = set()
    for event in spec.stored.events[:position]:
        is_paid = event.topic in ("fee_paid.v1", "excess_payment_received.v1")
        if is_paid and event.data["application_id"] == read.of:
            lines = event.data["lines"]
            found |= {(event.position, proxy["amount_fen"]) for proxy in lines}
    return found, True


def rows(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """(application, theory, practical, passed, state) of a notice's rows."""
    notice = model.notices.get(read.of)
    if notice is None:
        return set()
    held = {app for app, state in notice["objections"].values() if state == "open"}
    found = set()
    for app, marks in notice["rows"].items():
        state = "final" if notice["closed"] else "under_objection" if app in held else "published"
        if app in notice["withheld"]:
            state = "withheld"
        found.add((app, *marks, all(map(passes, marks)), state))
    return found


def notices(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """(notice, status) of all notices."""
    return {(name, "closed" if n["closed"] else "open") for name, n in model.notices.items()}


def objections(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """(objection, application, state) of a notice's objections."""
    found = model.notices.get(read.of, {"objections": {}})["objections"]
    return {(name, app, state) for name, (app, state) in found.items()}


def certificates(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """(kind, number, progress, standing, version) of an application's certificates."""
    return {
        (n["kind"], number, n["progress"], n["standing"], n["version"])
        for number, n in model.numbers.items()
        if n["app"] == read.of
    }


def statistics(spec: DomainSpec, model: Journey, read: Read, position: int) -> Any:
    """How many national certificates count."""
    every = [n for n in model.numbers.values() if n["kind"] == "national" and n["version"]]
    return sum(n["standing"] == "valid" for n in every)


VIEWS: dict[str, Expected] = {
    "refunds": refunds,
    "steps": steps,
    "totals": totals,
    "payments": payments,
    "rows": rows,
    "notices": notices,
    "objections": objections,
    "certificates": certificates,
    "statistics": statistics,
}

# --- the same out of an answer --------------------------------------------------------------------


def _in(body: dict[str, Any], *names: str) -> set[tuple[Any, ...]]:
    return {tuple(row[name] for name in names) for row in body["data"]}


def _totals(body: dict[str, Any]) -> Any:
    paid: Counter[str] = Counter()
    for row in body["by_state"]:
        paid[row["component"]] += row["paid_fen"]
    balance = sum(row["balance_fen"] for row in body["trial_balance"])
    return dict(paid), balance == 0 and all(one["holds"] for one in body["invariants"])


def _payments(body: dict[str, Any]) -> Any:
    """Money comes in on a provider's first account."""
    found = {
        (row["position"], row["debit_fen"])
        for row in body["data"]
        if row["account"].startswith("1012.") and row["account"].endswith(".1")
        if row["debit_fen"] and row["refund_no"] is None
    }
    return found, sum(row["debit_fen"] - row["credit_fen"] for row in body["data"]) == 0


def _certificates(body: dict[str, Any]) -> Any:
    found = _in(body, "kind", "number", "progress", "standing", "version")
    return {(kind, without_check(number), *rest) for kind, number, *rest in found}


SHOWN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "application": lambda body: (body["status"], body["version"]),
    "person": lambda body: body["version"],
    "history": lambda body: [(one["version"], one["topic"]) for one in body["data"]],
    "events": lambda body: [(one["position"], one["leaf_hash"]) for one in body["data"]],
    "refunds": lambda body: _in(body, "refund_no", "component", "state", "position"),
    "steps": lambda body: [row["position"] for row in body["steps"]],
    "totals": _totals,
    "payments": _payments,
    "rows": lambda b: _in(b, "application_id", "theory", "practical", "passed", "state"),
    "notices": lambda body: _in(body, "notice_id", "status"),
    "objections": lambda body: _in(body, "objection_id", "application_id", "state"),
    "certificates": _certificates,
    "statistics": lambda body: body["total"],
}
