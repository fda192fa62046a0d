"""Work shared with other processes: whoever has nothing to do takes the next order.

The caller is one of those who work, and has begun before the others have started.
Reading order: `shared`, Helper, `_serve` (what runs in the other process).
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from domain.store.processes.child import Child

_AHEAD = 2  # orders a helper is given before it has answered the first

log = logging.getLogger(__name__)

_Order = TypeVar("_Order")
_Result = TypeVar("_Result")

Make = Callable[[], Callable[[_Order], _Result]]
"""Makes, in a helper, what does an order there; both can be pickled, and so can orders."""


def shared(
    do: Callable[[_Order], _Result],
    orders: Iterable[_Order],
    make: "Make[_Order, _Result]",
    processes: int,
) -> Generator[_Result, None, None]:
    """Do every order, here or in one of `processes` - 1 helpers; results in order of the orders.

    orders: taken from when somebody has nothing to do. What a helper could not do, because it died
    or because it failed, is done here, and fails here if it must.
    """
    todo = iter(orders)
    undone: deque[_Task] = deque()  # by a helper that is no more
    begun: deque[_Task] = deque()  # everything whose result is not told yet, in order

    def following() -> _Task | None:
        if undone:
            return undone.popleft()
        for order in todo:
            begun.append(_Task(order))
            return begun[-1]
        return None

    with ExitStack() as stack:
        helpers = [stack.enter_context(Helper(make)) for _ in range(processes - 1)]
        while True:
            for helper in helpers:
                while len(helper.tasks) < _AHEAD and (task := following()):
                    helper.give(task)
            task = following()
            if task is not None:
                task.end(do(task.order))
            for helper in _answering(helpers, None if task is None else 0):
                if not helper.take():
                    helpers.remove(helper)
                    undone.extend(helper.tasks)
            while begun and begun[0].done:
                yield begun.popleft().result
            if task is None and not begun:
                return


class _Task:
    """An order and what came of it."""

    def __init__(self, order: Any) -> None:
        self.order = order
        self.done = False
        self.result: Any = None

    def end(self, result: Any) -> None:
        self.result, self.done = result, True


class Helper:
    """Another process that does one order after another. tasks: given and not answered."""

    def __init__(self, make: "Make[Any, Any]") -> None:
        self._child = Child(_serve, make)
        self.connection = self._child.connection
        self.tasks: deque[_Task] = deque()

    def __enter__(self) -> "Helper":
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, whatever it is doing."""
        self._child.end()

    def give(self, task: _Task) -> None:
        """One more order."""
        self.tasks.append(task)
        self._child.send(task.order)

    def take(self) -> bool:
        """The answer to the oldest order, when there is one. Returns: False if it died."""
        try:
            result = self.connection.recv()
        except (EOFError, OSError):
            log.warning("a helper ended with exit code %s", self._child.process.wait())
            return False
        self.tasks.popleft().end(result)
        return True


def _answering(helpers: list[Helper], timeout_seconds: float | None) -> list[Helper]:
    """Those of the busy ones that have answered, or died; waits for the first of them."""
    busy = {helper.connection: helper for helper in helpers if helper.tasks}
    return [busy[connection] for connection in wait(busy, timeout_seconds)] if busy else []


def _serve(connection: Connection, make: "Make[Any, Any]") -> None:
    do = make()
    while True:
        connection.send(do(connection.recv()))
