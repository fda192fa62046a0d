"""The public score board: notices, their rows, and the objections to them (成绩公示).

Notices and rows keep every state they were in, so that a page can be rendered as of a day. Only
`score_board_people` holds a person's name and number, masked with the one fixed mask, so that a
correction or an erasure changes every page at once.

The public sees the rows of a notice from the day of publication to its last day (inclusive,
Asia/Shanghai), as long as it is not closed; afterwards only its totals. Staff see the rows at any
time. The queries are in queries.py. Source: source-document 5.1.
"""

from __future__ import annotations

from typing import Any

from domain import events as e
from projections.engine.rows import RowBuffer
from projections.engine.tables import Row
from projections.engine.view import Entry, Handles, View, topics
from projections.masking import erased_person, is_identity_gone, masked_person, masks
from projections.score_board.tables import (
    APPLICATIONS,
    NOTICES,
    OBJECTIONS,
    PEOPLE,
    ROWS,
    SESSIONS,
)


def _person(rows: RowBuffer, entry: Entry) -> None:
    """A registration, contested or not, and PersonCorrected: only the masks are stored."""
    rows.upsert(PEOPLE, {**masked_person(entry), "erased": masks(entry).erased})


def _erased(rows: RowBuffer, entry: Entry) -> None:
    """Every fact of an erasure."""
    if not is_identity_gone(entry):
        return
    person = rows.get(PEOPLE, entry.data["person_id"])
    if person is not None:  # an objector who is not registered has no row
        rows.upsert(PEOPLE, {**erased_person(person, entry), "erased": True})


def _session(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    named = {name: data[name] for name in ("session_id", "name", "place", "occupation", "level")}
    rows.upsert(SESSIONS, {**named, "ended_at": None, "position": entry.position})


def _session_ended(rows: RowBuffer, entry: Entry) -> None:
    session = rows.require(SESSIONS, entry.data["session_id"])
    ended = {"ended_at": entry.data["ended_at"], "position": entry.position}
    rows.upsert(SESSIONS, {**session, **ended})


def _application(rows: RowBuffer, entry: Entry) -> None:
    named = ("application_id", "occupation", "occupation_name", "level", "job_type")
    row = {name: entry.data[name] for name in named}
    unpublished = {"notice_id": None, "published": False, "theory": None, "practical": None}
    rows.upsert(APPLICATIONS, row | unpublished)


# --- notices ------------------------------------------------------------------------------------


def _stamp(entry: Entry) -> dict[str, Any]:
    return {
        "position": entry.position,
        "occurred_at": entry.occurred_at,
        "recorded_at": entry.recorded_at,
    }


def _opened(rows: RowBuffer, entry: Entry) -> None:
    """Source: source-document 5.1."""
    data = {name: entry.data[name] for name in entry.data if name != "application_ids"}
    row = {**data, "status": "open", "final_count": None, "withheld_count": None}
    row["late_reason"] = entry.sealed("late_reason")
    rows.upsert(NOTICES, row | _stamp(entry))


def _notice(rows: RowBuffer, entry: Entry, **changes: Any) -> None:
    notice = rows.require(NOTICES, entry.data["notice_id"])
    rows.upsert(NOTICES, {**notice, **changes, **_stamp(entry)})


def _extended(rows: RowBuffer, entry: Entry) -> None:
    changed = ("ends_on", "ends_on_is_provisional", "calendar_edition")
    _notice(rows, entry, **{name: entry.data[name] for name in changed})


def _closed(rows: RowBuffer, entry: Entry) -> None:
    """Rows that are not withheld become final. Source: source-document 5.1."""
    withheld = set(entry.data["withheld"])
    _notice(
        rows,
        entry,
        status="closed",
        final_count=entry.data["final_count"],
        withheld_count=len(withheld),
    )
    for row in rows.group(ROWS, entry.data["notice_id"]):
        state = "withheld" if row["application_id"] in withheld else "final"
        if row["state"] != state:
            _restate(rows, entry, row, state=state)


# --- rows ---------------------------------------------------------------------------------------


def _restate(rows: RowBuffer, entry: Entry, row: Row, **changes: Any) -> None:
    rows.upsert(ROWS, {**row, **changes, **_stamp(entry)})


def _published(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    application = rows.require(APPLICATIONS, data["application_id"])
    earlier = application["notice_id"]
    marks = {"theory": data["theory"], "practical": data["practical"]}
    corrected = application["published"] and any(application[n] != marks[n] for n in marks)
    if earlier is not None and earlier != data["notice_id"]:
        _supersede(rows, entry, earlier)
    described = ("application_id", "occupation", "occupation_name", "level", "job_type")
    rows.upsert(
        ROWS,
        {name: application[name] for name in described}
        | marks
        | {
            "notice_id": data["notice_id"],
            "person_id": data["person_id"],
            "ticket_number": data["ticket_number"],
            "passed": data["passed"],
            "state": "published",
            "corrected": corrected,
            "superseded": False,
        }
        | _stamp(entry),
    )
    rows.upsert(APPLICATIONS, {**application, **marks, "notice_id": data["notice_id"],
                            "published": True})  # fmt: skip


def _score_corrected(rows: RowBuffer, entry: Entry) -> None:
    """The published row is outdated; a supplementary notice follows."""
    application = rows.require(APPLICATIONS, entry.data["application_id"])
    if application["notice_id"] is not None:
        _supersede(rows, entry, application["notice_id"])


def _supersede(rows: RowBuffer, entry: Entry, notice_id: str) -> None:
    row = rows.require(ROWS, notice_id, entry.data["application_id"])
    if not row["superseded"]:
        _restate(rows, entry, row, superseded=True)


# --- objections ---------------------------------------------------------------------------------


def _objected(rows: RowBuffer, entry: Entry) -> None:
    """The row is under objection from this moment. Source: source-document 5.1."""
    data = entry.data
    rows.upsert(
        OBJECTIONS,
        {
            "notice_id": data["notice_id"],
            "objection_id": data["objection_id"],
            "application_id": data["application_id"],
            "state": "open",
            "reason": None,
            "filed_at": entry.occurred_at,
            "settled_at": None,
            "position": entry.position,
        },
    )
    row = rows.require(ROWS, data["notice_id"], data["application_id"])
    if row["state"] == "published":
        _restate(rows, entry, row, state="under_objection")


def _settle(rows: RowBuffer, entry: Entry, state: str) -> Row:
    objection = rows.require(OBJECTIONS, entry.data["notice_id"], entry.data["objection_id"])
    settled = {
        **objection,
        "state": state,
        "reason": entry.sealed("reason"),
        "settled_at": entry.occurred_at,
        "position": entry.position,
    }
    rows.upsert(OBJECTIONS, settled)
    return rows.require(ROWS, entry.data["notice_id"], entry.data["application_id"])


def _dismissed(rows: RowBuffer, entry: Entry) -> None:
    """Publish the row again, unless another objection to it is open or it is withheld."""
    row = _settle(rows, entry, "dismissed")
    others = rows.group(OBJECTIONS, entry.data["notice_id"])
    still_open = any(
        o["state"] == "open" and o["application_id"] == row["application_id"] for o in others
    )
    if row["state"] == "under_objection" and not still_open:
        _restate(rows, entry, row, state="published")


def _upheld(rows: RowBuffer, entry: Entry) -> None:
    """Withhold the row in this notice for good; its correction is published in another."""
    row = _settle(rows, entry, "upheld")
    if row["state"] != "withheld":
        _restate(rows, entry, row, state="withheld")


VIEW = View(
    name="score_board",
    version=3,
    tables=(PEOPLE, SESSIONS, APPLICATIONS, NOTICES, ROWS, OBJECTIONS),
    handles={
        e.PersonRegistered.TOPIC: Handles(_person, (PEOPLE,)),
        e.RegistrationContested.TOPIC: Handles(_person, (PEOPLE,)),
        e.PersonCorrected.TOPIC: Handles(_person, (PEOPLE,)),
        **{fact.TOPIC: Handles(_erased, (PEOPLE,)) for fact in e.ERASURE},
        e.ExamSessionScheduled.TOPIC: Handles(_session, (SESSIONS,)),
        e.ExamSessionHeld.TOPIC: Handles(_session_ended, (SESSIONS,)),
        e.ApplicationOpened.TOPIC: Handles(_application, (APPLICATIONS,)),
        e.PublicNoticeOpened.TOPIC: Handles(_opened, (NOTICES,)),
        e.PublicNoticeExtended.TOPIC: Handles(_extended, (NOTICES,)),
        e.PublicNoticeClosed.TOPIC: Handles(_closed, (NOTICES, ROWS)),
        e.ResultPublished.TOPIC: Handles(_published, (APPLICATIONS, ROWS)),
        e.ScoreCorrected.TOPIC: Handles(_score_corrected, (APPLICATIONS,)),
        e.ObjectionFiled.TOPIC: Handles(_objected, (ROWS, OBJECTIONS)),
        e.ObjectionDismissed.TOPIC: Handles(_dismissed, (ROWS, OBJECTIONS)),
        e.ObjectionUpheld.TOPIC: Handles(_upheld, (ROWS, OBJECTIONS)),
    },
    ignores=topics(
        *(e.ErasureProposed, e.ObjectorNamed),
        *(*e.LEDGER, *e.ACTOR, *e.EDITION, *e.ELIGIBILITY, e.ApplicationWithdrawn),
        *(*e.PAYMENT, *e.DOCUMENT),
        *e.SETTLEMENT,
        *(*e.REVIEW, *e.REFUND, *e.SEAT),
        *(e.TheoryScoreRecorded, e.PracticalScoreRecorded, e.ScoresVerified),
        *(e.SerialTaken, *e.CERTIFICATE, e.ReportFrozen),
    ),
)
