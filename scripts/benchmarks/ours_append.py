"""Our client of `append`: writers that wait for each answer before they send the next command.

Two kinds: tasks of one event loop, as the service has them, and threads.
"""

import asyncio
import json
import sys
import threading
import time
from typing import Any

import uvloop

from api.server.process_setup import freeze_gc
from domain.store.journal.journal import Journal
from domain.store.writer.commands import QueuedCommand
from domain.store.writer.group_commit import Committer
from scripts.benchmarks.latency import sample_of
from scripts.benchmarks.sample import append_of
from scripts.benchmarks.server import journal_of


def command_of(writer: int, number: int, run: int) -> QueuedCommand:
    """A queued command with a precomputed decision."""
    append = append_of(writer, number, run)
    [event] = append.events
    return QueuedCommand(
        lambda _view: append, versions=(event.stream,), command=append.command, claims=append.claims
    )


class Answer(asyncio.Future):  # type: ignore[type-arg]
    """A future of the event loop with the interface that the committer expects."""

    def set_running_or_notify_cancel(self) -> bool:
        return not self.cancelled()


def deliver_to(loop: asyncio.AbstractEventLoop) -> Any:
    """Wakes the loop once for the answers of a whole batch."""

    def set_all(answers: list[tuple[Answer, Any]]) -> None:
        for future, answer in answers:
            if future.cancelled():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    return lambda answers: loop.call_soon_threadsafe(set_all, answers)


async def with_tasks(journal: Journal, order: dict[str, Any]) -> dict[str, float]:
    """Writers as tasks of one loop."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    with Committer(journal, resolve_batch=deliver_to(loop)) as committer:
        begun = time.perf_counter()
        end = begun + order["seconds"]

        async def write(writer: int) -> None:
            number, now = 0, time.perf_counter()
            while now < end:
                answer = Answer(loop=loop)
                committer.enqueue(command_of(writer, number, order["run"]), answer)
                await answer
                done = time.perf_counter()
                latencies.append(done - now)
                number, now = number + 1, done

        await asyncio.gather(*(write(writer) for writer in range(order["writers"])))
        took = time.perf_counter() - begun
        return sample_of(latencies, took) | {"batch": len(latencies) / committer.stats.batches}


def with_threads(journal: Journal, order: dict[str, Any]) -> dict[str, float]:
    """Writers as threads."""
    latencies: list[float] = []
    with Committer(journal) as committer:
        begun = time.perf_counter()
        end = begun + order["seconds"]

        def write(writer: int) -> None:
            number, now = 0, time.perf_counter()
            while now < end:
                committer.submit(command_of(writer, number, order["run"])).result()
                done = time.perf_counter()
                latencies.append(done - now)
                number, now = number + 1, done

        threads = [threading.Thread(target=write, args=(n,)) for n in range(order["writers"])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - begun
        return sample_of(latencies, took) | {"batch": len(latencies) / committer.stats.batches}


def main() -> None:
    """Execute the order and print the sample."""
    order = json.loads(sys.argv[1])
    journal = journal_of(order["dsn"], order["ledger"], key_file=order.get("key_file"))
    freeze_gc()  # as the service does
    if order["clients"] == "threads":
        found = with_threads(journal, order)
    else:
        found = uvloop.run(with_tasks(journal, order))
    journal.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
