"""A database that lost a part of its history, or has another one, under a service that runs on it.

A rollback: the whole cluster is put back to an earlier moment, while the service waits for its
database and then connects again (F-ROLL). A fork: two copies of one ledger both go on, and keep
their heads in one place; the one that comes second stops. Another database of the same name, with
as many events, takes the place of the one under a running service.
Covers: domain/store/journal/last_seen.py, domain/store/tlog/checkpoints.py,
api/transparency/head_places.py
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from api.settings import Settings
from api.transparency.log_keys import make_log_key
from domain.store.embedded.server import SUPERUSER, EmbeddedPostgres
from domain.store.postgres.migrate import migrate
from domain.store.tlog.checkpoints import PLACES_EVERY_S
from domain.store.tlog.heads import folder_of
from tests.consistency.live_ledger import (
    ORIGIN,
    SWITCHES,
    LiveLedger,
    as_texts,
    running_on,
)
from tests.consistency.service_process import ServiceProcess
from tests.support.commands import introduce_key
from tests.support.honest import Honest, copy_of
from tests.support.ledgers import SITE_CODE, submit
from tests.support.place_server import PlaceServer, place_server
from tests.support.postgres import Database
from tests.support.rolled_back import heads, problems, refusal, write
from tests.support.service import LedgerClient, opening, settings_for
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


# --- a rollback -----------------------------------------------------------------------------------


class RestartedServer:
    """A database server whose cluster can be put back to what it was."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._old = server.data_dir / "old"

    def keep(self) -> None:
        """Stop, keep a copy of the cluster, and start again."""
        self._stop()
        self._copy(self._server.cluster_dir, self._old)
        self._server.start()

    def put_back(self) -> None:
        """Stop, take the copy instead of the cluster, and start again."""
        self._stop()
        shutil.rmtree(self._server.cluster_dir)
        self._copy(self._old, self._server.cluster_dir)
        self._server.start()

    def _stop(self) -> None:
        pid = self._server.pid()
        assert pid is not None
        os.kill(pid, signal.SIGINT)
        wait_until(lambda: self._server.pid() is None)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        subprocess.run(["cp", "-a", source, target], check=True)  # with the owner of each file


@pytest.fixture
def server(server_dir: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(server_dir) as started:
        migrate(started.dsn())
        yield started


@pytest.fixture
def settings(server: EmbeddedPostgres, tmp_path: Path) -> Settings:
    made = settings_for(server.dsn(), tmp_path)
    make_log_key(made, "omc")
    return made


@pytest.fixture
def service(settings: Settings) -> Iterator[ServiceProcess]:
    """A service process with the log key."""
    started = ServiceProcess(**as_texts(settings), **SWITCHES)
    yield started
    started.stop()


def test_a_cluster_rolled_back_under_a_running_service_stops_it(
    server: EmbeddedPostgres, settings: Settings, service: ServiceProcess
) -> None:
    cluster = RestartedServer(server)
    with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client:
        ledger = LedgerClient(client, "omc", SITE_CODE)

        def is_ready() -> bool:
            return client.get("/ready").status_code == 200

        wait_until(is_ready)
        ledger.caller("operator").write("", opening(SITE_CODE, "omc"), method="PUT")
        assert write(ledger, 1) == [201]
        wait_until(lambda: heads(settings))
        cluster.keep()
        wait_until(is_ready)
        assert write(ledger, 2, 3) == [201, 201], "a restart of the database alone stops nothing"
        size = len(ledger.caller("regulator").read("events", limit=200)["data"])
        wait_until(lambda: size in heads(settings))
        before = heads(settings)
        cluster.put_back()
        wait_until(lambda: "log_not_continued" in problems(ledger), 30)
        assert refusal(ledger) == "log_not_continued"
        shown = ledger.caller("regulator").read("events", limit=200)["data"]
        assert len(shown) == size - 2, "reads show what there is"
        assert heads(settings) == before
        service.kill()
        service.start()
        assert refusal(ledger) == "log_not_continued"
        assert heads(settings) == before


# --- another database of the same name ------------------------------------------------------------


def exchange_names(one: Database, other: Database) -> None:
    """Let two databases of a server change their names, and end their connections."""
    names = (one.name, other.name)
    admin = Database(one.server, "postgres")
    for name in names:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", user=SUPERUSER)

    def is_alone() -> bool:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s)",
            list(names),
            user=SUPERUSER,
        )
        return not ended

    wait_until(is_alone)
    for old, new in ((names[0], "between"), (names[1], names[0]), ("between", names[1])):
        admin.execute(f"ALTER DATABASE {old} RENAME TO {new}", user=SUPERUSER)
    for name in names:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true", user=SUPERUSER)


def test_another_database_of_the_same_name_under_a_running_service_stops_it(
    honest: Honest, tmp_path: Path
) -> None:
    with (
        copy_of(honest, tmp_path / "one") as copy,
        copy_of(honest, tmp_path / "other") as twin,
        running_on(copy) as live,
    ):
        submit(twin.store.ledgers.get("omc"), introduce_key("0a0b0c0d"), key="of the twin")
        assert live.refusal() is None
        live.wait_for_head()
        assert twin.store.ledgers.get("omc").journal.head().position == len(live.leaves)
        assert live.reader.journal.check_history()
        before = live.heads()
        exchange_names(copy.database, twin.database)
        live.wait_for_problem("log_not_continued")
        assert live.refusal(2) == "log_not_continued"
        assert not live.reader.journal.check_history(), "another process notices it, too"
        live.restart()
        assert live.refusal(2) == "log_not_continued"
        assert live.heads() == before


# --- a fork ---------------------------------------------------------------------------------------


@pytest.fixture(params=["directory", "address"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | PlaceServer]:
    """A second place of heads: the address of a server, or a directory."""
    if request.param == "directory":
        (tmp_path / "shared").mkdir()
        yield str(tmp_path / "shared")
        return
    with place_server() as running:
        yield running


def in_place(place: str | PlaceServer) -> dict[int, str]:
    """The heads in the shared place, by size."""
    if isinstance(place, PlaceServer):
        return {int(path.rpartition("/")[2]): note for path, note in place.kept.items()}
    folder = Path(place) / folder_of(ORIGIN)
    return {int(path.name): path.read_text() for path in folder.glob("[0-9]*")}


@pytest.fixture
def twins(
    honest: Honest, place: str | PlaceServer, tmp_path: Path
) -> Iterator[tuple[LiveLedger, LiveLedger]]:
    """Services on two copies of one data directory, which keep their heads in one place, too."""
    address = place.address if isinstance(place, PlaceServer) else place
    with ExitStack() as stack:
        made = []
        for name in ("one", "other"):
            copy = stack.enter_context(copy_of(honest, tmp_path / name))
            made.append(stack.enter_context(running_on(copy, head_places=address)))
        yield made[0], made[1]


def test_the_second_of_two_copies_that_go_on_stops_and_overwrites_nothing(
    twins: tuple[LiveLedger, LiveLedger], place: str | PlaceServer
) -> None:
    one, other = twins
    before = other.heads()
    assert one.refusal(1) is None
    one.wait_for_head()
    wait_until(lambda: len(one.leaves) in in_place(place))
    shared_before = in_place(place)
    # The other one goes on, too, until it is about to sign; that is within a second.
    assert other.refusal(2) in (None, "log_not_continued")
    other.wait_for_problem("log_not_continued")
    assert other.refusal(3) == "log_not_continued"
    assert (other.heads(), in_place(place)) == (before, shared_before)
    assert one.refusal(4) is None
    one.wait_for_head()
    wait_until(lambda: len(one.leaves) in in_place(place))
    assert one.problems() == set()
    assert shared_before.items() <= in_place(place).items()
    other.restart()
    assert other.refusal(5) == "log_not_continued"
    assert other.heads() == before
    differing = [str(found) for found in other.audit().findings]
    assert any("another root" in what or "was signed" in what for what in differing), differing
    assert one.audit().is_good


def test_a_copy_that_only_waits_stops_when_it_asks_the_places_again(
    twins: tuple[LiveLedger, LiveLedger], place: str | PlaceServer
) -> None:
    one, other = twins
    assert one.refusal(1) is None
    wait_until(lambda: len(one.leaves) in in_place(place))
    wait_until(lambda: "log_not_continued" in other.problems(), 3 * PLACES_EVERY_S)
    assert other.refusal(2) == "log_not_continued"
