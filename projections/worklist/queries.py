"""Queries of the worklist: what is due, and how much of it there is.

They ask about several ledgers at once, because one process works on many.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from domain.values.primitives import SERVICE_LEDGER
from projections.engine.tables import Row
from projections.engine.view import Cursor, queries, select
from projections.worklist.view import COPY_EDITION

SQL = queries("worklist")


ItemKey = tuple[str, str, datetime]
"""(ledger, item_id, due_at): an item that is due for another reason has another key."""


class WorkItem(NamedTuple):
    """One thing that is due. attempt: 1, 2, 3 …; folded: position that the worklist has reached."""

    ledger: str
    item_id: str
    attempt: int
    due_at: datetime
    folded: int

    @property
    def key(self) -> ItemKey:
        """What tells it from the other items of its work, and from itself when it is due again."""
        return self.ledger, self.item_id, self.due_at


def due(
    cursor: Cursor,
    work: str,
    ledgers: Sequence[str],
    now: datetime,
    *,
    without: Collection[ItemKey] = (),
    limit: int = 100,
) -> list[WorkItem]:
    """What is due of one work, the longest due first. limit: items of each ledger."""
    named = _asked(ledgers, now, without, limit) | {"work": work}
    return [WorkItem(**row) for row in select(cursor, SQL["due"], named)]


def _asked(
    ledgers: Sequence[str], now: datetime, without: Collection[ItemKey], limit: int
) -> dict[str, object]:
    """Arguments of every query for what is due."""
    left_out = list(zip(*without, strict=True)) or [(), (), ()]
    names = ("but_ledgers", "but_items", "but_due")
    but = {name: list(values) for name, values in zip(names, left_out, strict=True)}
    return {"ledgers": list(ledgers), "now": now, "limit": limit} | but


class ErasedFile(NamedTuple):
    """A file to be deleted.

    erased_at, named_at: positions of the facts that destroyed its key, and that name it.
    """

    erased_at: int
    named_at: int


def erased_files(
    cursor: Cursor, ledger: str, after: ErasedFile, limit: int = 100
) -> list[ErasedFile]:
    """The files whose keys an erasure destroyed, in order, after one of them."""
    arguments = {"ledger": ledger, "limit": limit, **after._asdict()}
    return [ErasedFile(**row) for row in select(cursor, SQL["erased_files"], arguments)]


def copies_due(
    cursor: Cursor,
    work: str,
    ledgers: Sequence[str],
    now: datetime,
    *,
    without: Collection[ItemKey] = (),
    limit: int = 100,
) -> list[WorkItem]:
    """The editions of the ledger `service` that others do not have yet, in order of adoption.

    As `due`. item_id: kind and hash of the edition.
    """
    named = _asked(ledgers, now, without, limit) | {"service": SERVICE_LEDGER}
    return [WorkItem(**row) for row in select(cursor, SQL["copies_due"], named)]


def backlog(
    cursor: Cursor, ledgers: Sequence[str], now: datetime, overdue_before: datetime
) -> list[Row]:
    """What is due by ledger and work: due, overdue, oldest_due_at, last_done_at.

    overdue_before: what was due by then is overdue. oldest_due_at, last_done_at: aware, or None.
    """
    arguments = {
        "ledgers": list(ledgers),
        "now": now,
        "overdue_before": overdue_before,
        "service": SERVICE_LEDGER,
        "copying": COPY_EDITION,
    }
    return select(cursor, SQL["backlog"], arguments)
