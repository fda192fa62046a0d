"""The tables of the score board; view.py fills them."""

from projections.engine.tables import Table
from projections.masking import PERSON_COLUMNS

PEOPLE = Table(
    "score_board_people",
    {**PERSON_COLUMNS, "erased": "bool", "position": "bigint"},
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
        "notice_id": "id?",  # of the latest publication of its result
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
        "late_reason": "sealed?",
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
        "corrected": "bool",  # corrects an earlier notice
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
        "reason": "sealed?",
        "filed_at": "time",
        "settled_at": "time?",
        "position": "bigint",
    },
    key=("notice_id", "objection_id"),
)
