"""Brings a new generation of a view up to date and puts it in place; or lets it be compared.

Folding rests for the moment of a swap or a comparison, reading never does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.errors

from domain.events import PersonalDataErased
from projections.engine import generations as schema
from projections.engine.generation_writer import GenerationWriter, move, track
from projections.engine.journal_reader import Vault, read
from projections.engine.view import View, ViewError

CATCH_UP_EVENTS = 2000  # a transaction while catching up
_ATTEMPTS, _PAUSE_SECONDS = 20, 0.25
_ERASURES_SECONDS = 10.0

# Not ledger by ledger: most of them have nothing new.
_BEHIND = """SELECT l.ledger, l.position FROM certledger.ledgers l
LEFT JOIN certledger.tracking t ON t.ledger = l.ledger AND t.view = %s
WHERE l.position > coalesce(t.position, 0)"""

log = logging.getLogger(__name__)


class RebuildRunning(ViewError):
    """Somebody else is making the view anew."""


Vaults = Callable[[str], Vault]
"""Gives a ledger's vault."""


def catch_up(
    connection: Any, vaults: Vaults, target: GenerationWriter, upto: dict[str, int] | None = None
) -> None:
    """Fold what came meanwhile into the new generation.

    upto: ledger -> how far; to each ledger's head as it is found if None.
    """
    name = schema.tracking_name(target.view, target.number)
    with connection.cursor() as cursor:
        cursor.execute(_BEHIND, (name,))
        behind = dict(cursor.fetchall())
    if upto is not None:
        behind = {ledger: upto.get(ledger, 0) for ledger in behind}
    for ledger, bound in behind.items():
        vault = vaults(ledger)
        while _catch_up_once(connection, vault, target, name, ledger, bound):
            pass


def _catch_up_once(
    connection: Any, vault: Vault, target: GenerationWriter, name: str, ledger: str, bound: int
) -> bool:
    """One batch; inside the caller's transaction if there is one. False: nothing to do."""
    with transaction(connection) as cursor:
        after = track(cursor, ledger, [name])[name]
        if after >= bound:
            return False
        entries = read(cursor, ledger, vault, after, CATCH_UP_EVENTS, upto=bound)
        if not entries:
            return False
        target.apply(cursor, ledger, entries, vault.blind_index)
        move(cursor, ledger, name, entries[-1].position)
    return True


def align(connection: Any, vaults: Vaults, target: GenerationWriter) -> None:
    """Bring the new generation to where the live one is; while folding rests."""
    live = live_positions(connection, [target.view])
    upto = {ledger: of[target.view.name] for ledger, of in live.items()}
    catch_up(connection, vaults, target, upto)


def await_erasures(connection: Any, view: View) -> None:
    """Wait until the live view has folded the erasures that happened; for a comparison.

    A destroyed key is seen by whoever reads old events anew, but by the live view only once it
    comes to the erasure. Gives up in time: a paused view may never get there.
    """
    deadline = time.monotonic() + _ERASURES_SECONDS
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM certledger.tracking t JOIN certledger.journal j "
                "ON j.ledger = t.ledger AND j.topic = %s AND j.position > t.position "
                "WHERE t.view = %s)",
                (PersonalDataErased.TOPIC, view.name),
            )
            if not cursor.fetchone()[0]:
                return
        time.sleep(_PAUSE_SECONDS)


def swap(connection: Any, vaults: Vaults, target: GenerationWriter) -> None:
    """Put the new generation in force; again, if a long reading query would not let go."""
    for attempt in range(_ATTEMPTS):
        try:
            with resting(connection, target.view):
                catch_up(connection, vaults, target)
                with connection.cursor() as cursor:
                    schema.swap(cursor, target.view, target.number)
            return
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE_SECONDS)


def drop(connection: Any, view: View, keep: int) -> None:
    """Drop what is not in force; what a reader still holds is dropped by the next rebuild."""
    for _ in range(_ATTEMPTS):
        try:
            with transaction(connection) as cursor:
                schema.drop_others(cursor, view, keep)
            return
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
            time.sleep(_PAUSE_SECONDS)
    log.warning("old tables of %s are still in use; they go with the next rebuild", view.name)


@contextmanager
def transaction(connection: Any) -> Iterator[Any]:
    """A transaction, or part of the one that is open already."""
    with connection.cursor() as cursor:
        if connection.info.transaction_status != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
            yield cursor
            return
        cursor.execute("BEGIN")
        try:
            yield cursor
        except BaseException:
            if not connection.closed:
                cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")


@contextmanager
def resting(connection: Any, view: View) -> Iterator[None]:
    """A transaction during which nobody folds into the view."""
    with transaction(connection) as cursor:
        cursor.execute("SET LOCAL lock_timeout = '30s'")
        schema.lock_exclusive(cursor, view.name)
        # Short: a reader who comes while we wait for a name waits behind us.
        cursor.execute("SET LOCAL lock_timeout = '1s'; SET LOCAL synchronous_commit = on")
        yield


@contextmanager
def sole(connection: Any, views: Sequence[View]) -> Iterator[None]:
    """Only one rebuild of a view at a time; tables that a killed one left behind are dropped.

    Raises: RebuildRunning.
    """
    with connection.cursor() as cursor:
        for view in sorted(views, key=lambda v: v.name):
            cursor.execute(
                "SELECT pg_try_advisory_lock(hashtextextended('certledger rebuild ' || %s, 0))",
                (view.name,),
            )
            if not cursor.fetchone()[0]:
                raise RebuildRunning(f"view {view.name} is being made anew already")
        schema_made = schema.in_force(cursor, [view.name for view in views])
    for view in views:
        if view.name in schema_made:
            drop(connection, view, schema_made[view.name].number)
    try:
        yield
    finally:
        if not connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock_all()")


def live_positions(connection: Any, views: Sequence[View]) -> dict[str, dict[str, int]]:
    """Ledger -> view name -> position, of the live views that have folded anything."""
    found: dict[str, dict[str, int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT ledger, view, position FROM certledger.tracking "
            "WHERE view = ANY(%s) AND position > 0",
            ([view.name for view in views],),
        )
        for ledger, view, position in cursor.fetchall():
            found.setdefault(ledger, {})[view] = position
    return found
