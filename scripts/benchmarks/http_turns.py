"""One turn of HTTP load, as a contender takes it."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts.benchmarks.measure import Sample, child, ours

Request = tuple[str, str, dict[str, str], str]
"""method, path, headers, body"""


@contextmanager
def request_file(requests: Sequence[Request]) -> Iterator[Path]:
    """The requests in a file for the client."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", delete=False) as file:
        for request in requests:
            file.write(json.dumps(request) + "\n")
    path = Path(file.name)
    try:
        yield path
    finally:
        path.unlink()


def send(
    port: int,
    file: Path,
    connections: int,
    *,
    seconds: float | None = None,
    rate: float = 0,
    expected: Sequence[int] = (200,),
) -> Sample:
    """Send the requests of a file: once each if seconds is None, else over and over so long.

    rate: requests a second at most. Raises: RuntimeError for an unexpected status.
    """
    order = {"port": port, "file": str(file), "connections": connections, "seconds": seconds}
    return child(ours("http_load"), {**order, "rate": rate, "expected": list(expected)})
