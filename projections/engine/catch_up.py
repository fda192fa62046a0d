"""Brings views up to the end of a journal and returns: for a command that runs once and exits.

Nothing runs in the background and no view is rebuilt, so the command leaves nothing unfinished. It
may run alongside a service: whichever folds an event first wins, the other reloads its positions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from domain.store.postgres.connection import close_quietly, connect
from projections.engine import generations
from projections.engine.health import ViewState, view_states
from projections.engine.ledger_projector import LedgerProjector, Superseded
from projections.engine.runner import BATCH, BATCHES, RETRY_SECONDS
from projections.engine.vaults import VaultSecrets, row_keys_of, vault_of, writer_of
from projections.engine.view import View, ViewError

_PAUSE_SECONDS = 0.1


class NeedsRebuild(ViewError):
    """The tables of a view are of an older version than this program."""


class NeedsNewerProgram(ViewError):
    """The tables of a view are of a newer version than this program."""


class Stalled(ViewError):
    """A view does not reach the end of the journal."""


def catch_up(
    dsn: str, secrets: VaultSecrets, ledger: str, views: Sequence[View], seconds: float
) -> None:
    """Fold a ledger's journal into views, up to its current head.

    seconds: time limit. Raises: NeedsRebuild, NeedsNewerProgram; Stalled if a view is paused or the
        time is over; psycopg2.Error.
    """
    deadline = time.monotonic() + seconds
    connection = connect(dsn, name="certledger views once")
    try:
        generations.ensure(connection, views, secrets.epoch_keys)
        projector = LedgerProjector(
            ledger,
            vault_of(secrets, ledger, connection),
            batch=BATCH,
            retry_seconds=RETRY_SECONDS,
            row_keys=row_keys_of(secrets),
        )
        with connection.cursor() as cursor:
            heads = {s.view: s.head for s in view_states(cursor, views) if s.ledger == ledger}
            while True:
                current = generations.in_force(cursor, [view.name for view in views])
                _check_versions(current, views)
                projector.reload_positions(connection, views)
                targets = [writer_of(secrets, view, current[view.name]) for view in views]
                try:
                    projector.advance(connection, targets, BATCHES)
                except Superseded:
                    time.sleep(_PAUSE_SECONDS)
                states = [s for s in view_states(cursor, views) if s.ledger == ledger]
                behind = [s for s in states if s.position < heads[s.view]]
                if not behind:
                    return
                _check_progress(behind, heads, deadline)
    finally:
        close_quietly(connection)


def _check_versions(current: Mapping[str, generations.Generation], views: Sequence[View]) -> None:
    for view in views:
        found = current[view.name].version
        about = f"the tables of view {view.name} are of version {found}, not {view.version}"
        if found < view.version:
            raise NeedsRebuild(f"{about}: run `certledger rebuild {view.name}` first")
        if view.has_blind_indexes and current[view.name].epoch is None:
            raise NeedsRebuild(
                f"the tables of view {view.name} are under an epoch that is over: "
                f"run `certledger rebuild {view.name}` first"
            )
        if found > view.version:
            raise NeedsNewerProgram(f"{about}: use the newer program that made them")


def _check_progress(behind: Sequence[ViewState], heads: Mapping[str, int], deadline: float) -> None:
    for state in behind:
        if state.state == "paused":
            at = f"position {state.failing_position}: {state.reason}"
            raise Stalled(f"view {state.view} is paused at {at}")
    if time.monotonic() > deadline:
        first = behind[0]
        raise Stalled(f"view {first.view} did not reach position {heads[first.view]} in time")
