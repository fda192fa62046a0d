"""The public score board: notices, their rows, and what was objected to (成绩公示).

Notices and rows keep every state they were in, so that a page can be shown as it was on a day. A
person's name and number stand only in `score_board_people`, masked with the one fixed mask, so
that a correction or an erasure changes every page at once.

What the public may see: the rows of a notice from the day of publication to its last day
(inclusive, Asia/Shanghai), as long as it is not closed; afterwards only its totals. The people who
work with it see the rows at any time. Queries stand in board_queries.py.
Source: source-document 5.1.
"""

from __future__ import annotations

from typing import Any

from domain import events as e
from projections.engine.rows import RowBuffer
from projections.engine.view import ERASED, Entry, Handles, Row, Table, View, topics
from projections.masking import masks

PEOPLE = Table(
    "score_board_people",
    {
        "person_id": "id",
        "masked_name": "text",
        "masked_number": "text",
        "document_type": "id",
        "erased": "bool",
        "position": "bigint",
    },
    key=("person_id",),
)
SESSIONS = Table(
    "score_board_sessions",
    {
        "session_id": "id",
        "name": "text",
        "place": "text",
        "occupation": "id",
        "level": "int",
        "ended_at": "time?",
        "position": "bigint",
    },
    key=("session_id",),
)
APPLICATIONS = Table(
    "score_board_applications",
    {
        "application_id": "id",
        "occupation": "id",
        "occupation_name": "text",
        "level": "int",
        "job_type": "text?",
        "notice_id": "id?",  # where its result was published last
        "published": "bool",
        "theory": "text?",
        "practical": "text?",
    },
    key=("application_id",),
)
NOTICES = Table(
    "score_board_notices",
    {
        "notice_id": "id",
        "position": "bigint",
        "session_id": "id",
        "kind": "id",  # main, supplementary
        "status": "id",  # open, closed
        "published_on": "day",
        "ends_on": "day",
        "ends_on_is_provisional": "bool",
        "working_days": "int",
        "calendar_edition": "text",
        "deadline_on": "day",
        "late_reason": "text?",
        "final_count": "int?",
        "withheld_count": "int?",
        "occurred_at": "time",
        "recorded_at": "time",
    },
    key=("notice_id",),
    kind="history",
    indexes=("(ledger, session_id, notice_id)",),
)
ROWS = Table(
    "score_board_rows",
    {
        "notice_id": "id",
        "application_id": "id",
        "position": "bigint",
        "person_id": "id",
        "ticket_number": "id",
        "occupation": "id",
        "occupation_name": "text",
        "level": "int",
        "job_type": "text?",
        "theory": "text?",  # null: absent (缺考)
        "practical": "text?",
        "passed": "bool",
        "state": "id",  # published, under_objection, withheld, final
        "corrected": "bool",  # puts right what an earlier notice said
        "superseded": "bool",  # its score was corrected after it was published here
        "occurred_at": "time",
        "recorded_at": "time",
    },
    key=("notice_id", "application_id"),
    kind="history",
    indexes=("(ledger, application_id, position)",),
)
OBJECTIONS = Table(
    "score_board_objections",
    {
        "notice_id": "id",
        "objection_id": "id",
        "application_id": "id",
        "state": "id",  # open, dismissed, upheld
        "reason": "text?",
        "filed_at": "time",
        "settled_at": "time?",
        "position": "bigint",
    },
    key=("notice_id", "objection_id"),
)


def _book_person(rows: RowBuffer, entry: Entry) -> None:
    """PersonRegistered and PersonCorrected: only the masks are kept."""
    masked = masks(entry)
    rows.put(
        PEOPLE,
        {
            "person_id": entry.data["person_id"],
            "masked_name": masked.name,
            "masked_number": masked.number,
            "document_type": entry.data["document_type"],
            "erased": masked.erased,
            "position": entry.position,
        },
    )


def _erased(rows: RowBuffer, entry: Entry) -> None:
    person = rows.need(PEOPLE, entry.data["person_id"])
    gone = {"masked_name": ERASED, "masked_number": ERASED}
    rows.put(PEOPLE, {**person, **gone, "erased": True, "position": entry.position})


def _session(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    named = {name: data[name] for name in ("session_id", "name", "place", "occupation", "level")}
    rows.put(SESSIONS, {**named, "ended_at": None, "position": entry.position})


def _held(rows: RowBuffer, entry: Entry) -> None:
    session = rows.need(SESSIONS, entry.data["session_id"])
    ended = {"ended_at": entry.data["ended_at"], "position": entry.position}
    rows.put(SESSIONS, {**session, **ended})


def _application(rows: RowBuffer, entry: Entry) -> None:
    named = ("application_id", "occupation", "occupation_name", "level", "job_type")
    row = {name: entry.data[name] for name in named}
    unpublished = {"notice_id": None, "published": False, "theory": None, "practical": None}
    rows.put(APPLICATIONS, row | unpublished)


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
    rows.put(NOTICES, row | _stamp(entry))


def _notice(rows: RowBuffer, entry: Entry, **changes: Any) -> None:
    notice = rows.need(NOTICES, entry.data["notice_id"])
    rows.put(NOTICES, {**notice, **changes, **_stamp(entry)})


def _extended(rows: RowBuffer, entry: Entry) -> None:
    changed = ("ends_on", "ends_on_is_provisional", "calendar_edition")
    _notice(rows, entry, **{name: entry.data[name] for name in changed})


def _closed(rows: RowBuffer, entry: Entry) -> None:
    """What was not held becomes final. Source: source-document 5.1."""
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
    rows.put(ROWS, {**row, **changes, **_stamp(entry)})


def _published(rows: RowBuffer, entry: Entry) -> None:
    data = entry.data
    application = rows.need(APPLICATIONS, data["application_id"])
    earlier = application["notice_id"]
    marks = {"theory": data["theory"], "practical": data["practical"]}
    corrected = application["published"] and any(application[n] != marks[n] for n in marks)
    if earlier is not None and earlier != data["notice_id"]:
        _supersede(rows, entry, earlier)
    described = ("application_id", "occupation", "occupation_name", "level", "job_type")
    rows.put(
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
    rows.put(APPLICATIONS, {**application, **marks, "notice_id": data["notice_id"],
                            "published": True})  # fmt: skip


def _score_corrected(rows: RowBuffer, entry: Entry) -> None:
    """The published row is out of date from now on; a supplementary notice will follow."""
    application = rows.need(APPLICATIONS, entry.data["application_id"])
    if application["notice_id"] is not None:
        _supersede(rows, entry, application["notice_id"])


def _supersede(rows: RowBuffer, entry: Entry, notice_id: str) -> None:
    row = rows.need(ROWS, notice_id, entry.data["application_id"])
    if not row["superseded"]:
        _restate(rows, entry, row, superseded=True)


# --- objections ---------------------------------------------------------------------------------


def _objected(rows: RowBuffer, entry: Entry) -> None:
    """The row is held from the moment of the objection. Source: source-document 5.1."""
    data = entry.data
    rows.put(
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
    row = rows.need(ROWS, data["notice_id"], data["application_id"])
    if row["state"] == "published":
        _restate(rows, entry, row, state="under_objection")


def _settle(rows: RowBuffer, entry: Entry, state: str) -> Row:
    objection = rows.need(OBJECTIONS, entry.data["notice_id"], entry.data["objection_id"])
    settled = {
        **objection,
        "state": state,
        "reason": entry.data["reason"],
        "settled_at": entry.occurred_at,
        "position": entry.position,
    }
    rows.put(OBJECTIONS, settled)
    return rows.need(ROWS, entry.data["notice_id"], objection["application_id"])


def _dismissed(rows: RowBuffer, entry: Entry) -> None:
    """The row stands again, unless another objection to it is open or it was taken out."""
    row = _settle(rows, entry, "dismissed")
    others = rows.group(OBJECTIONS, entry.data["notice_id"])
    still_open = any(
        o["state"] == "open" and o["application_id"] == row["application_id"] for o in others
    )
    if row["state"] == "under_objection" and not still_open:
        _restate(rows, entry, row, state="published")


def _upheld(rows: RowBuffer, entry: Entry) -> None:
    """The row leaves this notice for good and waits for its correction."""
    row = _settle(rows, entry, "upheld")
    if row["state"] != "withheld":
        _restate(rows, entry, row, state="withheld")


VIEW = View(
    name="score_board",
    version=1,
    tables=(PEOPLE, SESSIONS, APPLICATIONS, NOTICES, ROWS, OBJECTIONS),
    handles={
        e.PersonRegistered.TOPIC: Handles(_book_person, (PEOPLE,)),
        e.PersonCorrected.TOPIC: Handles(_book_person, (PEOPLE,)),
        e.PersonalDataErased.TOPIC: Handles(_erased, (PEOPLE,)),
        e.ExamSessionScheduled.TOPIC: Handles(_session, (SESSIONS,)),
        e.ExamSessionHeld.TOPIC: Handles(_held, (SESSIONS,)),
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
        e.LedgerOpened,
        e.FeeScheduleSet,
        e.EligibilityConfirmed,
        e.EligibilityRefused,
        e.ApplicationWithdrawn,
        e.FeePaid,
        e.ExcessPaymentReceived,
        e.FeeItemUsed,
        e.DocumentSubmitted,
        e.DocumentsSubmitted,
        e.InitialReviewPassed,
        e.InitialReviewReturned,
        e.InitialReviewRejected,
        e.SecondReviewPassed,
        e.SecondReviewReturned,
        e.SecondReviewRejected,
        e.FinalReviewPassed,
        e.FinalReviewReturned,
        e.FinalReviewRejected,
        e.RefundEntitled,
        e.RefundRefused,
        e.RefundOrdered,
        e.RefundApproved,
        e.RefundDeclined,
        e.RefundAccepted,
        e.RefundSettled,
        e.RefundClosed,
        e.RefundAbnormal,
        e.SeatAssigned,
        e.AdmissionTicketIssued,
        e.TheoryScoreRecorded,
        e.PracticalScoreRecorded,
        e.ScoresVerified,
        e.SerialTaken,
        e.CertificateNumbered,
        e.CertificateIssued,
        e.CertificateReported,
        e.CertificateAccepted,
        e.CertificateRejected,
        e.CertificateVisible,
        e.CertificateCorrected,
        e.CertificateReissued,
        e.CertificateSuspended,
        e.CertificateReinstated,
        e.CertificateRevoked,
        e.ReportFrozen,
    ),
)
