"""The tables of the worklist; view.py fills them."""

from projections.engine.tables import Table

ITEMS = Table(
    "worklist_items",
    {
        "item_id": "id",  # of the thing that needs something done: a notice
        "work": "id",  # what has to be done with it
        "attempt": "int",  # 1, 2, 3 …: grows each time that it has to be done once more
        "due_at": "time?",  # null: nothing to do
        "ends_on": "day?",  # due earlier, once an adopted calendar knows this day
        "position": "bigint",
    },
    key=("item_id", "work"),
    indexes=("(ledger, due_at) WHERE due_at IS NOT NULL",),
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
CALENDARS = Table(
    "worklist_calendars",
    {
        "edition": "id",
        "valid_from": "day",  # the first day on which it counts
        "known_through": "day",
        "position": "bigint",
    },
    key=("edition",),
)
"""The adopted calendars."""
