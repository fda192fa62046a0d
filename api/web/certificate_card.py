"""A certificate as the card that pages show: its standing, its progress and its history.

A lookup shows what is needed to judge whether a certificate is genuine and valid. Only the page of
a link shows the marks: the holder gave that link out on purpose.
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
"""Progress -> number of steps after the issue that are certainly done."""


def card(row: Row, language: Language, *, marks: bool = False, link: str | None = None) -> Row:
    """The values of the card template, from a row of `api.web.queries`.

    marks: show the scores. link: address to print as a QR code.
    """
    return {
        **row,
        "state": row["standing"].upper(),
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
    """The cards of each kind: the two kinds have separate sections (一试双证)."""
    return {kind: [c for c in cards if c["kind"] == kind] for kind in ("national", "omc")}


def _steps(row: Row) -> list[Row]:
    """The steps of the report to province and nation: done (and when), failed, or waiting."""
    happened = {state["event"]: state["occurred_at"] for state in _since_version(row)}
    reached = _REACHED.get(row["progress"], 0)
    steps = [_step("issued", True, row["issued_on"])]
    for place, name in enumerate(("reported", "accepted"), start=1):
        steps.append(_step(name, reached >= place, happened.get(name)))
    if row["progress"] == "rejected":
        steps[-1] = {"name": "accepted", "mark": "failed", "on": None}
    for scope in ("province", "nation"):
        visible_on = row[f"seen_{scope}_on"]
        steps.append(_step(scope, visible_on is not None, visible_on))
    return steps


def _since_version(row: Row) -> list[Row]:
    """The history since the last correction: a corrected certificate is reported again."""
    last = 0
    for place, state in enumerate(row["history"]):
        if state["event"] == "corrected":
            last = place
    return list(row["history"][last:])


def _step(name: str, done: bool, on: Any) -> Row:
    return {"name": name, "mark": "done" if done else "waiting", "on": on if done else None}


def _entry(state: Row, language: Language) -> Row:
    """An entry of the history in words."""
    words = text(language, f"event.{state['event']}", version=state["version"])
    if state["event"] == "revoked" and state["reason_class"]:
        reason = text(language, f"reason.{state['reason_class']}")
        words = text(language, "event.with_reason", event=words, reason=reason)
    return {"text": words, "at": state["occurred_at"], "position": state["position"]}


def code_of(link: str) -> Markup:
    """An address as a QR code: an inline SVG without styles, as the content policy requires."""
    out = io.BytesIO()
    code = segno.make(link, error="m", micro=False)
    code.save(out, kind="svg", xmldecl=False, svgns=True, omitsize=True, svgclass=None,
              lineclass=None)  # fmt: skip
    return Markup(out.getvalue().decode())  # paths and numbers only
