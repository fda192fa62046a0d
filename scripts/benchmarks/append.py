"""append: durable appends a second, one event each, with hashes, claims and idempotency keys.

Peers append the same event with their own version check; the limit is a bare INSERT of a row of
the same size by a prepared statement.
"""

import re
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from domain.store.journal import envelope as envelopes
from scripts.benchmarks import peer_environments as peers
from scripts.benchmarks.measure import (
    Comparison,
    Contender,
    Plan,
    Sample,
    child,
    compare,
    ours,
    take_turns,
)
from scripts.benchmarks.sample import append_of
from scripts.benchmarks.server import LEDGER, Server, program

WRITERS = (1, 8, 32)
SECONDS = 5.0

STOCK, EMMETT, BARE = "eventsourcing recorder", "emmett-postgresql", "bare INSERT by pgbench"
THREADS = "ours, a thread a writer"

_TPS = re.compile(r"tps = ([0-9.]+)")
_LATENCY = re.compile(r"latency average = ([0-9.]+) ms")

_BARE_TABLE = """CREATE TABLE bare (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, envelope bytea NOT NULL)"""


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Measure all contenders at each number of writers."""
    found: list[Comparison] = []
    for writers in WRITERS:
        found += _with_writers(server, plan, writers)
    return found


def _with_writers(server: Server, plan: Plan, writers: int) -> list[Comparison]:
    seconds = plan.seconds(SECONDS)
    contenders = [
        _ours("ours", server, writers, seconds, "tasks"),
        _stock(server, writers, seconds),
        _emmett(server, writers, seconds),
    ]
    if writers == max(WRITERS):
        contenders.append(_ours(THREADS, server, writers, seconds, "threads"))
        contenders.append(_bare(server, writers, seconds))
    samples = take_turns(contenders, plan.rounds, server.settle)
    most = writers == max(WRITERS)
    bars = {STOCK: ">= 25" if most else "", EMMETT: ">= 4" if most else "", BARE: ">= 0.9"}
    case = f"{writers} writer" + "s" * (writers > 1)
    also = {"writers": writers, "envelope_bytes": len(_envelope())}
    return [
        *compare("append", case, "appends/s", samples, "ours", bars, **also),
        *compare("append", case, "appends/s", samples, "ours", {THREADS: ""}, **also),
    ]


def _ours(name: str, server: Server, writers: int, seconds: float, clients: str) -> Contender:
    dsn = server.ledger_database(f"ours_{clients}_{writers}")
    turns = iter(range(1000))

    def turn() -> Sample:
        order = {"dsn": dsn, "ledger": LEDGER, "writers": writers, "seconds": seconds}
        return child(ours("ours_append"), {**order, "clients": clients, "run": next(turns)})

    return Contender(name, turn)


def _stock(server: Server, writers: int, seconds: float) -> Contender:
    database = f"stock_{writers}"
    server.database(database)
    state = _envelope().hex()

    def turn() -> Sample:
        command = [peers.python(), str(peers.HERE / "stock_append.py")]
        order = {"host": server.socket_dir, "database": database, "user": "certledger"}
        return child(command, {**order, "writers": writers, "seconds": seconds, "state": state})

    return Contender(STOCK, turn)


def _emmett(server: Server, writers: int, seconds: float) -> Contender:
    dsn = server.database(f"emmett_{writers}")

    def turn() -> Sample:
        node, place = peers.node()
        order = {"dsn": dsn, "writers": writers, "seconds": seconds}
        command = [node, str(place / "emmett_append.mjs")]
        return child(command, {**order, "envelope": _envelope().decode()})

    return Contender(EMMETT, turn)


def _bare(server: Server, writers: int, seconds: float) -> Contender:
    database = f"bare_{writers}"
    server.database(database)
    server.execute(database, _BARE_TABLE)

    def turn() -> Sample:
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "insert.sql"
            script.write_text("INSERT INTO bare (envelope) VALUES (:envelope);\n")
            command = [
                *(program("pgbench"), "--no-vacuum", "--protocol=prepared", f"--file={script}"),
                *(f"--client={writers}", "--jobs=2", f"--time={max(1, round(seconds))}"),
                *(f"--define=envelope={_envelope().decode()}", "--username=postgres"),
                *(f"--host={server.socket_dir}", database),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        tps, latency = _TPS.search(done.stdout), _LATENCY.search(done.stdout)
        assert tps is not None and latency is not None
        return {"rate": float(tps[1]), "mean_ms": float(latency[1])}

    return Contender(BARE, turn)


def _envelope() -> bytes:
    """An envelope as the journal stores it; the peers store data of the same size."""
    [event] = append_of(7, 1234, 1).events
    return envelopes.build(
        event_id=event.event_id,
        ledger=LEDGER,
        stream=event.stream,
        version=event.version,
        topic=event.topic,
        occurred_at=event.occurred_at,
        recorded_at=datetime(2026, 3, 2, 1, 30, 1, 123456, tzinfo=UTC),
        actor=event.actor,
        command_id=event.command_id,
        correlation_id=event.correlation_id,
        causation_id=None,
        data=event.data,
    )
