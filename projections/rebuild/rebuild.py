"""Blue-green rebuild: folds views from the first event into new tables, then compares or swaps.

Child processes fill the new tables by COPY, ledger by ledger (or by ledger and view, if there are
few ledgers), then index them. The new tables catch up with the journal. While folding is paused for
a moment, they are compared row by row, or swapped in with their positions in one transaction.
Readers never wait. A view writes its own tables only, so there is nothing else to pause.
Reading order: check, replace, _backfill; then backfill.py, worker_pool.py, swap.py, compare.py.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

from domain.store.postgres import definitions
from domain.store.postgres.connection import Connection
from domain.store.privacy.epoch_keys import Epoch
from domain.store.privacy.live_epochs import read_live_epochs, to_write_under
from projections.catalogue import VIEWS
from projections.engine import generations
from projections.engine.generation_writer import GenerationWriter
from projections.engine.journal_reader import FieldOpener
from projections.engine.progress_seals import progress_seal
from projections.engine.vaults import VaultSecrets, epoch_of, row_keys_of, vault_of
from projections.engine.view import View, ViewError
from projections.rebuild.backfill import (
    DEFAULT_SIZES,
    BackfilledLedger,
    BackfillTask,
    IndexTask,
    Keys,
    Sizes,
    backfill,
    build_indexes,
)
from projections.rebuild.compare import Difference, differences
from projections.rebuild.swap import (
    await_erasures,
    catch_up,
    drop_others,
    ensure_not_awaited,
    exclusive_rebuild,
    folding_paused,
    live_positions,
    match_live,
    snapshot,
    swap,
    transaction,
)
from projections.rebuild.worker_pool import rebuild_connection, workers

_PARALLEL_EVENTS = 100_000
"""Events from which several processes, half a second to start, are faster than one."""

_TASK_EVENTS = 50_000
"""Most events of small ledgers that are one task."""

DIFFERENCES_MAX = 100
"""Rows of one view of one ledger that `audit` returns at most: those of a view that is wholly wrong
must not hide those of another."""

_SMALL = Sizes(page=1000, rows=50_000, keys_from=0)
"""Of an audit, which has time and little memory."""

Pace = Callable[[int], None]
"""Called with the position after each piece of work; may sleep, or raise to stop."""

log = logging.getLogger(__name__)


class OtherVersion(ViewError):
    """The live tables are of another version, so that a comparison would mean nothing."""


def check(
    dsn: str,
    secrets: VaultSecrets,
    views: Sequence[View] = VIEWS,
    *,
    processes: int | None = None,
    sizes: Sizes = DEFAULT_SIZES,
    on_difference: Callable[[Difference], None] = lambda difference: None,
    wait: bool = False,
) -> int:
    """Rebuild views next to the live ones and compare both; swaps nothing.

    on_difference: called with every row that differs. wait: see `exclusive_rebuild`.
    Returns: how many differ.
    Raises: RebuildRunning, OtherVersion, UnhandledTopic; what a fold raises.
    """
    count = 0
    with (
        rebuild_connection(dsn) as connection,
        exclusive_rebuild(connection, views, wait=wait),
    ):
        live = _of_this_version(connection, views)
        targets = _backfill(
            connection,
            dsn,
            secrets,
            _epochs_of(secrets, views, live),
            processes,
            sizes,
            to_live=True,
        )
        vaults = partial(_vault, secrets, connection)
        for view in views:
            target = targets[view.name]
            await_erasures(connection, view)
            with folding_paused(connection, view):
                match_live(connection, vaults, target)
                for found in differences(connection, view, live[view.name].number, target.number):
                    count += 1
                    on_difference(found)
            drop_others(connection, view, live[view.name].number)
    return count


def audit(dsn: str, secrets: VaultSecrets, views: Sequence[View], pace: Pace) -> list[Difference]:
    """Compare views with a rebuild, piece by piece, while they are read and folded.

    The new tables are brought to the position that the live ones have in one snapshot of the
    database, so that folding need not pause. pace: see BackfillTask. Returns: of each view of each
    ledger the first DIFFERENCES_MAX rows that differ.
    Raises: RebuildRunning, also to give way to a rebuild that waits; OtherVersion, UnknownTopic;
        what `pace` and a fold raise.
    """
    found: list[Difference] = []
    with rebuild_connection(dsn) as connection, exclusive_rebuild(connection, views):
        live = _of_this_version(connection, views)
        vaults = partial(_vault, secrets, connection)
        pace = _giving_way(connection, pace)
        epochs = _epochs_of(secrets, views, live)
        targets = _backfill(connection, dsn, secrets, epochs, 1, _SMALL, to_live=True, pace=pace)
        for view in views:
            target = targets[view.name]
            await_erasures(connection, view)
            for ledger in live_positions(connection, (view,)):
                with snapshot(connection):
                    match_live(connection, vaults, target)
                    ends = live[view.name].number, target.number
                    differing = differences(connection, view, *ends, ledger)
                    found += islice(differing, DIFFERENCES_MAX)
                pace(0)
            drop_others(connection, view, live[view.name].number)
    return found


def _giving_way(connection: Connection, pace: Pace) -> Pace:
    """The pace, which also ends the audit when a rebuild waits for a lock of the connection."""

    def paced(position: int) -> None:
        pace(position)
        ensure_not_awaited(connection)

    return paced


def altered_definitions(dsn: str, views: Sequence[View] = VIEWS) -> list[tuple[str, str]]:
    """The (view, table) whose name does not show the rows that `check` and `audit` compare.

    A view without tables of this version is left out.
    """
    with rebuild_connection(dsn) as connection:
        with connection.cursor() as cursor:
            current = generations.in_force(cursor, [view.name for view in views])
        return [
            (view.name, table)
            for view in views
            if view.name in current and current[view.name].version == view.version
            for table in generations.altered_definitions(
                connection, view, current[view.name].number
            )
        ]


def altered_functions(dsn: str) -> list[str]:
    """What the tables of store and views do by themselves that the program did not make.

    Returns: kind and name, as "function views.refuse_change()".
    """
    with rebuild_connection(dsn) as connection:
        with connection.cursor() as cursor:
            of_store = definitions.altered(cursor)
        return [*of_store, *generations.altered_functions(connection)]


def replace(
    dsn: str,
    secrets: VaultSecrets,
    views: Sequence[View] = VIEWS,
    *,
    processes: int | None = None,
    sizes: Sizes = DEFAULT_SIZES,
    wait: bool = False,
    only_outdated: bool = False,
) -> list[BackfilledLedger]:
    """Rebuild views and swap them in for the live ones, without a pause for readers.

    wait: see `exclusive_rebuild`. only_outdated: those that are outdated when the lock was taken;
    another process may have rebuilt them meanwhile. Returns: the ledgers that were folded, for the
    log.
    Raises: RebuildRunning, UnhandledTopic; what a fold raises; the live views then stay.
    """
    filled: list[BackfilledLedger] = []
    with (
        rebuild_connection(dsn) as connection,
        exclusive_rebuild(connection, views, wait=wait),
    ):
        with connection.cursor() as cursor:
            live = read_live_epochs(cursor, secrets.epoch_keys)
            if only_outdated:
                current = generations.in_force(cursor, [view.name for view in views])
                views = generations.outdated(current, views, live)
        epoch = secrets.epoch_keys.open(*to_write_under(live))
        epochs = [(view, epoch if view.has_blind_indexes else None) for view in views]
        targets = _backfill(connection, dsn, secrets, epochs, processes, sizes, filled=filled)
        vaults = partial(_vault, secrets, connection)
        for view in views:
            target = targets[view.name]
            catch_up(connection, vaults, target)
            swap(connection, vaults, target)
            drop_others(connection, view, target.number)
    return filled


# --- backfill ------------------------------------------------------------------------------------


def _backfill(
    connection: Connection,
    dsn: str,
    secrets: VaultSecrets,
    epochs: Sequence[tuple[View, Epoch | None]],
    processes: int | None,
    sizes: Sizes,
    *,
    to_live: bool = False,
    filled: list[BackfilledLedger] | None = None,
    pace: Pace | None = None,
) -> dict[str, GenerationWriter]:
    """Create and fill new generations, with indexes. Returns: view name -> its generation.

    epochs: the views, and the epochs of their blind indexes. to_live: fold only up to the positions
    of the live views, so that both can be compared.
    pace: for tables that are only compared: they get their keys and no further index.
    """
    views = [view for view, _ in epochs]
    heads = live_positions(connection, views) if to_live else _heads(connection)
    ends = [max(of.values()) for of in heads.values()]
    keys_first = max(ends, default=0) >= sizes.keys_from
    numbers = _create(connection, views, keys=keys_first, logged=pace is None)
    if processes is None:
        processes = _cores() if sum(ends) >= _PARALLEL_EVENTS else 1
    shares = _shares(views, heads, processes)
    targets = {view.name: (view, numbers[view.name], epoch) for view, epoch in epochs}
    keys = _keys_of(secrets)
    tasks = [
        BackfillTask(keys, tuple(targets[view.name] for view in group), upto, sizes, pace)
        for group, upto in _batches(shares, processes)
    ]
    with workers(dsn, min(processes, len(tasks))) as run:
        for ledgers in run(backfill, tasks):
            for done in ledgers:
                log.info("%s: %d events into %s in %.1f s", done.ledger, done.events,
                         ", ".join(done.views), done.seconds)  # fmt: skip
            if filled is not None:
                filled += ledgers
        if pace is None:
            for _ in run(build_indexes, _index_tasks(connection, views, numbers, not keys_first)):
                pass
    row_keys = row_keys_of(secrets)
    _store_positions(connection, shares, numbers, row_keys)
    return {
        view.name: GenerationWriter(view, numbers[view.name], row_keys, epoch)
        for view, epoch in epochs
    }


def _create(
    connection: Connection, views: Iterable[View], *, keys: bool, logged: bool
) -> dict[str, int]:
    """Create empty tables; see `generations.create`. Returns: view name -> generation."""
    numbers: dict[str, int] = {}
    with transaction(connection) as cursor:
        for view in views:
            number = numbers[view.name] = generations.next_number(cursor, view)
            generations.create(cursor, view, number, keys=keys, logged=logged)
    return numbers


def _keys_of(secrets: VaultSecrets) -> Keys:
    return Keys(
        secrets.epoch_keys,
        secrets.index_key,
        secrets.sealer,
        secrets.link_keys,
        secrets.algorithm,
    )


def _heads(connection: Connection) -> dict[str, dict[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger, position FROM certledger.ledgers WHERE position > 0")
        return {ledger: {"*": position} for ledger, position in cursor.fetchall()}


Share = tuple[str, Sequence[View], int]
"""(ledger, views, position to fold up to)"""


def _shares(views: Sequence[View], heads: dict[str, dict[str, int]], processes: int) -> list[Share]:
    """The shares of the work, the largest first.

    One share is a ledger with all its views, read once; with one view, if there would otherwise be
    fewer shares than processes.
    """
    shares: list[Share] = []
    for ledger, of in heads.items():
        by_head: dict[int, list[View]] = {}
        for view in views:
            upto = of.get(view.name, of.get("*", 0))
            if upto:
                by_head.setdefault(upto, []).append(view)
        for upto, group in by_head.items():
            groups = [group] if len(heads) >= processes else [[view] for view in group]
            shares += [(ledger, each, upto) for each in groups]
    return sorted(shares, key=lambda share: (-share[2] * len(share[1]), share[0]))


def _batches(
    shares: list[Share], processes: int
) -> Iterator[tuple[Sequence[View], dict[str, int]]]:
    """Group shares into tasks: the rows of small ledgers are written together.

    With several processes the tasks become smaller and smaller, so that all end at about the same
    time. Yields: views, and ledger -> position to fold up to.
    """
    left = sum(upto for _, _, upto in shares)
    begin = 0
    while begin < len(shares):
        views = shares[begin][1]
        most = _TASK_EVENTS if processes == 1 else min(left // (4 * processes), _TASK_EVENTS)
        heads: dict[str, int] = {}
        for ledger, others, upto in shares[begin:]:
            if others != views or (heads and sum(heads.values()) + upto > most):
                break
            heads[ledger] = upto
        left -= sum(heads.values())
        begin += len(heads)
        yield views, heads


def _index_tasks(
    connection: Connection, views: Sequence[View], numbers: dict[str, int], keys: bool
) -> list[IndexTask]:
    """The new tables, those that take longest first."""
    found = [IndexTask(table, numbers[view.name], keys) for view in views for table in view.tables]
    names = [generations.physical(one.table, one.number) for one in found]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_relation_size(name::regclass) FROM unnest(%s::text[]) AS name", (names,)
        )
        sizes = {one.table.name: size for one, (size,) in zip(found, cursor, strict=True)}
    return sorted(found, key=lambda one: -sizes[one.table.name] * (1 + len(one.table.indexes)))


def _store_positions(
    connection: Connection,
    shares: list[Share],
    numbers: dict[str, int],
    row_keys: Sequence[bytes],
) -> None:
    """Store the positions of the new tables; here, so that the processes only add rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reached.ledger, reached.upto, sha256('\\x00'::bytea || j.envelope) "
            "FROM unnest(%s::text[], %s::bigint[]) AS reached (ledger, upto) "
            "JOIN certledger.journal j ON j.ledger = reached.ledger AND j.position = reached.upto",
            ([ledger for ledger, _, _ in shares], [upto for _, _, upto in shares]),
        )
        leaves = {(ledger, upto): bytes(leaf) for ledger, upto, leaf in cursor.fetchall()}
        rows = []
        for ledger, group, upto in shares:
            # None if the live view says that it has come to a position where there is no event.
            leaf = leaves.get((ledger, upto))
            for view in group:
                number = numbers[view.name]
                seal = leaf and progress_seal(row_keys, ledger, view.name, number, upto, leaf)
                rows.append((ledger, generations.tracking_name(view, number), upto, leaf, seal))
        cursor.execute(
            "INSERT INTO certledger.tracking (ledger, view, position, leaf_hash, seal) "
            "SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bytea[], %s::bytea[])",
            tuple(map(list, zip(*rows, strict=True))) or ([],) * 5,
        )


# --- helpers -------------------------------------------------------------------------------------


def _of_this_version(
    connection: Connection, views: Sequence[View]
) -> dict[str, generations.Generation]:
    with connection.cursor() as cursor:
        live = generations.in_force(cursor, [view.name for view in views])
    for view in views:
        if view.name not in live or live[view.name].version != view.version:
            found = live[view.name].version if view.name in live else None
            raise OtherVersion(
                f"the tables of {view.name} are of version {found}, this program's of "
                f"{view.version}"
            )
        if not generations.is_readable(view, live[view.name]):
            raise OtherVersion(f"the tables of {view.name} are under an epoch that is over")
    return live


def _epochs_of(
    secrets: VaultSecrets, views: Sequence[View], live: Mapping[str, generations.Generation]
) -> list[tuple[View, Epoch | None]]:
    """Each view with the epoch of its live tables. Raises: WrongEpochKey."""
    return [(view, epoch_of(secrets, live[view.name])) for view in views]


def _vault(secrets: VaultSecrets, connection: Connection, ledger: str) -> FieldOpener:
    return vault_of(secrets, ledger, connection)


def _cores() -> int:
    return os.cpu_count() or 1
