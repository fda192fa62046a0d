"""Checks the seals of rows; `table_writer` makes them. See `Table.sealed`."""

from __future__ import annotations

from collections.abc import Iterable

from domain.store.errors import RecordOutdated as RecordOutdated
from domain.store.errors import SealBroken
from domain.store.errors import ViewWrong as ViewWrong
from domain.store.keys.seals import check_row


def check_seal(
    row_keys: Iterable[bytes], ledger: str, view: str, key_text: str, payload: bytes, seal: str
) -> None:
    """Check the seal of a row, as the column has it.

    row_keys: derived, the active one first; see `domain.store.keys.seals.Sealer.row_keys`.
    Raises: ViewWrong if none of them made it.
    """
    try:
        check_row(row_keys, ledger, view, key_text, payload, bytes.fromhex(seal))
    except (SealBroken, ValueError):
        raise ViewWrong(view=view) from None
