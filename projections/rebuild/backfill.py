"""The tasks of a rebuild's processes: fill empty tables ledger by ledger, then index them.

A task only adds rows to tables that nobody reads yet, so a process that is killed leaves nothing to
repair. Reading order: backfill, build_indexes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from domain.store.keys.seals import Sealer
from domain.store.postgres.connection import Connection, Cursor
from domain.store.privacy.epoch_keys import Epoch, EpochKeys
from domain.values.certificate_links import LinkKeys
from projections.engine import generations
from projections.engine.generation_writer import GenerationWriter
from projections.engine.journal_reader import FieldOpener, decode, fetch
from projections.engine.rows import RowBuffer
from projections.engine.tables import Table
from projections.engine.vaults import row_keys_of, vault_of
from projections.engine.view import Entry, Handler, UnhandledTopic, View


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is processed at once.

    page: events read together. rows: most rows in one process's memory before they are written,
        about 1 kB each. keys_from: head of the longest ledger from which primary keys are created
        before the rows, because that ledger may exceed `rows` and is then read while being filled.
    """

    page: int = 5_000
    rows: int = 1_000_000
    keys_from: int = 4_000_000


DEFAULT_SIZES = Sizes()


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a vault by themselves, to be pickled for a child process."""

    epoch_keys: EpochKeys
    index_key: bytes = field(repr=False)
    sealer: Sealer
    link_keys: LinkKeys
    algorithm: str


@dataclass(frozen=True)
class BackfillTask:
    """Ledgers to be folded, one after the other.

    targets: views with the generation each goes into, and the epoch of its indexes. heads: ledger
    -> position to fold up to.
    pace: called with the position after each page, in this process; may sleep, or raise to stop.
    """

    keys: Keys
    targets: tuple[tuple[View, int, Epoch | None], ...]
    heads: dict[str, int]
    sizes: Sizes
    pace: Callable[[int], None] | None = None


@dataclass(frozen=True, slots=True)
class BackfilledLedger:
    """A ledger that was folded. events: each counted once for all its views."""

    ledger: str
    views: tuple[str, ...]
    events: int
    seconds: float


@dataclass(frozen=True)
class IndexTask:
    """A filled table to be indexed. keys: whether to create its primary key too."""

    table: Table
    number: int
    keys: bool


def backfill(connection: Connection, task: BackfillTask) -> list[BackfilledLedger]:
    """Fold ledgers from their first events into their views' new tables.

    Raises: UnhandledTopic, SealBroken, and what a fold raises.
    """
    targets = [
        GenerationWriter(view, number, row_keys_of(task.keys), epoch)
        for view, number, epoch in task.targets
    ]
    # Millions of rows stay in memory and none is part of a cycle: the collector's search for
    # cycles takes a third of the time.
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        with connection.cursor() as cursor:
            done = [
                _backfill_ledger(
                    cursor, task, targets, vault_of(task.keys, ledger, connection), upto
                )
                for ledger, upto in task.heads.items()
            ]
            for target in targets:
                target.flush(cursor)
    finally:
        if is_collecting:
            gc.enable()
    return done


def _backfill_ledger(
    cursor: Cursor,
    task: BackfillTask,
    targets: list[GenerationWriter],
    vault: FieldOpener,
    upto: int,
) -> BackfilledLedger:
    """Fold one ledger; its rows are written, or buffered by the targets."""
    started = time.monotonic()
    buffers = [(t, t.row_buffer(cursor, vault.ledger, vault, complete=True)) for t in targets]
    folds = _folds(buffers)
    ignored = {topic for topic, wanted in folds.items() if not wanted}
    after = count = 0
    page = task.sizes.page
    while events := fetch(cursor, vault, after, page, upto=upto):
        # Ignored events are read too: a topic that was changed must not hide one of the others.
        wanted = [event for event in events if event[1] not in ignored]
        _fold(decode(wanted, vault), folds, buffers)
        for target, rows in buffers:
            target.buffer_added(cursor, rows)
        if sum(rows.buffered_rows() for _, rows in buffers) > task.sizes.rows:
            for target, rows in buffers:
                target.flush_and_reset(cursor, rows)
        after = events[-1][0]
        count += len(wanted)
        if task.pace is not None:
            task.pace(after)
        if len(events) < page:
            break
    for target, rows in buffers:
        target.buffer(cursor, rows)
    names = tuple(target.view.name for target in targets)
    return BackfilledLedger(vault.ledger, names, count, time.monotonic() - started)


Buffers = list[tuple[GenerationWriter, RowBuffer]]
Folds = dict[str, list[tuple[Handler, RowBuffer]]]


def _folds(buffers: Buffers) -> Folds:
    """The folds of each topic that every view knows; none, if all views ignore it."""
    known = [frozenset(target.view.handles) | target.view.ignores for target, _ in buffers]
    return {
        topic: [
            (target.view.handles[topic].fold, rows)
            for target, rows in buffers
            if topic in target.view.handles
        ]
        for topic in frozenset.intersection(*known)
    }


def _fold(entries: Iterable[Entry], folds: Folds, buffers: Buffers) -> None:
    """Fold entry by entry through all views, each while it is in the processor's cache."""
    if not all(rows.complete for _, rows in buffers):
        read = entries = list(entries)
        for target, rows in buffers:
            target.prefetch(rows, read)
    for entry in entries:
        wanted = folds.get(entry.topic)
        if wanted is None:
            raise UnhandledTopic(entry.topic, entry.position)
        for fold, rows in wanted:
            fold(rows, entry)


def build_indexes(connection: Connection, task: IndexTask) -> None:
    """Create the indexes of a filled table."""
    with connection.cursor() as cursor:
        generations.finish_table(cursor, task.table, task.number, keys=task.keys)
