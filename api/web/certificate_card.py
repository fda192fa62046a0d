"""A certificate of the registry as the card that pages show: where it stands and how it got there.

A lookup shows what tells whether a certificate is real and counts. The marks are on the page of the
link only, which the holder gave out on purpose.
"""

from __future__ import annotations

import io
from typing import Any

import segno
from markupsafe import Markup

from api.http.negotiation import Language
from api.web.i18n import text
from projections.engine.tables import Row

_REACHED = {
    "issued": 0,
    "reported": 1,
    "rejected": 1,
    "accepted": 2,
    "visible": 2,
}
"""Progress -> how many steps after the issue are done for certain."""


def card(row: Row, language: Language, *, marks: bool = False, link: str | None = None) -> Row:
    """What the card template shows of a row of `web_reading`.

    marks: show the scores. link: address to print as a code.
    """
    reason = row["reason_class"]
    return {
        **row,
        "state": row["standing"].upper(),
        "reason_class": reason,
        "holder_name": row["masked_name"],
        "document_number": row["masked_number"],
        "theory": row["theory"] if marks else None,
        "practical": row["practical"] if marks else None,
        "replaced": row.get("replaced", False),
        "code": code_of(link) if link else None,
        "steps": _steps(row) if row["kind"] == "national" else [],
        "history": [_entry(state, language) for state in row["history"]],
    }


def by_kind(cards: list[Row]) -> dict[str, list[Row]]:
    """Cards in the two sections that are never mixed (一试双证)."""
    return {kind: [c for c in cards if c["kind"] == kind] for kind in ("national", "omc")}


def _steps(row: Row) -> list[Row]:
    """The way upward, step by step: done and when, failed, or not yet."""
    happened = {state["event"]: state["occurred_at"] for state in _since_version(row)}
    reached = _REACHED.get(row["progress"], 0)
    steps = [_step("issued", True, row["issued_on"])]
    for place, name in enumerate(("reported", "accepted"), start=1):
        steps.append(_step(name, reached >= place, happened.get(name)))
    if row["progress"] == "rejected":
        steps[-1] = {"name": "accepted", "mark": "failed", "on": None}
    for scope in ("province", "nation"):
        seen = row[f"seen_{scope}_on"]
        steps.append(_step(scope, seen is not None, seen))
    return steps


def _since_version(row: Row) -> list[Row]:
    """History since the text was last corrected: a corrected certificate goes upward again."""
    last = 0
    for place, state in enumerate(row["history"]):
        if state["event"] == "corrected":
            last = place
    return list(row["history"][last:])


def _step(name: str, done: bool, on: Any) -> Row:
    return {"name": name, "mark": "done" if done else "waiting", "on": on if done else None}


def _entry(state: Row, language: Language) -> Row:
    """One state of the history in words."""
    told = text(language, f"event.{state['event']}", version=state["version"])
    if state["event"] == "revoked" and state["reason_class"]:
        reason = text(language, f"reason.{state['reason_class']}")
        told = text(language, "event.with_reason", event=told, reason=reason)
    return {"text": told, "at": state["occurred_at"], "position": state["position"]}


def code_of(link: str) -> Markup:
    """An address as a QR code: one inline SVG without styles, as the content policy wants it."""
    out = io.BytesIO()
    made = segno.make(link, error="m", micro=False)
    made.save(out, kind="svg", xmldecl=False, svgns=True, omitsize=True, svgclass=None,
              lineclass=None)  # fmt: skip
    return Markup(out.getvalue().decode())  # made of digits by the library
