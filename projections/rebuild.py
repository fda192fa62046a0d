"""Makes views anew from the first event, beside the live ones, and compares or puts them in place.

Shadow tables are filled by COPY, one process a ledger (or a ledger and view, if there are few
ledgers); then indexed; then brought up to date; then, while folding rests for a moment, compared
row by row and swapped together with their positions in one transaction. Reading goes on all the
while. A view only writes its own tables, so there is nothing else to keep quiet.
Reading order: check, replace, _fill, build (what runs in a process); then swapping.py, compare.py.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from domain.store.connection import close_quietly, connect
from projections import schema
from projections.apply import Target, move, track
from projections.compare import Difference, differences
from projections.feed import Vault, read, unknown_topics
from projections.runner import Secrets, vault_of
from projections.swapping import (
    align,
    await_erasures,
    catch_up,
    drop,
    live_positions,
    resting,
    sole,
    swap,
    transaction,
)
from projections.view import Table, UnknownTopic, View, ViewError
from projections.views import VIEWS

_LONG = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "maintenance_work_mem": "256MB",  # indexes over millions of rows are sorted in memory
    "work_mem": "64MB",  # and so are two tables that are compared
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much at once.

    page: events read and folded together. groups: of rows in one process's memory before it is
    written out, about 2 kB each. keys_from: head from which a ledger may come to that, so that
    primary keys are made before its rows and not after.
    """

    page: int = 5_000
    groups: int = 1_000_000
    keys_from: int = 4_000_000


DEFAULT = Sizes()


class OtherVersion(ViewError):
    """The live tables are of another version, so there is nothing to compare with."""


@dataclass(frozen=True)
class Task:
    """What one process fills. targets: views with the generation each goes into."""

    dsn: str
    secrets: Secrets
    ledger: str
    targets: tuple[tuple[View, int], ...]
    upto: int
    sizes: Sizes


@dataclass(frozen=True, slots=True)
class Filled:
    """What a process did. events: entries folded, each counted once for all its views."""

    ledger: str
    views: tuple[str, ...]
    events: int
    seconds: float


def check(
    dsn: str,
    secrets: Secrets,
    views: Sequence[View] = VIEWS,
    *,
    processes: int | None = None,
    sizes: Sizes = DEFAULT,
    on_difference: Callable[[Difference], None] = lambda difference: None,
) -> int:
    """Make views anew beside the live ones and compare; nothing is put in place.

    on_difference: called with every differing row. Returns: how many there are.
    Raises: RebuildRunning, OtherVersion, UnknownTopic; whatever a fold raises.
    """
    count = 0
    with _connection(dsn) as connection, sole(connection, views):
        made = _of_this_version(connection, views)
        numbers = _fill(connection, dsn, secrets, views, processes, sizes, to_live=True)
        vaults = partial(_vault, secrets, connection)
        for view in views:
            target = Target(view, numbers[view.name])
            await_erasures(connection, view)
            with resting(connection, view):
                align(connection, vaults, target)
                for found in differences(connection, view, made[view.name].number, target.number):
                    count += 1
                    on_difference(found)
            drop(connection, view, made[view.name].number)
    return count


def replace(
    dsn: str,
    secrets: Secrets,
    views: Sequence[View] = VIEWS,
    *,
    processes: int | None = None,
    sizes: Sizes = DEFAULT,
) -> list[Filled]:
    """Make views anew and put them in place of the live ones, without a pause for readers.

    Returns: what was filled, for the record. Raises: RebuildRunning, UnknownTopic; whatever a
        fold raises; then the live ones stay.
    """
    filled: list[Filled] = []
    with _connection(dsn) as connection, sole(connection, views):
        numbers = _fill(connection, dsn, secrets, views, processes, sizes, filled=filled)
        vaults = partial(_vault, secrets, connection)
        for view in views:
            target = Target(view, numbers[view.name])
            catch_up(connection, vaults, target)
            swap(connection, vaults, target)
            drop(connection, view, target.number)
    return filled


# --- filling -------------------------------------------------------------------------------------


def _fill(
    connection: Any,
    dsn: str,
    secrets: Secrets,
    views: Sequence[View],
    processes: int | None,
    sizes: Sizes,
    *,
    to_live: bool = False,
    filled: list[Filled] | None = None,
) -> dict[str, int]:
    """New generations with all rows and indexes. Returns: view name -> generation.

    to_live: only as far as the live views are, so that both can be compared.
    """
    heads = live_positions(connection, views) if to_live else _heads(connection)
    largest = max((head for of in heads.values() for head in of.values()), default=0)
    keys_first = largest >= sizes.keys_from
    numbers: dict[str, int] = {}
    with transaction(connection) as cursor:
        for view in views:
            numbers[view.name] = schema.next_number(cursor, view)
            schema.create(cursor, view, numbers[view.name], keys=keys_first)
    width = processes or _cores()
    tasks = [
        Task(dsn, secrets, ledger, tuple((v, numbers[v.name]) for v in together), upto, sizes)
        for ledger, together, upto in _shares(views, heads, width)
    ]
    tables = [
        _Finish(dsn, table, numbers[view.name], not keys_first)
        for view in views
        for table in view.tables
    ]
    with _workers(min(width, len(tasks) or 1)) as run:
        for done in run(build, tasks):
            log.info("%s: %d events into %s in %.1f s", done.ledger, done.events,
                     ", ".join(done.views), done.seconds)  # fmt: skip
            if filled is not None:
                filled.append(done)
        for _ in run(_finish, tables):
            pass
    return numbers


def _heads(connection: Any) -> dict[str, dict[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger, position FROM certledger.ledgers WHERE position > 0")
        return {ledger: {"*": position} for ledger, position in cursor.fetchall()}


def _shares(
    views: Sequence[View], heads: dict[str, dict[str, int]], processes: int
) -> list[tuple[str, Sequence[View], int]]:
    """(ledger, views, how far) for each task, the largest first.

    One process reads a ledger once for all its views, unless there would be fewer tasks than
    processes.
    """
    shares: list[tuple[str, Sequence[View], int]] = []
    for ledger, of in heads.items():
        by_head: dict[int, list[View]] = {}
        for view in views:
            upto = of.get(view.name, of.get("*", 0))
            if upto:
                by_head.setdefault(upto, []).append(view)
        for upto, together in by_head.items():
            groups = [together] if len(heads) >= processes else [[view] for view in together]
            shares += [(ledger, group, upto) for group in groups]
    return sorted(shares, key=lambda share: (-share[2] * len(share[1]), share[0]))


@dataclass(frozen=True)
class _Finish:
    """A filled table that waits for its indexes."""

    dsn: str
    table: Table
    number: int
    keys: bool


def _finish(task: _Finish) -> None:
    with _connection(task.dsn) as connection, connection.cursor() as cursor:
        schema.finish_table(cursor, task.table, task.number, keys=task.keys)


Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


@contextmanager
def _workers(processes: int) -> Iterator[Run]:
    """What runs a function over many tasks, results as they come; one process is this one."""
    if processes <= 1:
        yield map
        return
    # Spawned, not forked: a forked child would share sockets and locks with a running service.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield pool.imap_unordered


def build(task: Task) -> Filled:
    """Fill the tables of one ledger's views from its first event; runs in a process of its own.

    Raises: UnknownTopic, and whatever a fold raises.
    """
    begun = time.monotonic()
    # Millions of rows stay in memory and none of them is in a cycle: looking for one takes a third
    # of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with _connection(task.dsn) as connection, connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
            events = _build(cursor, task, vault_of(task.secrets, task.ledger, connection))
    finally:
        if collecting:
            gc.enable()
    names = tuple(view.name for view, _ in task.targets)
    return Filled(task.ledger, names, events, time.monotonic() - begun)


def _build(cursor: Any, task: Task, vault: Vault) -> int:
    """Returns: how many entries were folded."""
    _ensure_known(cursor, task.ledger, task.upto)
    targets = [Target(view, number) for view, number in task.targets]
    held = [
        (target, target.rows(cursor, task.ledger, vault.blind_indexes, complete=True))
        for target in targets
    ]
    topics = sorted({topic for t in targets for topic in t.view.handles})
    after = events = 0
    while entries := read(
        cursor, task.ledger, vault, after, task.sizes.page, upto=task.upto, topics=topics
    ):
        for target, rows in held:
            target.view.fold(entries, rows)
            target.write_added(cursor, rows)
        if sum(rows.held() for _, rows in held) > task.sizes.groups:
            for target, rows in held:
                target.spill(cursor, rows)
        after = entries[-1].position
        events += len(entries)
    for target, rows in held:
        target.write(cursor, rows)
        name = schema.tracking_name(target.view, target.number)
        track(cursor, task.ledger, [name])
        move(cursor, task.ledger, name, task.upto)
    return events


def _ensure_known(cursor: Any, ledger: str, upto: int) -> None:
    unknown = unknown_topics(cursor, ledger, upto)
    if unknown:
        cursor.execute(
            "SELECT min(position) FROM certledger.journal WHERE ledger = %s AND topic = %s",
            (ledger, unknown[0]),
        )
        raise UnknownTopic(unknown[0], cursor.fetchone()[0])


# --- small things --------------------------------------------------------------------------------


@contextmanager
def _connection(dsn: str) -> Iterator[Any]:
    connection = connect(dsn, name="certledger rebuild", settings=_LONG)
    try:
        yield connection
    finally:
        close_quietly(connection)


def _of_this_version(connection: Any, views: Sequence[View]) -> dict[str, schema.Generation]:
    with connection.cursor() as cursor:
        made = schema.in_force(cursor, [view.name for view in views])
    for view in views:
        if view.name not in made or made[view.name].version != view.version:
            found = made[view.name].version if view.name in made else None
            raise OtherVersion(
                f"the tables of {view.name} are of version {found}, this program's of "
                f"{view.version}"
            )
    return made


def _vault(secrets: Secrets, connection: Any, ledger: str) -> Vault:
    return vault_of(secrets, ledger, connection)


def _cores() -> int:
    return os.cpu_count() or 1
