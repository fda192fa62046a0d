"""Shares work among child processes that each run one task after another.

`map_ordered` is for many short tasks: the caller works too, and has begun before the first child is
up. `WorkerPool` is for few long tasks: only the children work, and any failure ends the map.
Reading order: Worker, WorkerPool, map_ordered, `_serve` (what runs in a child).
"""

import logging
import os
import pickle
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Self, TypeVar

from domain.store.processes.child import Child

_QUEUED = 2  # short tasks that a child is given before it has answered the first

log = logging.getLogger(__name__)

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

Factory = Callable[[], Callable[[_Task], _Result]]
"""Called once in a child, returns what runs a task there; tasks and results can be pickled."""


class WorkerError(Exception):
    """A child process did not complete a task."""


class WorkerDied(WorkerError):
    """A child process exited in the middle of its tasks."""


class Worker(Generic[_Task, _Result]):
    """A child process that runs submitted tasks in order. pending: how many have no result yet."""

    def __init__(self, factory: Factory[_Task, _Result]) -> None:
        """Raises: OSError if no process can be started."""
        self._child = Child(_serve, factory)
        self.connection = self._child.connection
        self.pending = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def submit(self, task: _Task) -> None:
        """Queue a task."""
        self.pending += 1
        self._child.send(task)

    def receive(self) -> _Result:
        """Wait for the result of the oldest task.

        Raises: WorkerDied; what the task raised, or a WorkerError if that cannot be pickled.
        """
        try:
            result, error = self.connection.recv()
        except (EOFError, OSError) as lost:
            code = self._child.process.wait()
            raise WorkerDied(f"process {self._child.process.pid} exited ({code})") from lost
        self.pending -= 1
        if error is not None:
            raise error
        answer: _Result = result
        return answer

    def kill(self) -> None:
        """Kill the process, whatever it is doing."""
        self._child.kill()


class WorkerPool(Generic[_Task, _Result]):
    """Child processes for a block of code; they are killed when it ends."""

    def __init__(self, factory: Factory[_Task, _Result], processes: int) -> None:
        self._factory = factory
        self._processes = processes
        self._stack = ExitStack()
        self._workers: list[Worker[_Task, _Result]] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for _ in range(self._processes):
                self._workers.append(stack.enter_context(Worker(self._factory)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def map_unordered(self, tasks: Sequence[_Task]) -> Iterator[_Result]:
        """Run tasks, one for each child at a time; results come as they are ready.

        The first tasks are submitted by the call itself, before any result is asked for.
        Raises, from the iterator: WorkerError, what a task raised.
        """
        remaining = deque(tasks)
        for worker in self._workers[: len(remaining)]:
            worker.submit(remaining.popleft())
        return self._results(remaining)

    def _results(self, remaining: deque[_Task]) -> Iterator[_Result]:
        while ready := _ready(self._workers, None):
            for worker in ready:
                result = worker.receive()
                if remaining:
                    worker.submit(remaining.popleft())
                yield result


def map_ordered(
    function: Callable[[_Task], _Result],
    tasks: Iterable[_Task],
    factory: Factory[_Task, _Result],
    processes: int,
) -> Generator[_Result, None, None]:
    """Run every task, in this process or one of `processes` - 1 children; results in task order.

    tasks: consumed as processes become free. factory: makes what `function` is, in a child.
    A task that a child did not complete, because it failed or exited, is run here; the error that
    it raises here is the caller's.
    """
    state: _OrderedMap[_Task, _Result] = _OrderedMap(iter(tasks))
    with ExitStack() as stack:
        workers = {
            stack.enter_context(Worker(factory)): deque[_Slot[_Task, _Result]]()
            for _ in range(processes - 1)
        }
        while True:
            for worker, slots in workers.items():
                while len(slots) < _QUEUED and (slot := state.next_slot()):
                    slots.append(slot)
                    worker.submit(slot.task)
            own = state.next_slot()
            if own is not None:
                own.finish(function(own.task))
            for worker in _ready(workers, None if own is None else 0):
                try:
                    workers[worker][0].finish(worker.receive())
                    workers[worker].popleft()
                except Exception as error:
                    log.warning("a worker process failed, this process runs its tasks: %s", error)
                    worker.kill()
                    state.retry(workers.pop(worker))
            yield from state.take_finished()
            if own is None and state.is_finished:
                return


class _Slot(Generic[_Task, _Result]):
    """A task and, once it is finished, its result."""

    __slots__ = ("is_finished", "result", "task")

    def __init__(self, task: _Task) -> None:
        self.task = task
        self.is_finished = False
        self.result: _Result

    def finish(self, result: _Result) -> None:
        self.result, self.is_finished = result, True


class _OrderedMap(Generic[_Task, _Result]):
    """Hands out tasks, and results in the order of the tasks."""

    def __init__(self, tasks: Iterator[_Task]) -> None:
        self._tasks = tasks
        self._retries: deque[_Slot[_Task, _Result]] = deque()
        self._unyielded: deque[_Slot[_Task, _Result]] = deque()

    def next_slot(self) -> _Slot[_Task, _Result] | None:
        """The next task to run; None if every task was handed out."""
        if self._retries:
            return self._retries.popleft()
        for task in self._tasks:
            slot: _Slot[_Task, _Result] = _Slot(task)
            self._unyielded.append(slot)
            return slot
        return None

    def retry(self, slots: Iterable[_Slot[_Task, _Result]]) -> None:
        """Hand these out once more."""
        self._retries.extend(slots)

    def take_finished(self) -> Iterator[_Result]:
        """Results that are ready and whose predecessors were taken."""
        while self._unyielded and self._unyielded[0].is_finished:
            yield self._unyielded.popleft().result

    @property
    def is_finished(self) -> bool:
        """Whether every result was taken."""
        return not self._unyielded


def _ready(
    workers: Iterable[Worker[_Task, _Result]], timeout_seconds: float | None
) -> list[Worker[_Task, _Result]]:
    """Workers with a result, or that exited; waits for the first of those that have tasks."""
    busy = {worker.connection: worker for worker in workers if worker.pending}
    ready = set(wait(busy, timeout_seconds)) if busy else set()
    return [worker for connection, worker in busy.items() if connection in ready]


def _serve(connection: "Connection[Any, Any]", factory: Factory[Any, Any]) -> None:
    """Run tasks as they come; exit when the parent does, even in the middle of a task."""
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()
    work = factory()
    while True:
        task = tasks.get()
        answer: tuple[Any, Exception | None]
        try:
            answer = (work(task), None)
        except Exception as error:
            answer = (None, _portable(error))
        connection.send(answer)


def _receive(connection: "Connection[Any, Any]", tasks: "queue.SimpleQueue[Any]") -> None:
    while True:
        try:
            tasks.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note, or a WorkerError if it cannot be pickled."""
    error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return WorkerError(f"{type(error).__name__}: {error}")
    return error
