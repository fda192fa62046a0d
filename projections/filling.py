"""What the processes of a rebuild do: fill empty tables ledger by ledger, then index them.

A piece of work only adds rows to tables that nobody reads yet, so a process that dies leaves
nothing to put right. Reading order: fill, finish.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from domain.store.vault import MasterKeys
from projections import schema
from projections.apply import Target
from projections.feed import Vault, decoded, fetch
from projections.rows import Rows
from projections.runner import vault_of
from projections.view import Entry, Handler, Table, UnknownTopic, View


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much at once.

    page: events read together. rows: in one process's memory before they are written out, about
    1 kB each. keys_from: head from which a ledger may come to that, so that primary keys are made
    before its rows and not after.
    """

    page: int = 5_000
    rows: int = 1_000_000
    keys_from: int = 4_000_000


DEFAULT = Sizes()


@dataclass(frozen=True, slots=True)
class Keys:
    """Secrets by themselves, so that no process has to know where they came from."""

    master_keys: MasterKeys
    index_key: bytes = field(repr=False)
    algorithm: str


@dataclass(frozen=True)
class Task:
    """A ledger to be folded. targets: views with the generation each goes into."""

    keys: Keys
    ledger: str
    targets: tuple[tuple[View, int], ...]
    upto: int
    sizes: Sizes


@dataclass(frozen=True, slots=True)
class Filled:
    """What was done. events: entries folded, each counted once for all its views."""

    ledger: str
    views: tuple[str, ...]
    events: int
    seconds: float


@dataclass(frozen=True)
class Finish:
    """A filled table that waits for its indexes. keys: for its primary key as well."""

    table: Table
    number: int
    keys: bool


def fill(connection: Any, task: Task) -> Filled:
    """Fold a ledger from its first event into its views' new tables.

    Raises: UnknownTopic, and whatever a fold raises.
    """
    begun = time.monotonic()
    # Millions of rows stay in memory and none of them is in a cycle: looking for one takes a third
    # of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with connection.cursor() as cursor:
            events = _fill(cursor, task, vault_of(task.keys, task.ledger, connection))
    finally:
        if collecting:
            gc.enable()
    names = tuple(view.name for view, _ in task.targets)
    return Filled(task.ledger, names, events, time.monotonic() - begun)


def _fill(cursor: Any, task: Task, vault: Vault) -> int:
    """Returns: how many entries were folded."""
    held = [
        (target, target.rows(cursor, task.ledger, vault.blind_indexes, complete=True))
        for target in (Target(view, number) for view, number in task.targets)
    ]
    folds = _folds(held)
    ignored = sorted(topic for topic, wanted in folds.items() if not wanted)
    after = count = 0
    while events := fetch(
        cursor, task.ledger, after, task.sizes.page, upto=task.upto, without=ignored
    ):
        _fold(decoded(events, vault), folds, held)
        for target, rows in held:
            target.write_added(cursor, rows)
        if sum(rows.held() for _, rows in held) > task.sizes.rows:
            for target, rows in held:
                target.spill(cursor, rows)
        after = events[-1][0]
        count += len(events)
    for target, rows in held:
        target.write(cursor, rows)
    return count


Held = list[tuple[Target, Rows]]
Folds = dict[str, list[tuple[Handler, Rows]]]


def _folds(held: Held) -> Folds:
    """What is to be done with each topic that every view knows; nothing, if all ignore it."""
    known = [frozenset(target.view.handles) | target.view.ignores for target, _ in held]
    return {
        topic: [
            (target.view.handles[topic].fold, rows)
            for target, rows in held
            if topic in target.view.handles
        ]
        for topic in frozenset.intersection(*known)
    }


def _fold(entries: Iterable[Entry], folds: Folds, held: Held) -> None:
    """Entry by entry through all views: what was decoded just now is at hand."""
    if not all(rows.complete for _, rows in held):
        entries = list(entries)
        for target, rows in held:
            target.prefetch(rows, entries)
    for entry in entries:
        wanted = folds.get(entry.topic)
        if wanted is None:
            raise UnknownTopic(entry.topic, entry.position)
        for fold, rows in wanted:
            fold(rows, entry)


def finish(connection: Any, task: Finish) -> None:
    """Make the indexes of a filled table."""
    with connection.cursor() as cursor:
        schema.finish_table(cursor, task.table, task.number, keys=task.keys)
