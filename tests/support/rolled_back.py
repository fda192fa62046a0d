"""A service on a database that is rolled back or rewritten, and what its callers meet then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from api.settings import Settings
from api.transparency.head_places import own_place
from domain.store.embedded.server import SUPERUSER
from tests.support.postgres import Database
from tests.support.service import FEES, LedgerClient, opening, running

ORIGIN = "example.org/omc"
SITE_CODE = "S000033000123"


@contextmanager
def serving(settings: Settings) -> Iterator[LedgerClient]:
    """A running service and a client of its ledger `omc`."""
    with (
        running(settings) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield LedgerClient(client, "omc", SITE_CODE)


def write(ledger: LedgerClient, *days: int) -> list[int]:
    """Propose fees from each day of September on. Returns: the status of each answer."""
    operator = ledger.caller("operator")
    answers = [operator.send("editions/fees", fees_from(f"2026-09-{day:02}")) for day in days]
    return [answer.status_code for answer in answers]


def fees_from(day: str) -> dict[str, Any]:
    """An edition of fees from a day on."""
    return FEES | {"edition": f"fees-{day}", "valid_from": day}


def refusal(ledger: LedgerClient) -> str | None:
    """The code that refuses a command; None if it is recorded."""
    answer = ledger.caller("operator").send("editions/fees", fees_from("2026-10-01"))
    return None if answer.status_code == 201 else str(answer.json()["code"])


def heads(settings: Settings, origin: str = ORIGIN) -> dict[int, str]:
    """The kept heads of a log by size."""
    place = own_place(settings)
    return {size: place.read(origin, size) or "" for size in place.sizes(origin)}


def wait_for(what: Any, seconds: float = 10) -> Any:
    """The first true value of a function within a time."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def problems(ledger: LedgerClient) -> set[str]:
    """The codes that `/health` reports."""
    return {each["code"] for each in ledger.client.get("/health").json()["problems"]}


class Copy:
    """What a database held at a moment, to be put back later; there is one at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.connect(SUPERUSER) as connection, connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA IF EXISTS old CASCADE")
            cursor.execute("CREATE SCHEMA old")
            for schema, table in self._tables(cursor):
                cursor.execute(
                    f'CREATE TABLE old."{schema}.{table}" AS SELECT * FROM {schema}.{table}'
                )

    @staticmethod
    def _tables(cursor: Any) -> list[tuple[str, str]]:
        cursor.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN "
            "('certledger', 'views') AND tablename <> 'migrations' ORDER BY 1, 2"
        )
        return list(cursor.fetchall())

    def put_back(self) -> None:
        """Roll the database back to that moment, in one transaction."""
        with (
            self._database.connect(SUPERUSER, autocommit=False) as connection,
            connection.cursor() as cursor,
        ):
            for schema, table in self._tables(cursor):
                cursor.execute(f"ALTER TABLE {schema}.{table} DISABLE TRIGGER ALL")
                cursor.execute(f"DELETE FROM {schema}.{table}")
                cursor.execute(f'INSERT INTO {schema}.{table} SELECT * FROM old."{schema}.{table}"')
            connection.commit()


def rewrite_the_tail(database: Database, after: int, *, with_heads: bool = True) -> None:
    """Alter every event after a position, with its hash, and delete the checkpoints over it.

    with_heads: whether to delete them.
    """
    with (
        database.connect(SUPERUSER, autocommit=False) as connection,
        connection.cursor() as cursor,
    ):
        for table in ("journal", "checkpoints"):
            cursor.execute(f"ALTER TABLE certledger.{table} DISABLE TRIGGER ALL")
        cursor.execute(
            "UPDATE certledger.journal SET envelope = convert_to(replace(convert_from(envelope, "
            "'UTF8'), '\"subject\":\"', '\"subject\":\"evil-'), 'UTF8') WHERE position > %s",
            (after,),
        )
        cursor.execute(
            "UPDATE certledger.journal SET leaf_hash = sha256('\\x00'::bytea || envelope) "
            "WHERE position > %s",
            (after,),
        )
        if with_heads:
            cursor.execute("DELETE FROM certledger.checkpoints WHERE size > %s", (after,))
        connection.commit()


def open_and_sign(settings: Settings, database: Database) -> Copy:
    """A ledger with signed events; the copy of the database lacks the last three of them."""
    with serving(settings) as ledger:
        ledger.caller("operator").write("", opening(SITE_CODE, "omc"), method="PUT")
        assert write(ledger, 1, 2) == [201, 201]
        [(position,)] = database.execute(
            "SELECT position FROM certledger.ledgers WHERE ledger = 'omc'"
        )
        assert wait_for(lambda: position in heads(settings))
        copy = Copy(database)
        assert write(ledger, 3, 4, 5) == [201, 201, 201]
    return copy
