"""lag: from the answer to a command until every view has it, at a thousand commands a second.

What is compared with the bar is the slowest hundredth, in milliseconds.
"""

import select
import threading
import time
from bisect import bisect_left
from contextlib import ExitStack

import psycopg2

from projections.views import VIEWS
from projections.waiting import CHANNEL, from_payload
from scripts.benchmarks.command import Applications
from scripts.benchmarks.http_turns import send
from scripts.benchmarks.measure import Comparison, Plan
from scripts.benchmarks.server import Server
from scripts.benchmarks.service import COHORT_LEDGER, DATABASE, service

RATE = 1_000
COMMANDS = 60_000
CONNECTIONS = 64
BAR_MS = 250.0


class Watch:
    """Notes when the journal's head and every view reach which position."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self._connection.autocommit = True
        self.heads: list[tuple[int, float]] = []
        self.views: dict[str, list[tuple[int, float]]] = {view.name: [] for view in VIEWS}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watch":
        with self._connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}; LISTEN certledger")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def _watch(self) -> None:
        with self._connection.cursor() as cursor:
            while not self._stop.is_set():
                select.select([self._connection], [], [], 0.1)
                self._connection.poll()
                now = time.perf_counter()
                heard = self._connection.notifies
                if any(one.channel != CHANNEL for one in heard):
                    cursor.execute(
                        "SELECT position FROM certledger.ledgers WHERE ledger = %s",
                        (COHORT_LEDGER,),
                    )
                    self.heads.append((cursor.fetchone()[0], now))
                for one in heard:
                    for ledger, view, position in from_payload(one.payload):
                        if one.channel == CHANNEL and ledger == COHORT_LEDGER:
                            self.views[view].append((position, now))
                del self._connection.notifies[:]

    def lags_ms(self) -> list[float]:
        """For each commit heard of, until the last view had it."""
        lags = []
        for position, at in self.heads:
            seen = []
            for told in self.views.values():
                index = bisect_left(told, (position, 0.0))
                if index < len(told):
                    seen.append(told[index][1])
            if len(seen) == len(self.views):
                lags.append(max(0.0, max(seen) - at) * 1000)
        return sorted(lags)


def run(server: Server, plan: Plan) -> list[Comparison]:
    """Send commands at the rate and watch the views."""
    with ExitStack() as closing:
        running = closing.enter_context(service(server))
        file = closing.enter_context(Applications(running).prepared(plan.size(COMMANDS)))
        with Watch(server.dsn(DATABASE)) as watch:
            sent = send(running.port, file, CONNECTIONS, rate=RATE)
            time.sleep(1.0)
        lags = watch.lags_ms()
    found = {"rate": lags[len(lags) * 99 // 100], "p50_ms": lags[len(lags) // 2]}
    also = {"commands_a_second": round(sent["rate"]), "commits": len(lags)}
    bar = [{"rate": BAR_MS}]
    return [Comparison("lag", "p99", "ms", [found], "the bar", bar, "<= 1", also=also)]
