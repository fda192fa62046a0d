"""lookup: certificates looked up by the link of their QR code, hits and misses mixed.

Against the naive service, and against pgbench selecting one row by a primary key. At half the peak
rate the slowest hundredth is compared with the median.
"""

import re
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from scripts.benchmarks.http_turns import Request, RequestFile, ask, lookup_client, request_file
from scripts.benchmarks.measure import (
    Comparison,
    Contender,
    Plan,
    Sample,
    Unavailable,
    compare,
    median,
    take_turns,
)
from scripts.benchmarks.naive import NAIVE, naive_service
from scripts.benchmarks.server import Server, program
from scripts.benchmarks.service import DATABASE, link_tokens, service

CONNECTIONS = (32, 128)
SECONDS = 5.0
SELECT = "pgbench by the primary key"
HALF = "at half the peak rate"
_TPS = re.compile(r"tps = ([0-9.]+)")


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Measure at every number of connections."""
    found: list[Comparison] = []
    with ExitStack() as closing:
        running = closing.enter_context(service(server))
        tokens = link_tokens(server, 100_000)
        rows = len(tokens)
        file = closing.enter_context(request_file(lookups(tokens)))
        try:
            naive: int | None = closing.enter_context(naive_service(server))
        except Unavailable:
            naive = None
        for connections in CONNECTIONS:
            found += _with(server, plan, running.port, naive, file, tokens, connections)
    return [_told(one, rows) for one in found]


def lookups(tokens: list[str]) -> list[Request]:
    """Three hits, then a miss."""
    found: list[Request] = []
    for n, token in enumerate(tokens):
        found.append(Request("GET", f"/v/{token}", 200))
        if n % 3 == 2:
            found.append(Request("GET", f"/v/{token[::-1]}", 404))
    return found


def _with(
    server: Server,
    plan: Plan,
    port: int,
    naive: int | None,
    file: RequestFile,
    tokens: list[str],
    connections: int,
) -> list[Comparison]:
    seconds = plan.seconds(SECONDS)

    def http(to: int) -> Sample:
        return ask(to, file, connections, seconds=seconds)

    contenders = [Contender("ours", lambda: http(port))]
    if naive is not None:
        contenders.append(Contender(NAIVE, lambda: http(naive)))
    contenders.append(Contender(SELECT, lambda: _select(server, connections, seconds, tokens)))
    samples = take_turns(contenders, plan.rounds, server.settle)
    case = f"{connections} connections"
    bars = {NAIVE: ">= 40", SELECT: ">= 0.5"}
    found = compare("lookup", case, "lookups/s", samples, "ours", bars, connections=connections)
    rate = median(samples["ours"]) / 2
    half = [ask(port, file, connections, seconds=seconds, rate=rate) for _ in range(plan.rounds)]
    found.append(
        Comparison(
            "lookup",
            f"{case}, {HALF}",
            "p99 ms by p50 ms",
            [{"rate": one["p99_ms"]} for one in half],
            "its own p50",
            [{"rate": one["p50_ms"]} for one in half],
            "<= 10",
            also={"connections": connections, "rate": round(rate)},
        )
    )
    return found


def _select(server: Server, clients: int, seconds: float, tokens: list[str]) -> Sample:
    """One row by the primary key: of the same table, with a key that is there."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "select.sql"
        script.write_text("SELECT * FROM views.certificate_tokens WHERE token = :token;\n")
        command = [
            *(program("pgbench"), "--no-vacuum", "--protocol=prepared", f"--file={script}"),
            *(f"--client={min(clients, 32)}", "--jobs=2", f"--time={max(1, round(seconds))}"),
            *(f"--define=token={tokens[len(tokens) // 2]}", "--username=postgres"),
            *(f"--host={server.socket_dir}", DATABASE),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = _TPS.search(done.stdout)
    assert found is not None
    return {"rate": float(found[1])}


def _told(comparison: Comparison, rows: int) -> Comparison:
    comparison.also["rows"] = rows  # type: ignore[index]
    comparison.also["client"] = lookup_client()  # type: ignore[index]
    return comparison
