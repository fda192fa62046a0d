"""lookup: certificates looked up by the link of their QR code, and by number and name.

All certificates are equally likely; a quarter of the lookups finds nothing. Peers are the naive
service on the same tables, and pgbench selecting random certificates by the primary key. At half
the peak rate the 99th percentile is compared with the median.
"""

import http.client
import json
import random
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.http_turns import Request, RequestFile, ask, lookup_client, request_file
from scripts.benchmarks.measure import (
    Comparison,
    Contender,
    Plan,
    Sample,
    compare,
    median,
    take_turns,
)
from scripts.benchmarks.naive import FIXED_POOL, NAIVE, POOL_SIZES, naive_service
from scripts.benchmarks.registry import Holder, Registries, Registry
from scripts.benchmarks.server import program
from scripts.benchmarks.service import DATABASE, service

CERTIFICATES = 10_000_000
CONNECTIONS = (32, 128)
SECONDS = 5.0
KEYS = 300_000
CHECKED = 100
SELECT = "pgbench by the primary key"
_CLIENTS = 32
_TPS = re.compile(r"tps = ([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Lookup:
    """A request, and the number of the certificate it finds, None if it finds nothing."""

    request: Request
    number: str | None


def run(registries: Registries, plan: Plan) -> list[Comparison]:
    """Measure each kind of lookup at each number of connections."""
    found: list[Comparison] = []
    registry = registries.of(plan.size(CERTIFICATES))
    with ExitStack() as closing:
        services = {"ours": closing.enter_context(service(registry.server)).port}
        for name in POOL_SIZES:
            port = closing.enter_context(naive_service(registry.server, name))
            if port is not None:
                services[name] = port
        holders = registry.holders(plan.size(KEYS, least=10_000))
        for way, lookups in (
            ("by link", list(by_link(holders))),
            ("by number and name", list(by_number(holders, registry))),
        ):
            for port in services.values():
                check(port, random.sample(lookups, CHECKED))
            with request_file(one.request for one in lookups) as file:
                for connections in CONNECTIONS:
                    found += _with(registry, plan, services, file, way, connections)
    return found


def by_link(holders: list[Holder]) -> Iterator[Lookup]:
    """Three that find their certificate, then one with a link that was never issued."""
    for n, holder in enumerate(holders):
        if n % 4 < 3:
            yield Lookup(Request("GET", f"/v/{holder.token}", 200), holder.number)
        else:
            yield Lookup(Request("GET", f"/v/{_never_issued(holder.token)}", 404), None)


def _never_issued(link: str) -> str:
    """A link of the same form that no certificate has: its digits in reverse."""
    return link[:-32] + link[:-33:-1]


def by_number(holders: list[Holder], registry: Registry) -> Iterator[Lookup]:
    """Of eight, six find their certificate, one has a wrong name, one an unused number."""
    for n, holder in enumerate(holders):
        number, name = holder.number, holder.name
        if n % 8 == 3:
            name = "李" + name[1:]
        elif n % 8 == 7:
            number = registry.no_number()
        body = json.dumps({"certificate_number": number, "name": name}).encode()
        request = Request("POST", "/lookup", 200, {"Content-Type": "application/json"}, body)
        yield Lookup(request, number if n % 4 < 3 else None)


def check(port: int, lookups: list[Lookup]) -> None:
    """Send each and check the answer. Raises: RuntimeError for an unexpected one."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for one in lookups:
        asked = one.request
        connection.request(asked.method, asked.path, asked.body or None, dict(asked.headers))
        answer = connection.getresponse()
        body = json.loads(answer.read())
        certificates = body.get("certificates", [body] if answer.status == 200 else [])
        numbers = [certificate["number"] for certificate in certificates]
        if (answer.status, numbers) != (asked.expected, [one.number] if one.number else []):
            raise RuntimeError(f"{asked} for {one.number} was answered {answer.status} {body}")
    connection.close()


def _with(
    registry: Registry,
    plan: Plan,
    services: dict[str, int],
    file: RequestFile,
    way: str,
    connections: int,
) -> list[Comparison]:
    seconds = plan.seconds(SECONDS)

    def http(port: int) -> Callable[[], Sample]:
        return lambda: ask(port, file, connections, seconds=seconds)

    contenders = [Contender(name, http(port)) for name, port in services.items()]
    contenders.append(Contender(SELECT, lambda: _select(registry, seconds)))
    samples = take_turns(contenders, plan.rounds, registry.server.settle)
    bars = {NAIVE: ">= 40", FIXED_POOL: "", SELECT: ">= 0.5"}
    asked = {"connections": connections, "keys": file.requests, "client": lookup_client()}
    also = registry.conditions() | asked
    case = f"{way}, {connections} connections"
    found = compare("lookup", case, "lookups/s", samples, "ours", bars, **also)
    rate = median(samples["ours"]) / 2
    half = [
        ask(services["ours"], file, connections, seconds=seconds, rate=rate)
        for _ in range(plan.rounds)
    ]
    found.append(
        Comparison(
            "lookup",
            f"{case}, at half the peak rate",
            "p99 ms by p50 ms",
            [{"rate": one["p99_ms"]} for one in half],
            "its own p50",
            [{"rate": one["p50_ms"]} for one in half],
            "<= 10",
            also=also | {"rate": round(rate)},
        )
    )
    return found


def _select(registry: Registry, seconds: float) -> Sample:
    """pgbench selects whole rows of random certificates, one at a time."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "select.sql"
        script.write_text(registry.select())
        command = [
            *(program("pgbench"), "--no-vacuum", "--protocol=prepared", f"--file={script}"),
            *(f"--client={_CLIENTS}", "--jobs=2", f"--time={max(1, round(seconds))}"),
            *("--username=postgres", f"--host={registry.server.socket_dir}", DATABASE),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = _TPS.search(done.stdout)
    assert found is not None
    return {"rate": float(found[1])}
