"""One turn of HTTP load, as a contender takes it.

Commands differ from one another and are sent once, by a client in Python (http_load.py). Lookups
repeat, sent by wrk if it is installed: it costs a fifth of the CPU.
"""

import json
import random
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from scripts.benchmarks.measure import Sample, child, ours, say

_SCRIPT = Path(__file__).with_name("lookups.lua")
_PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Request:
    """A request and the expected status."""

    method: str
    path: str
    expected: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encoded(self) -> bytes:
        """The bytes that are sent."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.method == "POST":
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclass(frozen=True, slots=True)
class RequestFile:
    """Requests prepared for a client: before each, a line with its length and expected status."""

    path: Path
    requests: int


@contextmanager
def request_file(requests: Iterable[Request]) -> Iterator[RequestFile]:
    """The requests in a file, which is removed afterwards."""
    number = 0
    with tempfile.NamedTemporaryFile("wb", suffix=".requests", delete=False) as file:
        path = Path(file.name)
        for number, request in enumerate(requests, 1):  # noqa: B007 (the last one is the count)
            data = request.encoded()
            file.write(b"%d %d\n%b" % (len(data), request.expected, data))
    try:
        yield RequestFile(path, number)
    finally:
        path.unlink()


def send(
    port: int,
    file: RequestFile,
    connections: int,
    *,
    rate: float = 0,
    answers: Path | None = None,
) -> Sample:
    """Send each request of a file once. rate: requests a second at most; 0: as answered.

    answers: file for the time of each answer and the position it names.
    Raises: RuntimeError for an unexpected answer.
    """
    order = {"rate": rate, "seconds": None, "begin": 0, "answers": answers and str(answers)}
    return _with_python(port, file, connections, order)


def ask(
    port: int, file: RequestFile, connections: int, *, seconds: float, rate: float = 0
) -> Sample:
    """Send the requests of a file over and over, from anywhere in it on, for so long.

    Raises: RuntimeError for an unexpected answer.
    """
    begin = random.randrange(file.requests)
    if wrk() is None:
        order = {"rate": rate, "seconds": seconds, "begin": begin}
        return _with_python(port, file, connections, order)
    return _with_wrk(port, file, connections, seconds, rate, begin)


@cache
def wrk() -> str | None:
    """The program, or None, which is said."""
    found = shutil.which("wrk")
    if found is None:
        say("there is no wrk: lookups are sent by Python")
    return found


def lookup_client() -> str:
    """What sends lookups here; one of the conditions."""
    return "wrk" if wrk() else "Python"


def _with_python(
    port: int, file: RequestFile, connections: int, order: Mapping[str, Any]
) -> Sample:
    where = {"port": port, "file": str(file.path), "connections": connections}
    return child(ours("http_load"), {**where, **order})


def _with_wrk(
    port: int, file: RequestFile, connections: int, seconds: float, rate: float, begin: int
) -> Sample:
    command: Sequence[str] = [
        *(wrk() or "wrk", "--threads=1", f"--connections={connections}"),
        *(f"--duration={max(1, round(seconds))}s", f"--timeout={_PATIENCE_S}s"),
        *(f"--script={_SCRIPT}", f"http://127.0.0.1:{port}", "--"),
        *(str(file.path), str(begin), str(rate)),
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    astray = abs(found.pop("refusals_due") - found.pop("refused"))
    # What was on its way at the end was sent and not answered; wrk also asks for one beforehand.
    if found.pop("failed") or astray > connections + 1:
        raise RuntimeError(f"{astray} lookups got another status than they should:\n{done.stdout}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sample: Sample = found | {"client_us": used / max(found["requests"], 1) * 1e6}
    return sample
