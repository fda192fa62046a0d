"""lag: time from a command's answer until every view has folded it, at 1,000 commands a second.

Compares the 99th percentile, in milliseconds, with the bar.
"""

import select
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import psycopg2

from projections.catalogue import VIEWS
from projections.engine.progress import PROGRESS_CHANNEL, from_payload
from scripts.benchmarks.command import Applications
from scripts.benchmarks.http_turns import send
from scripts.benchmarks.measure import Comparison, Plan
from scripts.benchmarks.server import Server
from scripts.benchmarks.service import COHORT_LEDGER, DATABASE, service

RATE = 1_000
COMMANDS = 60_000
CONNECTIONS = 64
BAR_MS = 250.0
_LEAST = 4_000  # a few seconds; fewer say nothing about the 99th percentile
_PATIENCE_S = 60.0


class Watch:
    """Records when each view reaches a position, from the runner's notifications."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self._connection.autocommit = True
        self._views: dict[str, list[tuple[int, float]]] = {view.name: [] for view in VIEWS}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watch":
        with self._connection.cursor() as cursor:
            cursor.execute(f"LISTEN {PROGRESS_CHANNEL}")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def _watch(self) -> None:
        while not self._stop.is_set():
            select.select([self._connection], [], [], 0.1)
            self._connection.poll()
            now = time.perf_counter()
            for one in self._connection.notifies:
                for ledger, view, position in from_payload((), one.payload):
                    if ledger == COHORT_LEDGER:
                        self._views[view].append((position, now))
            del self._connection.notifies[:]

    def wait_for(self, position: int) -> None:
        """Wait until every view has reached a position. Raises: TimeoutError."""
        deadline = time.monotonic() + _PATIENCE_S
        while not all(reached and reached[-1][0] >= position for reached in self._views.values()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the views have not reached {position}")
            time.sleep(0.05)

    def lags_ms(self, answers: Iterable[tuple[float, int]]) -> list[float]:
        """For each answer (time, position) the time until the last view had it, sorted."""
        return sorted(
            max(0.0, self._reached(position) - answered) * 1000 for answered, position in answers
        )

    def batches(self) -> int:
        """How many notifications the busiest view sent."""
        return max(len(reached) for reached in self._views.values())

    def _reached(self, position: int) -> float:
        return max(
            reached[bisect_left(reached, (position, 0.0))][1] for reached in self._views.values()
        )


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Send commands at the rate and watch the views."""
    with ExitStack() as closing:
        running = closing.enter_context(service(server))
        number = plan.size(COMMANDS, _LEAST)
        file = closing.enter_context(Applications(running).prepared(number))
        log = closing.enter_context(tempfile.NamedTemporaryFile(suffix=".answers"))
        with Watch(server.dsn(DATABASE)) as watch:
            sent = send(running.port, file, CONNECTIONS, rate=RATE, answers=Path(log.name))
            lines = [line.split() for line in Path(log.name).read_text().splitlines()]
            answers = [(float(at), int(position)) for at, position in lines]
            watch.wait_for(max(position for _, position in answers))
        lags = watch.lags_ms(answers)
    found = {"rate": lags[len(lags) * 99 // 100], "p50_ms": lags[len(lags) // 2]}
    also = {
        "commands": number,
        "commands_a_second": round(sent["rate"]),
        "commands_a_batch": round(number / watch.batches(), 1),
        "answer_p99_ms": round(sent["p99_ms"], 1),
    }
    bar = [{"rate": BAR_MS}]
    return [Comparison("lag", "p99", "ms", [found], "the bar", bar, "<= 1", also=also)]
