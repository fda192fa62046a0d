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

from domain.store.privacy.vault import MasterKeys
from projections.engine import generations as schema
from projections.engine.generation_writer import GenerationWriter
from projections.engine.journal_reader import Vault, decoded, fetch
from projections.engine.rows import RowBuffer
from projections.engine.vaults import vault_of
from projections.engine.view import Entry, Handler, Table, UnknownTopic, View


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
    """Ledgers to be folded, one after the other.

    targets: views with the generation each goes into. heads: ledger -> how far.
    """

    keys: Keys
    targets: tuple[tuple[View, int], ...]
    heads: dict[str, int]
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


def fill(connection: Any, task: Task) -> list[Filled]:
    """Fold ledgers from their first events into their views' new tables.

    Raises: UnknownTopic, and whatever a fold raises.
    """
    targets = [GenerationWriter(view, number) for view, number in task.targets]
    # Millions of rows stay in memory and none of them is in a cycle: looking for one takes a third
    # of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with connection.cursor() as cursor:
            done = [
                _filled(cursor, task, targets, vault_of(task.keys, ledger, connection), upto)
                for ledger, upto in task.heads.items()
            ]
            for target in targets:
                target.flush(cursor)
    finally:
        if collecting:
            gc.enable()
    return done


def _filled(
    cursor: Any, task: Task, targets: list[GenerationWriter], vault: Vault, upto: int
) -> Filled:
    """A ledger's rows, written or held by what writes them."""
    begun = time.monotonic()
    held = [(t, t.rows(cursor, vault.ledger, vault.blind_index, complete=True)) for t in targets]
    folds = _folds(held)
    ignored = sorted(topic for topic, wanted in folds.items() if not wanted)
    after = count = 0
    page = task.sizes.page
    while events := fetch(cursor, vault.ledger, after, page, upto=upto, without=ignored):
        _fold(decoded(events, vault), folds, held)
        for target, rows in held:
            target.hold_added(cursor, rows)
        if sum(rows.held() for _, rows in held) > task.sizes.rows:
            for target, rows in held:
                target.spill(cursor, rows)
        after = events[-1][0]
        count += len(events)
        if len(events) < page:
            break
    for target, rows in held:
        target.hold(cursor, rows)
    names = tuple(target.view.name for target in targets)
    return Filled(vault.ledger, names, count, time.monotonic() - begun)


Held = list[tuple[GenerationWriter, RowBuffer]]
Folds = dict[str, list[tuple[Handler, RowBuffer]]]


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
