"""Background workers in processes of their own, in a module that a child can import alone."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from api.worker.background_worker import BackgroundWorker
from api.worker.works import WORKS, Work
from domain.actors import Role
from domain.service.ledger import Ledgers
from domain.steps.exam import SCHEDULE_SESSION
from domain.store.processes.child import Child
from projections.worklist import queries
from projections.worklist.queries import WorkItem
from projections.worklist.view import EXTEND_NOTICE
from tests.support.commands import schedule
from tests.support.ledgers import SECRETS

BATCH = 3
"""Items that are submitted together: so few that a history of work has many commits."""


def _due(cursor: Any, work: str, *given: Any, **named: Any) -> list[WorkItem]:
    return queries.due(cursor, EXTEND_NOTICE, *given, **named)


UNGUARDED = Work(
    "schedule_session",
    replace(SCHEDULE_SESSION, roles=frozenset({Role.SERVICE})),
    lambda item, _: schedule(session=None, name=item.item_id),
    _due,
)
"""A work whose decision refuses no repetition and that never ends: each time that its command is
recorded there is another session, and a notice stays due. Only the idempotency key is in the way.
"""


def work(connection: Connection, dsn: str, name: str) -> None:
    """Do what is due until the parent closes the connection or exits."""
    works = [each for each in (*WORKS, UNGUARDED) if each.name == name]
    ledgers = Ledgers(dsn, SECRETS)
    with BackgroundWorker(dsn, ledgers, works, poll_seconds=0.1, batch=BATCH):
        connection.poll(None)
    ledgers.close()


def working(dsn: str, name: str) -> Child:
    """A new process that does one work."""
    return Child(work, dsn, name)
