"""Snapshots of folded streams: a cache outside the journal, which may be dropped at any time."""

from collections.abc import Iterable
from typing import NamedTuple

from domain.store.journal.journal import Journal


class StoredSnapshot(NamedTuple):
    """A row of the table. state: bytes that only its writer understands."""

    stream: str
    version: int
    topic: str
    state: bytes


def insert_snapshots(journal: Journal, snapshots: Iterable[StoredSnapshot]) -> None:
    """Store snapshots in one transaction.

    Raises: psycopg2.Error; a UniqueViolation if there is one of that stream and version.
    """
    with journal.unit_of_work() as cursor:
        for snapshot in snapshots:
            cursor.execute(
                "INSERT INTO certledger.snapshots (ledger, stream, version, topic, state) "
                "VALUES (%s, %s, %s, %s, %s)",
                (journal.ledger, *snapshot),
            )


def select_snapshots(
    journal: Journal,
    stream: str,
    *,
    gt: int | None = None,
    lte: int | None = None,
    desc: bool = False,
    limit: int | None = None,
) -> list[StoredSnapshot]:
    """Snapshots of one stream in order of version (backwards if desc), gt < version <= lte."""
    direction = "DESC" if desc else "ASC"
    rows = journal.query(
        "SELECT stream, version, topic, state FROM certledger.snapshots "
        "WHERE ledger = %(ledger)s AND stream = %(stream)s "
        "AND (%(gt)s::bigint IS NULL OR version > %(gt)s) "
        "AND (%(lte)s::bigint IS NULL OR version <= %(lte)s) "
        f"ORDER BY version {direction} LIMIT %(limit)s",
        {"ledger": journal.ledger, "stream": stream, "gt": gt, "lte": lte, "limit": limit},
    )
    return [
        StoredSnapshot(name, version, topic, bytes(state)) for name, version, topic, state in rows
    ]
