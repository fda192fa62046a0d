"""What a PostgreSQL error means for the caller: one table of SQLSTATE classes, one question each.

| SQLSTATE | what happened | connection failure | retryable write | transient |
|---|---|---|---|---|
| none | the server vanished, or never answered | yes | yes | yes |
| 08 | connection exception | yes | yes | yes |
| 25 | transaction in the wrong state, such as read-only after a failover | | | yes |
| 40 | rolled back: deadlock, serialization failure | | yes | yes |
| 53 | resources: disk, memory, connections | | yes | yes |
| 55P03 | lock not granted in time | | yes | yes |
| 55, others | object not in the required state | | yes | |
| 57P | shut down, crashed, starting up, database dropped | yes | yes | yes |
| 57, others | cancelled: statement timeout or an operator | | yes | yes |
| 58 | system error, such as I/O | | | yes |

The columns differ for a reason. After a *connection failure* another connection may succeed at
once. A *retryable write* is repeated under the head lock within the caller's deadline, so classes
that persist (25, 58) are reported instead. After a *transient* error a projection waits and never
gives up, and a reader gets 503: 55 other than a lock timeout would be a fault of the program.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2.errorcodes import (
    FEATURE_NOT_SUPPORTED,
    INVALID_SQL_STATEMENT_NAME,
    LOCK_NOT_AVAILABLE,
    UNDEFINED_COLUMN,
    UNDEFINED_TABLE,
)

from domain.store.errors import Unavailable

_CONNECTION_FAILURE = ("08", "57P")
_RETRYABLE_WRITE = ("40", "53", "55", "57")
_TRANSIENT = ("08", "25", "40", "53", "57", "58", LOCK_NOT_AVAILABLE)
_STALE_STATEMENT = frozenset({FEATURE_NOT_SUPPORTED, INVALID_SQL_STATEMENT_NAME})
_MISSING_RELATION = frozenset({UNDEFINED_COLUMN, UNDEFINED_TABLE})


def is_connection_failure(error: psycopg2.Error) -> bool:
    """Whether the connection failed rather than the statement.

    `connection.closed` does not answer this: when the server vanishes in the middle of an answer,
    psycopg2 may still report the connection as open, and the error as a plain DatabaseError.
    """
    return _has_code(error, _CONNECTION_FAILURE)


def is_retryable_write(error: psycopg2.Error) -> bool:
    """Whether a batch that failed with this error may succeed when it is repeated now."""
    return is_connection_failure(error) or _has_code(error, _RETRYABLE_WRITE)


def is_transient(error: Exception) -> bool:
    """Whether the server or the moment is to blame, so that the same request may succeed later."""
    return isinstance(error, psycopg2.Error) and _has_code(error, _TRANSIENT)


def is_stale_statement(error: psycopg2.Error) -> bool:
    """Whether a prepared statement has to be prepared again.

    Its tables changed their columns (0A000), or the server does not know it (26000).
    """
    return error.pgcode in _STALE_STATEMENT


def is_missing_relation(error: Exception) -> bool:
    """Whether the statement names a table or column that is not there."""
    return isinstance(error, psycopg2.Error) and error.pgcode in _MISSING_RELATION


def _has_code(error: psycopg2.Error, classes: tuple[str, ...]) -> bool:
    """Whether the SQLSTATE is of these classes, or missing because the server is gone."""
    if error.pgcode is not None:
        return error.pgcode.startswith(classes)
    lost = (psycopg2.OperationalError, psycopg2.InterfaceError)
    return isinstance(error, lost) or type(error) is psycopg2.DatabaseError


@contextmanager
def unavailable(ledger: str) -> Iterator[None]:
    """Make a connection failure in the block Unavailable. Raises: Unavailable, psycopg2.Error."""
    try:
        yield
    except psycopg2.Error as error:
        if not is_connection_failure(error):
            raise
        raise Unavailable(ledger=ledger) from error
