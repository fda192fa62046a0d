"""How a receipt finds its way from the writer thread to whoever asked.

A thread waits in a future as `concurrent.futures` has it, a task of an event loop in one of its
loop's. A loop is woken once for all answers of a batch: to wake it for each would take as long as
deciding some of them. Reading order: Answer, LoopAnswer, deliver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from domain.service.receipt import Receipt
from domain.store.writer.commands import Accepted, Replayed

ReceiptOf = Callable[[Accepted | Replayed], Receipt]


class ReceiptFuture(Future[Receipt]):
    """For a thread. receipt_of: makes the receipt of what the writer says."""

    receipt_of: ReceiptOf


class LoopReceiptFuture(asyncio.Future[Receipt]):
    """For a task of an event loop; make it there. receipt_of: as of `ReceiptFuture`."""

    receipt_of: ReceiptOf

    def set_running_or_notify_cancel(self) -> bool:
        """Whether anybody still waits; asked by the writer thread before it begins."""
        return not self.cancelled()


def deliver(answers: Sequence[tuple[Any, Any]]) -> None:
    """Hand over what became of a batch: pairs of a future and a result or an exception.

    Futures that are no answers of ours, as those of `eventsourcing`, get what the writer says.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[LoopReceiptFuture, Any]]] = {}
    for future, said in answers:
        result = said
        if isinstance(future, ReceiptFuture | LoopReceiptFuture):
            result = _receipt(future, said)
        if isinstance(future, LoopReceiptFuture):
            by_loop.setdefault(future.get_loop(), []).append((future, result))
        else:
            _set(future, result)
    for loop, found in by_loop.items():
        # In a loop that is closed nobody waits any more.
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set_all, found)


def _receipt(answer: ReceiptFuture | LoopReceiptFuture, said: Any) -> Any:
    if isinstance(said, BaseException):
        return said
    try:
        return answer.receipt_of(said)
    except Exception as error:  # such as a receipt nobody can read: only its caller pays
        return error


def _set_all(answers: list[tuple[LoopReceiptFuture, Any]]) -> None:
    for future, result in answers:
        _set(future, result)


def _set(future: Any, result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
