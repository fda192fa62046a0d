"""Histories over HTTP: a crowd at two services on one database, which are killed, and it too."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from api.app import secrets_of_ledgers
from api.auth.secrets import load_secrets
from api.settings import load_settings
from domain.service.ledger import Ledgers, LedgerSecrets
from domain.store.embedded.server import EmbeddedPostgres
from domain.store.postgres.migrate import migrate
from tests.consistency.clients import ServiceDoor
from tests.consistency.domain_reads import VIEWS
from tests.consistency.domain_spec import Read
from tests.consistency.faults import end_connections
from tests.consistency.history import Shown, Wrote
from tests.consistency.scenario import Gathering
from tests.consistency.service_process import Serving
from tests.support.ledgers import SITE_CODE
from tests.support.over_http import routes_of
from tests.support.postgres import Database
from tests.support.service import TOKEN_KEY
from tests.support.waiting import wait_until

SEED = 20261123
SENDERS = 24
KEY = base64.b64encode(bytes(range(32))).decode()

EVERY_VIEW = [
    Read(what, {"rows": "N2", "objections": "N2"}.get(what, "A1")) for what in sorted(VIEWS)
]

pytestmark = pytest.mark.slow


@dataclass
class Place:
    """A database server, two services on it, and their doors."""

    server: EmbeddedPostgres
    secrets: LedgerSecrets
    gathering: Gathering
    services: Sequence[Serving]
    doors: Sequence[ServiceDoor]

    def gather(self, rounds: int, *harms: tuple[int, Callable[[], None]]) -> None:
        """Let the crowd work, and do harm when so many things were asked for."""
        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(self.gathering.at, self.doors, rounds)
            for count, harm in harms:
                enough = self.gathering.recorder.count + count
                wait_until(
                    lambda n=enough: self.gathering.recorder.count >= n or working.done(), 60
                )
                harm()
            working.result()

    def judge(self) -> None:
        """What was asked and told so far, and what the views have come to show."""
        ledgers = Ledgers(self.server.dsn(), self.secrets)
        head = ledgers.get("omc").journal.head().position
        ledgers.close()
        for door in self.doors:
            self.look(door, head)
        self.gathering.judge(self.server.dsn(), self.secrets)

    def look(self, door: ServiceDoor, position: int, *reads: Read) -> None:
        """Look at views from a position on, at all if none is named; as part of the history."""

        def is_shown(read: Read) -> bool:
            run = self.gathering.recorder.run
            return isinstance(run("looker", read, lambda: door.read(read, position)), Shown)

        for read in reads or EVERY_VIEW:
            wait_until(partial(is_shown, read))

    # --- harm ------------------------------------------------------------------------------------

    def cut_off(self) -> None:
        """All connections of both services end."""
        end_connections(Database(self.server, "certledger"), "certledger%")

    def kill(self, number: int) -> None:
        """A service dies and is started again."""
        self.services[number].kill()
        self.services[number].start()

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """The database server ends and is started again."""
        pid = self.server.pid()
        assert pid is not None
        os.kill(pid, how)
        wait_until(lambda: self.server.pid() is None)
        self.server.start()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """Two services on a server of their own, with a ledger in the middle of its work."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(TemporaryDirectory(prefix="certledger-test-", dir="/tmp"))
        )
        server = stack.enter_context(EmbeddedPostgres(folder))
        migrate(server.dsn())
        settings = {
            "database_url": server.dsn(), "data_dir": str(folder / "service"), "master_key": KEY,
            "index_key": KEY, "token_key": TOKEN_KEY, "lookup_limit": False,
        }  # fmt: skip
        loaded = load_settings(**settings)
        secrets = secrets_of_ledgers(loaded, load_secrets(loaded))
        ledgers = Ledgers(server.dsn(), secrets)
        gathering = Gathering(ledgers.create("omc", SITE_CODE), SEED)
        ledgers.close()
        crew = stack.enter_context(ThreadPoolExecutor(SENDERS))
        services = [f.result() for f in [crew.submit(Serving, **settings) for _ in range(2)]]
        for service in services:
            stack.callback(service.stop)
        with httpx.Client(base_url=services[0].url, timeout=30, trust_env=False) as client:
            routes = routes_of(client)
        doors = [ServiceDoor(service.url, "omc", routes, crew) for service in services]
        for door in doors:
            stack.callback(door.close)
        found = Place(server, secrets, gathering, services, doors)
        for door in doors:
            found.look(door, gathering.position)
        yield found


def test_a_crowd_at_two_services_sees_one_ledger(place: Place) -> None:
    place.gather(20)
    place.judge()
    place.gathering.expect_busy()


def test_a_crowd_at_two_services_sees_one_ledger_whatever_breaks(place: Place) -> None:
    place.gather(
        20,
        (30, place.cut_off),
        (30, lambda: place.kill(0)),
        (30, place.restart),
        (30, lambda: place.kill(1)),
        (30, place.cut_off),
    )
    place.judge()


def test_a_crash_of_the_database_takes_nothing_back_that_a_view_was_asked_for(place: Place) -> None:
    door = place.doors[0]
    read = Read("totals")
    for _ in range(3):
        for wish in place.gathering.newcomer():
            [answer] = [done.result(60) for done in place.gathering.ask(door, wish)]
            assert isinstance(answer, Wrote)
        position = answer.receipt["last_position"]
        place.look(door, position, read)
        place.restart(signal.SIGQUIT)
        for _ in range(10):
            place.look(door, position, read)
    place.judge()
