"""Tasks for tests/store/processes/test_pool.py, in a module that a child can import alone."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

Squared = tuple[int, int]
"""A square, and the process that computed it."""


def squared(number: int) -> Squared:
    time.sleep(0.002)  # long enough for every process to get some
    return number * number, os.getpid()


def squaring() -> Callable[[int], Squared]:
    return squared


def dying(last: Path) -> Callable[[int], Squared]:
    """Squares twenty numbers; at the next one writes it to a file and kills its process."""
    return partial(_until_dead, iter(range(20)), last)


def _until_dead(lives: Iterator[int], last: Path, number: int) -> Squared:
    if next(lives, None) is None:
        last.write_text(str(number))
        os.kill(os.getpid(), signal.SIGKILL)
    return squared(number)


def failing(reason: str) -> Callable[[int], Squared]:
    raise ValueError(reason)


def refusing(number: int) -> Squared:
    raise LookupError(number)


def refusing_children(caller: int) -> Callable[[int], Squared]:
    """Refuses in every process but the caller."""
    return squared if os.getpid() == caller else refusing
