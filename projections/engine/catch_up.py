"""Brings views up to the end of a journal and returns: for a program that does one thing and ends.

Nothing runs in the background and no view is made anew, so nothing is left half done when the
program goes. It may run beside a service: whoever is first folds, the other one looks again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from domain.store.postgres.connection import close_quietly, connect
from projections.engine import generations as schema
from projections.engine.generation_writer import GenerationWriter
from projections.engine.health import ViewState, view_states
from projections.engine.ledger_projector import LedgerProjector, Superseded
from projections.engine.runner import BATCH, BATCHES, RETRY_SECONDS
from projections.engine.vaults import VaultSecrets, vault_of
from projections.engine.view import View, ViewError

_PAUSE_SECONDS = 0.1


class NeedsRebuild(ViewError):
    """The tables of a view are of an older version than this program."""


class NeedsNewerProgram(ViewError):
    """The tables of a view are of a newer version than this program."""


class Stalled(ViewError):
    """A view does not come to the end of the journal."""


def bring_up(
    dsn: str, secrets: VaultSecrets, ledger: str, views: Sequence[View], seconds: float
) -> None:
    """Fold a ledger's journal into views, up to the head it has now.

    seconds: how long it may take. Raises: NeedsRebuild, NeedsNewerProgram; StandsStill if a view
        is paused or time is over; psycopg2.Error.
    """
    deadline = time.monotonic() + seconds
    connection = connect(dsn, name="certledger views once")
    try:
        schema.ensure(connection, views)
        follower = LedgerProjector(
            ledger,
            vault_of(secrets, ledger, connection),
            batch=BATCH,
            retry_seconds=RETRY_SECONDS,
        )
        with connection.cursor() as cursor:
            heads = {s.view: s.head for s in view_states(cursor, views) if s.ledger == ledger}
            while True:
                made = schema.in_force(cursor, [view.name for view in views])
                _ensure_versions(made, views)
                follower.look(connection, views)
                targets = [GenerationWriter(view, made[view.name].number) for view in views]
                try:
                    follower.advance(connection, targets, BATCHES)
                except Superseded:
                    time.sleep(_PAUSE_SECONDS)
                states = [s for s in view_states(cursor, views) if s.ledger == ledger]
                behind = [s for s in states if s.position < heads[s.view]]
                if not behind:
                    return
                _ensure_moving(behind, heads, deadline)
    finally:
        close_quietly(connection)


def _ensure_versions(made: dict[str, schema.Generation], views: Sequence[View]) -> None:
    for view in views:
        found = made[view.name].version
        about = f"the tables of view {view.name} are of version {found}, not {view.version}"
        if found < view.version:
            raise NeedsRebuild(f"{about}: run `certledger rebuild {view.name}` first")
        if found > view.version:
            raise NeedsNewerProgram(f"{about}: use the newer program that made them")


def _ensure_moving(behind: Sequence[ViewState], heads: dict[str, int], deadline: float) -> None:
    for state in behind:
        if state.state == "paused":
            at = f"position {state.failing_position}: {state.reason}"
            raise Stalled(f"view {state.view} is paused at {at}")
    if time.monotonic() > deadline:
        first = behind[0]
        raise Stalled(f"view {first.view} did not come to position {heads[first.view]}")
