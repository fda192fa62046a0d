"""Carries receipts from the writer thread to the threads and event loops that wait for them.

A thread waits for a `concurrent.futures` future, a task for one of its event loop.
`resolve_batch` wakes each loop once for all outcomes of a batch, because a wake-up takes as long
as executing several commands. Reading order: ReceiptFuture, LoopReceiptFuture, resolve_batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeAlias

from domain.service.receipt import Receipt
from domain.store.writer.commands import Accepted, Outcome, Replayed

ReceiptOf = Callable[[Accepted | Replayed], Receipt]


class ReceiptFuture(Future[Receipt]):
    """For a thread. receipt_of: makes the receipt of a recorded outcome."""

    receipt_of: ReceiptOf


class LoopReceiptFuture(asyncio.Future[Receipt]):
    """For a task; create it in its event loop. receipt_of: as of `ReceiptFuture`."""

    receipt_of: ReceiptOf

    def set_running_or_notify_cancel(self) -> bool:
        """Whether the task still waits; called by the writer thread before it executes."""
        return not self.cancelled()


AnyReceiptFuture: TypeAlias = ReceiptFuture | LoopReceiptFuture


def resolve_batch(outcomes: Sequence[tuple[AnyReceiptFuture, Outcome]]) -> None:
    """Resolve the futures of a batch; the writer's port `ResolveBatch`."""
    by_loop: dict[
        asyncio.AbstractEventLoop, list[tuple[AnyReceiptFuture, Receipt | BaseException]]
    ] = {}
    for future, outcome in outcomes:
        result = _result(future, outcome)
        if isinstance(future, LoopReceiptFuture):
            by_loop.setdefault(future.get_loop(), []).append((future, result))
        else:
            _set(future, result)
    for loop, results in by_loop.items():
        # No task waits in a closed loop.
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set_all, results)


def _result(future: AnyReceiptFuture, outcome: Outcome) -> Receipt | BaseException:
    if isinstance(outcome, BaseException):
        return outcome
    try:
        return future.receipt_of(outcome)
    except Exception as error:  # such as an unreadable stored receipt: only its caller fails
        return error


def _set_all(results: list[tuple[AnyReceiptFuture, Receipt | BaseException]]) -> None:
    for future, result in results:
        _set(future, result)


def _set(future: AnyReceiptFuture, result: Receipt | BaseException) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
