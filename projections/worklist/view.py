"""What is due by time alone, folded from the facts, so that there is no table of jobs to lose.

An item is due from `due_at` on. The fact that does it ends it; done by a person or by the service,
that makes no difference. An item that has to be done once more gets the next `attempt`, from which
the idempotency key of its command follows. The queries are in queries.py.
"""

from __future__ import annotations

from datetime import date

from domain import events as e
from domain.values.primitives import format_instant
from domain.values.working_days import closes_at
from projections.engine.rows import RowBuffer
from projections.engine.view import Entry, Handles, View, topics
from projections.worklist.tables import CALENDARS, DONE, ITEMS

EXTEND_NOTICE = "extend_notice"
"""Calculate the provisional end of a public notice again."""

_SERVICE, _PREFIX = "service", "certledger/"
"""Role of the service, and what its subject begins with; the name of the work follows."""


def _due(
    rows: RowBuffer, entry: Entry, item_id: str, work: str, due_at: str, ends_on: str | None = None
) -> None:
    """An item is due from a moment on, for the first time or once more.

    ends_on: a day that no calendar knows yet; due as soon as one does.
    """
    known = rows.get(ITEMS, item_id, work)
    attempt = 1 if known is None else known["attempt"] + 1
    rows.upsert(
        ITEMS,
        {
            "item_id": item_id,
            "work": work,
            "attempt": attempt,
            "due_at": due_at,
            "ends_on": ends_on,
            "position": entry.position,
        },
    )


def _settled(rows: RowBuffer, entry: Entry, item_id: str, work: str) -> None:
    """There is nothing to do any more, if there was."""
    known = rows.get(ITEMS, item_id, work)
    if known is not None and known["due_at"] is not None:
        rows.upsert(ITEMS, {**known, "due_at": None, "position": entry.position})


def _credit(rows: RowBuffer, entry: Entry) -> None:
    """Count what the service did by itself."""
    actor = entry.actor
    if actor["role"] != _SERVICE:
        return
    work = actor["subject"].removeprefix(_PREFIX)
    known = rows.get(DONE, work)
    rows.upsert(
        DONE,
        {
            "work": work,
            "items": 1 if known is None else known["items"] + 1,
            "last_done_at": entry.recorded_at,
            "position": entry.position,
        },
    )


# --- public notices -----------------------------------------------------------------------------


def _end(rows: RowBuffer, entry: Entry) -> None:
    """A notice has an end, perhaps a provisional one.

    A provisional end is replaced when a calendar that knows the day is adopted, and has to be when
    it comes: from then on the notice could neither be closed nor shown.
    Source: source-document 5.1.
    """
    data = entry.data
    if data["ends_on_is_provisional"]:
        due_at = format_instant(closes_at(date.fromisoformat(data["ends_on"])))
        _due(rows, entry, data["notice_id"], EXTEND_NOTICE, due_at, data["ends_on"])
    else:
        _settled(rows, entry, data["notice_id"], EXTEND_NOTICE)


def _extended(rows: RowBuffer, entry: Entry) -> None:
    _end(rows, entry)
    _credit(rows, entry)


def _closed(rows: RowBuffer, entry: Entry) -> None:
    _settled(rows, entry, entry.data["notice_id"], EXTEND_NOTICE)


def _adopted(rows: RowBuffer, entry: Entry) -> None:
    """A calendar may know the end of a notice. Source: source-document 5.1."""
    data = entry.data
    if data["kind"] == "calendar":
        rows.upsert(
            CALENDARS,
            {
                "edition": data["edition"],
                "valid_from": data["valid_from"],
                "known_through": data["content"]["known_through"],
                "position": entry.position,
            },
        )


VIEW = View(
    name="worklist",
    version=2,
    tables=(ITEMS, DONE, CALENDARS),
    handles={
        e.PublicNoticeOpened.TOPIC: Handles(_end),
        e.PublicNoticeExtended.TOPIC: Handles(_extended),
        e.PublicNoticeClosed.TOPIC: Handles(_closed),
        e.EditionAdopted.TOPIC: Handles(_adopted),
    },
    ignores=topics(
        *(*e.LEDGER, e.EditionProposed, *e.PERSON, *e.ELIGIBILITY, *e.APPLICATION),
        *(*e.PAYMENT, *e.DOCUMENT),
        *(*e.REVIEW, *e.REFUND, *e.EXAM_SESSION, *e.SEAT, *e.SCORE),
        *(e.ResultPublished, *e.OBJECTION, e.SerialTaken, *e.CERTIFICATE, e.ReportFrozen),
    ),
)
