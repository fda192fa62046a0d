"""Faults between a writer and its database, random from a seed."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import psycopg2.extensions

from domain.store.embedded.server import SUPERUSER
from tests.support.postgres import Database, query
from tests.support.waiting import wait_until

_BLOCK = 65_536


class FaultyProxy:
    """A proxy in front of PostgreSQL that delays or drops requests and responses.

    A dropped response may be that of a COMMIT that succeeded. A delayed one leaves the writer time
    to execute the next batch. The server's account needs access to the directory.
    """

    def __init__(self, dsn: str, directory: Path, seed: int) -> None:
        """Relays everything outside of `faults`."""
        self._target = psycopg2.extensions.parse_dsn(dsn)
        self._directory = directory
        self._rng = random.Random(seed)
        self._late = self._lost_requests = self._lost_answers = 0.0
        self.lost = 0
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(directory / ".s.PGSQL.5432"))
        self._server.listen(64)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def dsn(self) -> str:
        here = {"host": str(self._directory), "port": "5432"}
        return psycopg2.extensions.make_dsn(**(self._target | here))

    @contextlib.contextmanager
    def faults(
        self, *, late: float = 0.3, lost_requests: float = 0.004, lost_answers: float = 0.015
    ) -> Iterator[None]:
        """Inject faults at these rates of all messages while the block runs."""
        self._late = late
        self._lost_requests, self._lost_answers = lost_requests, lost_answers
        try:
            yield
        finally:
            self._late = self._lost_requests = self._lost_answers = 0.0

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            upstream = socket.socket(socket.AF_UNIX)
            try:
                upstream.connect(f"{self._target['host']}/.s.PGSQL.{self._target['port']}")
            except OSError:  # it is being started
                client.close()
                upstream.close()
                continue
            ends = [client, upstream]
            both = threading.Barrier(2, action=lambda ends=ends: [end.close() for end in ends])
            for source, sink in ((client, upstream), (upstream, client)):
                thread = threading.Thread(
                    target=self._relay, args=(source, sink, both, source is client), daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def _relay(
        self, source: socket.socket, sink: socket.socket, both: threading.Barrier, asks: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(_BLOCK):
                if self._rng.random() < (self._lost_requests if asks else self._lost_answers):
                    self.lost += 1
                    if asks and self._rng.random() < 0.5:
                        self._deliver_late_to_a_closed_client(source, sink, block)
                    break
                if self._rng.random() < self._late:
                    time.sleep(self._rng.uniform(0.001, 0.01))
                sink.sendall(block)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        both.wait()

    def _deliver_late_to_a_closed_client(
        self, client: socket.socket, server: socket.socket, last: bytes
    ) -> None:
        """Close the client's connection, and deliver its last message later."""
        client.shutdown(socket.SHUT_RDWR)
        time.sleep(self._rng.uniform(0, 0.1))
        server.sendall(last)


POISON = """
CREATE FUNCTION certledger.poisoned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'poison' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER poisoned BEFORE INSERT ON certledger.journal FOR EACH ROW
    WHEN (NEW.topic = 'poison.v1') EXECUTE FUNCTION certledger.poisoned();
"""

RANDOM_FAILURES = """
CREATE FUNCTION certledger.random_failure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < 0.02 THEN
        RAISE EXCEPTION 'a random_failure' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER random_failure AFTER INSERT ON certledger.journal
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.random_failure();
CREATE CONSTRAINT TRIGGER random_failure_at_commit AFTER UPDATE ON certledger.ledgers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION certledger.random_failure();
"""


HELD_COMMIT = """
CREATE SEQUENCE certledger.held_commits;
GRANT USAGE ON certledger.held_commits TO certledger_app;
CREATE FUNCTION certledger.held_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(77);
    IF nextval('certledger.held_commits') = 1 AND TG_ARGV[0] <> '' THEN
        RAISE EXCEPTION 'the held commit fails' USING ERRCODE = TG_ARGV[0];
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER held_commit AFTER INSERT ON certledger.journal
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.topic = '{topic}')
    EXECUTE FUNCTION certledger.held_commit('{sqlstate}');
"""


TERMINATED = "the server ends the connection"
ANSWER_LOST = "it succeeds, and the response is lost"
FAILURES = ("serialization_failure", "check_violation", TERMINATED, ANSWER_LOST)


class HeldCommit:
    """Holds the commits of a topic until released; the first one then fails."""

    def __init__(self, database: Database, topic: str, failure: str, proxy: FaultyProxy) -> None:
        """failure: one of FAILURES. proxy: that can drop a response."""
        self._database = database
        self._failure = failure
        self._line = proxy
        sqlstate = "" if failure in (TERMINATED, ANSWER_LOST) else failure
        database.execute(HELD_COMMIT.format(topic=topic, sqlstate=sqlstate))
        self._holder = psycopg2.connect(database.admin_dsn)
        with self._holder.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(77)")

    def waiting(self) -> list[int]:
        """Process ids of the backends that wait for a lock; the held one first."""
        found = self._database.execute(
            "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid) "
            "WHERE a.datname = %s AND NOT l.granted ORDER BY l.locktype <> 'advisory'",
            self._database.name,
            user=SUPERUSER,
        )
        return [pid for (pid,) in found]

    def release(self) -> None:
        """Release it to fail; later commits are unaffected."""
        held = self.waiting()[0]
        if self._failure == TERMINATED:
            self._database.execute("SELECT pg_terminate_backend(%s)", held, user=SUPERUSER)
        if self._failure == ANSWER_LOST:
            with self._line.faults(late=0.0, lost_answers=1.0):
                self.close()
                wait_until(lambda: held not in self.waiting())
                wait_until(lambda: self._line.lost > 0)
        self.close()

    def close(self) -> None:
        """Release the lock. May be repeated."""
        self._holder.close()


def reject_poison(dsn: str) -> None:
    """Make the database reject poisoned events."""
    query(dsn, POISON)


def fail_transactions_at_random(dsn: str) -> None:
    """Make transactions fail at random, while writing or at COMMIT."""
    query(dsn, RANDOM_FAILURES)


def terminate_connections(database: Database, name: str = "certledger writer") -> None:
    """Have the server terminate the connections of that name."""
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = %s AND application_name LIKE %s",
        database.name,
        name,
        user=SUPERUSER,
    )


@contextlib.contextmanager
def at_random_intervals(
    seed: int, seconds: tuple[float, float], fault: Callable[[], object]
) -> Iterator[None]:
    """Call `fault` repeatedly while the block runs."""
    stop = threading.Event()
    rng = random.Random(seed)

    def work() -> None:
        while not stop.wait(rng.uniform(*seconds)):
            fault()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
