"""Work for `test_helper`, where another process can import it without importing the tests."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

Squared = tuple[int, int]
"""A square, and the process that made it."""


def squared(number: int) -> Squared:
    time.sleep(0.002)  # long enough for everybody to get some
    return number * number, os.getpid()


def squaring() -> Callable[[int], Squared]:
    return squared


def dying(told: Path) -> Callable[[int], Squared]:
    """Squares twenty numbers and ends its process at the next one, which it tells before."""
    return partial(_until_dead, iter(range(20)), told)


def _until_dead(lives: Iterator[int], told: Path, number: int) -> Squared:
    if next(lives, None) is None:
        told.write_text(str(number))
        os.kill(os.getpid(), signal.SIGKILL)
    return squared(number)


def failing(reason: str) -> Callable[[int], Squared]:
    raise ValueError(reason)


def refusing(number: int) -> Squared:
    raise LookupError(number)
