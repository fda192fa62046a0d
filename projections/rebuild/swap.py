"""Brings a new generation of a view up to date and swaps it in, or holds it for a comparison.

Folding pauses for the moment of a swap or a comparison; reading never does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg2
import psycopg2.errors

from domain.events import ERASURE
from domain.store.postgres.connection import Connection, Cursor
from projections.engine import generations
from projections.engine.generation_writer import GenerationWriter, lock_positions, set_position
from projections.engine.journal_reader import FieldOpener, read
from projections.engine.progress_seals import check_stored
from projections.engine.view import View, ViewError

CATCH_UP_EVENTS = 2000  # in a transaction while catching up
_ATTEMPTS, _PAUSE_SECONDS = 20, 0.25
_ERASURES_SECONDS = 10.0

# One query for all ledgers: most of them have nothing new.
_BEHIND = """SELECT l.ledger, l.position FROM certledger.ledgers l
LEFT JOIN certledger.tracking t ON t.ledger = l.ledger AND t.view = %s
WHERE l.position > coalesce(t.position, 0)"""

_LOCK = "hashtextextended('certledger rebuild ' || %s, 0)"

_AWAITED = """SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
    AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"""

log = logging.getLogger(__name__)


class RebuildRunning(ViewError):
    """Another process is rebuilding the view."""


Vaults = Callable[[str], FieldOpener]
"""Returns a ledger's vault."""


def catch_up(
    connection: Connection,
    vaults: Vaults,
    target: GenerationWriter,
    upto: dict[str, int] | None = None,
) -> None:
    """Fold the events that came meanwhile into the new generation.

    upto: ledger -> position; None folds up to each ledger's current head.
    """
    name = generations.tracking_name(target.view, target.number)
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
    connection: Connection,
    vault: FieldOpener,
    target: GenerationWriter,
    name: str,
    ledger: str,
    bound: int,
) -> bool:
    """Fold one batch, inside the caller's transaction if there is one. False: nothing to do.

    Raises: ViewWrong if somebody moved the progress of the new tables.
    """
    with transaction(connection) as cursor:
        after = lock_positions(cursor, ledger, [name])[name]
        ours = target.view.name, target.number
        check_stored(cursor, target.row_keys, ledger, *ours, name)
        if after >= bound:
            return False
        entries = read(cursor, vault, after, CATCH_UP_EVENTS, upto=bound)
        if not entries:
            return False
        target.apply(cursor, ledger, entries, vault)
        set_position(cursor, ledger, name, target, entries[-1])
    return True


def match_live(connection: Connection, vaults: Vaults, target: GenerationWriter) -> None:
    """Bring the new generation to the position of the live one, while folding is paused."""
    live = live_positions(connection, [target.view])
    upto = {ledger: of[target.view.name] for ledger, of in live.items()}
    catch_up(connection, vaults, target, upto)


def await_erasures(connection: Connection, view: View) -> None:
    """Wait until the live view has folded every recorded erasure, before a comparison.

    A rebuild finds the key destroyed when it reads the old events; the live view erases the person
    only when it folds the erasure. Gives up after 10 s: a paused view may never get there.
    """
    deadline = time.monotonic() + _ERASURES_SECONDS
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM certledger.tracking t JOIN certledger.journal j "
                "ON j.ledger = t.ledger AND j.topic = ANY(%s) AND j.position > t.position "
                "WHERE t.view = %s)",
                ([fact.TOPIC for fact in ERASURE], view.name),
            )
            if cursor.fetchone() == (False,):
                return
        time.sleep(_PAUSE_SECONDS)


def swap(connection: Connection, vaults: Vaults, target: GenerationWriter) -> None:
    """Make the new generation current; retried while a long query of a reader blocks it."""
    for attempt in range(_ATTEMPTS):
        try:
            with folding_paused(connection, target.view):
                catch_up(connection, vaults, target)
                with connection.cursor() as cursor:
                    epoch = None if target.epoch is None else target.epoch.name.number
                    generations.swap(cursor, target.view, target.number, epoch)
            return
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE_SECONDS)


def drop_others(connection: Connection, view: View, keep: int) -> None:
    """Drop the other generations; the next rebuild drops those that a reader still uses."""
    for _ in range(_ATTEMPTS):
        try:
            with transaction(connection) as cursor:
                generations.drop_others(cursor, view, keep)
            return
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
            time.sleep(_PAUSE_SECONDS)
    log.warning("old tables of %s are still in use; the next rebuild drops them", view.name)


@contextmanager
def transaction(connection: Connection) -> Iterator[Cursor]:
    """A transaction, or part of the one that is already open."""
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
def snapshot(connection: Connection) -> Iterator[None]:
    """A transaction that sees one moment of the database, and its own writes."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            yield
        except BaseException:
            if not connection.closed:
                cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")


@contextmanager
def folding_paused(connection: Connection, view: View) -> Iterator[None]:
    """A transaction during which no process folds into the view."""
    with transaction(connection) as cursor:
        cursor.execute("SET LOCAL lock_timeout = '30s'")
        generations.lock_exclusive(cursor, view.name)
        # Short, because readers that arrive while we wait for a lock queue behind us.
        cursor.execute("SET LOCAL lock_timeout = '1s'; SET LOCAL synchronous_commit = on")
        yield


@contextmanager
def exclusive_rebuild(
    connection: Connection, views: Sequence[View], *, wait: bool = False
) -> Iterator[None]:
    """Allow one rebuild of a view at a time, and drop tables that a killed one left behind.

    wait: until another rebuild has ended or an audit gives way, instead of raising RebuildRunning.
    """
    with connection.cursor() as cursor:
        for view in sorted(views, key=lambda v: v.name):
            cursor.execute(f"SELECT pg_try_advisory_lock({_LOCK})", (view.name,))
            if cursor.fetchone() == (True,):
                continue
            if not wait:
                raise RebuildRunning(f"view {view.name} is already being rebuilt")
            log.warning("view %s is being rebuilt or audited; waiting", view.name)
            _await_lock(connection, view)
        live = generations.in_force(cursor, [view.name for view in views])
    for view in views:
        if view.name in live:
            drop_others(connection, view, live[view.name].number)
    try:
        yield
    finally:
        if not connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock_all()")


def _await_lock(connection: Connection, view: View) -> None:
    """Take the lock when it is free, however long that takes; it outlasts the transaction."""
    with transaction(connection) as cursor:
        cursor.execute("SET LOCAL lock_timeout = 0")
        cursor.execute(f"SELECT pg_advisory_lock({_LOCK})", (view.name,))


def ensure_not_awaited(connection: Connection) -> None:
    """Check that nobody waits for a lock of this connection. Raises: RebuildRunning."""
    with connection.cursor() as cursor:
        cursor.execute(_AWAITED)
        if cursor.fetchone() == (True,):
            raise RebuildRunning("another rebuild of the views waits")


def live_positions(connection: Connection, views: Sequence[View]) -> dict[str, dict[str, int]]:
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
