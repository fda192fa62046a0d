"""Histories over HTTP: concurrent clients of two services on one database, with all of them killed.

Covers: api/server/main.py, domain/service/ledger.py, projections/engine/runner.py
"""

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
from api.auth.secrets import load_service_keys
from api.settings import load_settings
from api.transparency.log_keys import make_log_key
from api.transparency.service_keys import keys_in_use
from domain.service.ledger import Ledgers, LedgerSecrets
from domain.store.embedded.server import EmbeddedPostgres
from domain.store.postgres.migrate import migrate
from tests.consistency.clients import ServiceEndpoint
from tests.consistency.domain_reads import VIEWS
from tests.consistency.domain_spec import Read
from tests.consistency.faults import terminate_connections
from tests.consistency.history import Shown, Wrote
from tests.consistency.scenario import Scenario
from tests.consistency.service_process import ServiceProcess
from tests.support.keys import COMMAND_KEY, EPOCH_DIRECTORY, IDEMPOTENCY_KEY, SEALER, text_of
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
class Deployment:
    """A database server, two services on it, and their endpoints."""

    server: EmbeddedPostgres
    secrets: LedgerSecrets
    scenario: Scenario
    services: Sequence[ServiceProcess]
    endpoints: Sequence[ServiceEndpoint]

    def run(self, rounds: int, *faults_at: tuple[int, Callable[[], None]]) -> None:
        """Run the clients, and call each fault after so many more requests."""
        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(self.scenario.run, self.endpoints, rounds)
            for count, fault in faults_at:
                enough = self.scenario.recorder.count + count
                wait_until(lambda n=enough: self.scenario.recorder.count >= n or working.done(), 60)
                fault()
            working.result()

    def judge(self) -> None:
        """Judge the history so far, with a read of every view at the head."""
        ledgers = Ledgers(self.server.dsn(), self.secrets)
        head = ledgers.get("omc").journal.head().position
        ledgers.close()
        for endpoint in self.endpoints:
            self.read_views(endpoint, head)
        self.scenario.judge(self.server.dsn(), self.secrets)

    def read_views(self, endpoint: ServiceEndpoint, position: int, *reads: Read) -> None:
        """Read views at a position, all if none is named, as part of the history."""

        def is_shown(read: Read) -> bool:
            run = self.scenario.recorder.run
            return isinstance(run("reader", read, lambda: endpoint.read(read, position)), Shown)

        for read in reads or EVERY_VIEW:
            wait_until(partial(is_shown, read))

    # --- faults -----------------------------------------------------------------------------------

    def terminate_all_connections(self) -> None:
        """Terminate all connections of both services."""
        terminate_connections(Database(self.server, "certledger"), "certledger%")

    def kill(self, number: int) -> None:
        """Kill a service and start it again."""
        self.services[number].kill()
        self.services[number].start()

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the database server by a signal and start it again."""
        pid = self.server.pid()
        assert pid is not None
        os.kill(pid, how)
        wait_until(lambda: self.server.pid() is None)
        self.server.start()


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """Two services on their own server, with a ledger in the middle of its work."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(TemporaryDirectory(prefix="certledger-test-", dir="/tmp"))
        )
        server = stack.enter_context(EmbeddedPostgres(folder))
        migrate(server.dsn())
        settings = {
            "database_url": server.dsn(), "data_dir": str(folder / "service"), "master_key": KEY,
            "key_dir": str(EPOCH_DIRECTORY),
            "index_key": KEY, "journal_key": SEALER.active.text, "token_key": TOKEN_KEY,
            "command_key": text_of(COMMAND_KEY), "idempotency_key": text_of(IDEMPOTENCY_KEY),
            "lookup_limit": False, "login_key": KEY, "link_key": KEY,
            "work": False,  # the specification knows the events of clients only
        }  # fmt: skip
        loaded = load_settings(**settings)
        keys = load_service_keys(loaded)
        secrets = secrets_of_ledgers(loaded, keys)
        ledgers = Ledgers(server.dsn(), secrets, keys_of=partial(keys_in_use, loaded, keys))
        make_log_key(loaded, "omc")
        scenario = Scenario(ledgers.create("omc", SITE_CODE), SEED)
        ledgers.close()
        crew = stack.enter_context(ThreadPoolExecutor(SENDERS))
        services = [f.result() for f in [crew.submit(ServiceProcess, **settings) for _ in range(2)]]
        for service in services:
            stack.callback(service.stop)
        with httpx.Client(base_url=services[0].url, timeout=30, trust_env=False) as client:
            routes = routes_of(client)
        endpoints = [ServiceEndpoint(service.url, "omc", routes, crew) for service in services]
        for endpoint in endpoints:
            stack.callback(endpoint.close)
        found = Deployment(server, secrets, scenario, services, endpoints)
        for endpoint in endpoints:
            found.read_views(endpoint, scenario.position)
        yield found


def test_a_history_of_two_services_is_serialisable(deployment: Deployment) -> None:
    deployment.run(20)
    deployment.judge()
    deployment.scenario.expect_varied_outcomes()


def test_a_history_of_two_services_with_faults_is_serialisable(deployment: Deployment) -> None:
    deployment.run(
        20,
        (30, deployment.terminate_all_connections),
        (30, lambda: deployment.kill(0)),
        (30, deployment.restart),
        (30, lambda: deployment.kill(1)),
        (30, deployment.terminate_all_connections),
    )
    deployment.judge()


def test_a_database_crash_reverts_nothing_that_a_view_has_shown(
    deployment: Deployment,
) -> None:
    endpoint = deployment.endpoints[0]
    read = Read("totals")
    for _ in range(3):
        for request in deployment.scenario.new_candidate():
            [answer] = [done.result(60) for done in deployment.scenario.ask(endpoint, request)]
            assert isinstance(answer, Wrote)
        position = answer.receipt["last_position"]
        deployment.read_views(endpoint, position, read)
        deployment.restart(signal.SIGQUIT)
        for _ in range(10):
            deployment.read_views(endpoint, position, read)
    deployment.judge()
