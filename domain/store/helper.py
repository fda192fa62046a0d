"""Work shared with other processes: one after another takes the next order.

multiprocessing either forks, and shares the caller's sockets and locks, or spawns, and then every
process imports the caller's whole main program, which takes longer than most work here. A helper
is a bare interpreter that imports one function's module and nothing else; and while it is starting
the caller has begun already. Reading order: `shared`, Helper, `serve` (what runs in the other
process).
"""

import logging
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

_AHEAD = 2  # orders a helper is given before it has answered the first

_PROGRAM = """import sys
descriptor, *sys.path[:] = sys.argv[1:]
from domain.store.helper import serve
serve(int(descriptor))"""

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
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # an interrupt is the caller's, who ends us
            )
        self.connection = Connection(ours.detach())
        self.tasks: deque[_Task] = deque()
        self._send(make)

    def __enter__(self) -> "Helper":
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, whatever it is doing."""
        self.connection.close()
        self._process.kill()
        self._process.wait()

    def give(self, task: _Task) -> None:
        """One more order; if the helper is no more, that is found when its answer is taken."""
        self.tasks.append(task)
        self._send(task.order)

    def take(self) -> bool:
        """The answer to the oldest order, when there is one. Returns: False if it died."""
        try:
            result = self.connection.recv()
        except (EOFError, OSError):
            log.warning("a helper ended with exit code %s", self._process.wait())
            return False
        self.tasks.popleft().end(result)
        return True

    def _send(self, what: Any) -> None:
        try:
            self.connection.send(what)
        except OSError:
            log.debug("a helper does not listen", exc_info=True)


def _answering(helpers: list[Helper], timeout_seconds: float | None) -> list[Helper]:
    """Those of the busy ones that have answered, or died; waits for the first of them."""
    busy = {helper.connection: helper for helper in helpers if helper.tasks}
    return [busy[connection] for connection in wait(busy, timeout_seconds)] if busy else []


def serve(descriptor: int) -> None:
    """Do orders until nobody gives any; what cannot be done ends the process, in one line."""
    connection = Connection(descriptor)
    try:
        do = connection.recv()()
        while True:
            connection.send(do(connection.recv()))
    except (EOFError, BrokenPipeError):
        pass  # nobody asks any more
    except Exception as error:
        sys.exit(f"certledger helper: {error!r}")
