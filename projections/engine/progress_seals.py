"""The seal of a view's progress: up to which event a generation of its tables was folded.

Who moves the progress of a view ahead makes it skip events. The seal is over ledger, view,
generation, position and the leaf hash of the event there, and is written with the position.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from domain.store.keys.seals import row_seal
from domain.store.postgres.connection import Cursor
from projections.engine.row_seals import ViewWrong, check_seal

COLUMNS = "t.position, t.leaf_hash, t.seal, j.leaf_hash"
"""Of `tracking` as t, joined as in JOINED: what StoredProgress is made of."""

JOINED = "LEFT JOIN certledger.journal j ON j.ledger = t.ledger AND j.position = t.position"

VIEW_WRONG = "view_wrong"
"""Code of a pause because of what is stored of a view; the reason begins with it."""


class StoredProgress(NamedTuple):
    """Progress as the database has it. in_journal: leaf hash of the event at the position."""

    position: int
    leaf_hash: bytes | None
    seal: bytes | None
    in_journal: bytes | None


def progress_seal(
    row_keys: Sequence[bytes], ledger: str, view: str, generation: int, position: int, leaf: bytes
) -> bytes | None:
    """The seal of progress, 32 bytes; None without a key. row_keys: see `vaults.row_keys_of`."""
    if not row_keys:
        return None
    return row_seal(row_keys[0], ledger, view, _key_text(generation), _payload(position, leaf))


def check_progress(
    row_keys: Iterable[bytes], ledger: str, view: str, generation: int, stored: StoredProgress
) -> None:
    """Check that this generation of a view was folded up to this event, and no other.

    Progress 0 needs no seal: nothing is skipped.
    Raises: ViewWrong.
    """
    position, leaf, seal, in_journal = stored
    if position == 0:
        return
    if leaf is None or seal is None or in_journal is None or bytes(leaf) != bytes(in_journal):
        raise ViewWrong(view=view)
    payload = _payload(position, bytes(leaf))
    check_seal(row_keys, ledger, view, _key_text(generation), payload, bytes(seal).hex())


def check_stored(
    cursor: Cursor, row_keys: Sequence[bytes], ledger: str, view: str, generation: int, name: str
) -> None:
    """Check the progress that is stored under a name in `tracking`; without a key, nothing.

    Raises: ViewWrong.
    """
    if not row_keys:
        return
    cursor.execute(
        f"SELECT {COLUMNS} FROM certledger.tracking t {JOINED} WHERE t.ledger = %s AND t.view = %s",
        (ledger, name),
    )
    for row in cursor.fetchall():
        check_progress(row_keys, ledger, view, generation, StoredProgress(*row))


def _key_text(generation: int) -> str:
    return f"progress|{generation}"


def _payload(position: int, leaf: bytes) -> bytes:
    return position.to_bytes(8) + leaf
