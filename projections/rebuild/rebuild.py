"""Makes views anew from the first event, beside the live ones, and compares or puts them in place.

Shadow tables are filled by COPY, ledger by ledger (or by ledger and view, if there are few
ledgers), shared out among processes; then indexed; then brought up to date; then, while folding
rests for a moment, compared row by row and swapped together with their positions in one
transaction. Reading goes on all the while. A view only writes its own tables, so there is nothing
else to keep quiet.
Reading order: check, replace, _fill; then filling.py, workers.py, swapping.py, compare.py.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from projections.catalogue import VIEWS
from projections.engine import generations as schema
from projections.engine.generation_writer import GenerationWriter
from projections.engine.journal_reader import Vault
from projections.engine.vaults import VaultSecrets, vault_of
from projections.engine.view import View, ViewError
from projections.rebuild.backfill import DEFAULT, Filled, Finish, Keys, Sizes, Task, fill, finish
from projections.rebuild.compare import Difference, differences
from projections.rebuild.swap import (
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
from projections.rebuild.worker_pool import opened, workers

_WORTH_PROCESSES = 100_000
"""Events from which starting processes, half a second each, is soon won back."""

_TOGETHER = 50_000
"""Events of small ledgers that are one piece of work."""

log = logging.getLogger(__name__)


class OtherVersion(ViewError):
    """The live tables are of another version, so there is nothing to compare with."""


def check(
    dsn: str,
    secrets: VaultSecrets,
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
    with opened(dsn) as connection, sole(connection, views):
        made = _of_this_version(connection, views)
        numbers = _fill(connection, dsn, secrets, views, processes, sizes, to_live=True)
        vaults = partial(_vault, secrets, connection)
        for view in views:
            target = GenerationWriter(view, numbers[view.name])
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
    secrets: VaultSecrets,
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
    with opened(dsn) as connection, sole(connection, views):
        numbers = _fill(connection, dsn, secrets, views, processes, sizes, filled=filled)
        vaults = partial(_vault, secrets, connection)
        for view in views:
            target = GenerationWriter(view, numbers[view.name])
            catch_up(connection, vaults, target)
            swap(connection, vaults, target)
            drop(connection, view, target.number)
    return filled


# --- filling -------------------------------------------------------------------------------------


def _fill(
    connection: Any,
    dsn: str,
    secrets: VaultSecrets,
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
    ends = [max(of.values()) for of in heads.values()]
    keys_first = max(ends, default=0) >= sizes.keys_from
    numbers: dict[str, int] = {}
    with transaction(connection) as cursor:
        for view in views:
            numbers[view.name] = schema.next_number(cursor, view)
            schema.create(cursor, view, numbers[view.name], keys=keys_first)
    if processes is None:
        processes = _cores() if sum(ends) >= _WORTH_PROCESSES else 1
    shares = _shares(views, heads, processes)
    keys = Keys(secrets.master_keys, secrets.index_key, secrets.algorithm)
    tasks = [
        Task(keys, tuple((view, numbers[view.name]) for view in together), some, sizes)
        for together, some in _batches(shares, processes)
    ]
    with workers(dsn, min(processes, len(tasks))) as run:
        for ledgers in run(fill, tasks):
            for done in ledgers:
                log.info("%s: %d events into %s in %.1f s", done.ledger, done.events,
                         ", ".join(done.views), done.seconds)  # fmt: skip
            if filled is not None:
                filled += ledgers
        for _ in run(finish, _unfinished(connection, views, numbers, not keys_first)):
            pass
    _track(connection, shares, numbers)
    return numbers


def _heads(connection: Any) -> dict[str, dict[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger, position FROM certledger.ledgers WHERE position > 0")
        return {ledger: {"*": position} for ledger, position in cursor.fetchall()}


Share = tuple[str, Sequence[View], int]
"""Ledger, views, how far."""


def _shares(views: Sequence[View], heads: dict[str, dict[str, int]], processes: int) -> list[Share]:
    """What is to be filled, task by task, the largest first.

    One process reads a ledger once for all its views, unless there would be fewer tasks than
    processes.
    """
    shares: list[Share] = []
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


def _batches(
    shares: list[Share], processes: int
) -> Iterator[tuple[Sequence[View], dict[str, int]]]:
    """Shares that one process takes at once: small ledgers' rows are written together.

    Of several processes each takes fewer and fewer, so that in the end none waits long for another.
    Yields: views, and ledger -> how far.
    """
    left = sum(upto for _, _, upto in shares)
    begin = 0
    while begin < len(shares):
        views = shares[begin][1]
        most = _TOGETHER if processes == 1 else min(left // (4 * processes), _TOGETHER)
        heads: dict[str, int] = {}
        for ledger, others, upto in shares[begin:]:
            if others != views or (heads and sum(heads.values()) + upto > most):
                break
            heads[ledger] = upto
        left -= sum(heads.values())
        begin += len(heads)
        yield views, heads


def _unfinished(
    connection: Any, views: Sequence[View], numbers: dict[str, int], keys: bool
) -> list[Finish]:
    """The new tables, the largest first."""
    found = [Finish(table, numbers[view.name], keys) for view in views for table in view.tables]
    names = [schema.physical(one.table, one.number) for one in found]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size(name::regclass) FROM unnest(%s) AS name", (names,))
        sizes = {one.table.name: size for one, (size,) in zip(found, cursor, strict=True)}
    return sorted(found, key=lambda one: -sizes[one.table.name] * (1 + len(one.table.indexes)))


def _track(connection: Any, shares: list[Share], numbers: dict[str, int]) -> None:
    """Note how far the new tables are; here, so that what processes do is only adding rows."""
    rows = [
        (ledger, schema.tracking_name(view, numbers[view.name]), upto)
        for ledger, together, upto in shares
        for view in together
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO certledger.tracking (ledger, view, position) "
            "SELECT * FROM unnest(%s, %s, %s::bigint[])",
            tuple(map(list, zip(*rows, strict=True))) or ([], [], []),
        )


# --- small things --------------------------------------------------------------------------------


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


def _vault(secrets: VaultSecrets, connection: Any, ledger: str) -> Vault:
    return vault_of(secrets, ledger, connection)


def _cores() -> int:
    return os.cpu_count() or 1
