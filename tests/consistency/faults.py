"""Things that go wrong between a writer and its database, at random and from a seed."""

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


class TroubledLine:
    """A relay in front of PostgreSQL on which messages and answers are late or lost.

    An answer that is lost may be that of a COMMIT: what it answers has happened, and nobody is
    told. One that is late leaves a writer time to decide the next batch. The directory has to let
    the server's account in.
    """

    def __init__(self, dsn: str, directory: Path, seed: int) -> None:
        """All is relayed until `troubled`."""
        self._target = psycopg2.extensions.parse_dsn(dsn)
        self._directory = directory
        self._dice = random.Random(seed)
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
    def troubled(
        self, *, late: float = 0.3, lost_requests: float = 0.004, lost_answers: float = 0.015
    ) -> Iterator[None]:
        """How often that happens, of all messages, while the block runs."""
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

    def __enter__(self) -> TroubledLine:
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
                if self._dice.random() < (self._lost_requests if asks else self._lost_answers):
                    self.lost += 1
                    if asks and self._dice.random() < 0.5:
                        self._late_and_unheard(source, sink, block)
                    break
                if self._dice.random() < self._late:
                    time.sleep(self._dice.uniform(0.001, 0.01))
                sink.sendall(block)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        both.wait()

    def _late_and_unheard(self, client: socket.socket, server: socket.socket, last: bytes) -> None:
        """The client's connection ends here; what it sent last arrives all the same, later."""
        client.shutdown(socket.SHUT_RDWR)
        time.sleep(self._dice.uniform(0, 0.1))
        server.sendall(last)


POISON = """
CREATE FUNCTION certledger.poisoned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'poison' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER poisoned BEFORE INSERT ON certledger.journal FOR EACH ROW
    WHEN (NEW.topic = 'poison.v1') EXECUTE FUNCTION certledger.poisoned();
"""

MISHAPS = """
CREATE FUNCTION certledger.mishap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < 0.02 THEN
        RAISE EXCEPTION 'a mishap' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER mishap AFTER INSERT ON certledger.journal
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.mishap();
CREATE CONSTRAINT TRIGGER mishap_at_commit AFTER UPDATE ON certledger.ledgers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION certledger.mishap();
"""


STUMBLE = """
CREATE SEQUENCE certledger.stumbles;
GRANT USAGE ON certledger.stumbles TO certledger_app;
CREATE FUNCTION certledger.stumble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(77);
    IF nextval('certledger.stumbles') = 1 AND TG_ARGV[0] <> '' THEN
        RAISE EXCEPTION 'it stumbled' USING ERRCODE = TG_ARGV[0];
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER stumble AFTER INSERT ON certledger.journal
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.topic = '{topic}')
    EXECUTE FUNCTION certledger.stumble('{sqlstate}');
"""


TERMINATED = "the server ends the connection"
ANSWER_LOST = "it succeeds, and nobody is told"
FAILURES = ("serialization_failure", "check_violation", TERMINATED, ANSWER_LOST)


class Stumble:
    """A commit of some topic that is held until it is let go, and then fails, the first time."""

    def __init__(self, database: Database, topic: str, failure: str, line: TroubledLine) -> None:
        """failure: one of FAILURES. line: on which an answer can be lost."""
        self._database = database
        self._failure = failure
        self._line = line
        sqlstate = "" if failure in (TERMINATED, ANSWER_LOST) else failure
        database.execute(STUMBLE.format(topic=topic, sqlstate=sqlstate))
        self._holder = psycopg2.connect(database.admin_dsn)
        with self._holder.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(77)")

    def waiting(self) -> list[int]:
        """Process ids of the backends that wait for a lock: the held one comes first."""
        found = self._database.execute(
            "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid) "
            "WHERE a.datname = %s AND NOT l.granted ORDER BY l.locktype <> 'advisory'",
            self._database.name,
            user=SUPERUSER,
        )
        return [pid for (pid,) in found]

    def let_go(self) -> None:
        """Let it fail; from then on it is as any other."""
        held = self.waiting()[0]
        if self._failure == TERMINATED:
            self._database.execute("SELECT pg_terminate_backend(%s)", held, user=SUPERUSER)
        if self._failure == ANSWER_LOST:
            with self._line.troubled(late=0.0, lost_answers=1.0):
                self.close()
                wait_until(lambda: held not in self.waiting())
                wait_until(lambda: self._line.lost > 0)
        self.close()

    def close(self) -> None:
        """Hold nothing any more. May be repeated."""
        self._holder.close()


def forbid_poison(dsn: str) -> None:
    """From now on the database refuses poisoned events, whatever the program thinks of them."""
    query(dsn, POISON)


def make_mishaps(dsn: str) -> None:
    """From now on a transaction fails now and then, while it writes or only when it commits."""
    query(dsn, MISHAPS)


def end_connections(database: Database, name: str = "certledger writer") -> None:
    """Have the server end the connections of that name."""
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = %s AND application_name LIKE %s",
        database.name,
        name,
        user=SUPERUSER,
    )


@contextlib.contextmanager
def now_and_then(
    seed: int, seconds: tuple[float, float], harm: Callable[[], object]
) -> Iterator[None]:
    """Do some harm again and again while the block runs."""
    stop = threading.Event()
    dice = random.Random(seed)

    def work() -> None:
        while not stop.wait(dice.uniform(*seconds)):
            harm()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
