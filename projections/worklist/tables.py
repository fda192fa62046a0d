"""The tables of the worklist; view.py fills them."""

from projections.engine.tables import Table

ITEMS = Table(
    "worklist_items",
    {
        "item_id": "id",  # of the thing that needs something done: a notice
        "work": "id",  # what has to be done with it
        "attempt": "int",  # 1, 2, 3 …: grows each time that it has to be done once more
        "due_at": "time?",  # null: nothing to do
        "position": "bigint",
    },
    key=("item_id", "work"),
    indexes=("(ledger, due_at) WHERE due_at IS NOT NULL",),
)
NOTICES = Table(
    "worklist_notices",
    {
        "kind": "id",  # `notice`, so that all are loaded together when a calendar is adopted
        "notice_id": "id",
        "published_on": "day",
        "working_days": "int",
        "ends_on": "day?",  # its provisional end; null: certain, or closed
        "position": "bigint",
    },
    key=("kind", "notice_id"),
)
CALENDARS = Table(
    "worklist_calendars",
    {
        "kind": "id",  # `calendar`
        "edition": "id",
        "valid_from": "day",
        "content": "text",  # JSON of the holiday table
        "adopted_at": "time",
        "position": "bigint",
    },
    key=("kind", "edition"),
)
ADOPTED = Table(
    "worklist_adopted",
    {
        "sha256": "id",  # of an edition that two persons adopted in this ledger
        "edition_kind": "id",
        "adopted_at": "time",
        "position": "bigint",
    },
    key=("sha256",),
)
COPIED = Table(
    "worklist_copied",
    {
        "sha256": "id",  # of an edition that was copied from the ledger `service`
        "position": "bigint",
    },
    key=("sha256",),
)
ERASED = Table(
    "worklist_erased",
    {
        "person_id": "id",  # erased by two persons; some of their data may be kept
        "position": "bigint",
    },
    key=("person_id",),
)
AWAITED = Table(
    "worklist_awaited",
    {
        "notice_id": "id",  # its end may end what is kept
        "person_id": "id",
        "position": "bigint",
    },
    key=("notice_id", "person_id"),
)
FILES = Table(
    "worklist_files",
    {
        "person_id": "id",
        "sha256": "id",  # of the sealed file
        "data_class": "id",  # of the key that sealed it
        "named_at": "bigint",  # position of the fact that names the file
        "erased_at": "bigint?",  # position of the fact that destroyed the key; null: it is there
        "position": "bigint",
    },
    key=("person_id", "sha256"),
    indexes=("(ledger, erased_at) WHERE erased_at IS NOT NULL",),
)
DONE = Table(
    "worklist_done",
    {
        "work": "id",
        "items": "int",  # how many the service did by itself
        "last_done_at": "time",
        "position": "bigint",
    },
    key=("work",),
)
