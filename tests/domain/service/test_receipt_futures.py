"""Receipts reach the threads and event loops that wait for them."""

import asyncio
from threading import Thread
from uuid import UUID

import pytest

from domain.service.receipt import Receipt
from domain.service.receipt_futures import LoopReceiptFuture, ReceiptFuture, resolve_batch
from domain.store.errors import Unavailable
from domain.store.writer.commands import Accepted, Replayed

RECEIPT = Receipt("c", "omc", "person-P1", 1, 7, 7, ("person_registered.v1",), "2026", {"a": [1]})
ACCEPTED = Accepted([], RECEIPT.to_bytes())


def receipt_of(outcome: Accepted | Replayed) -> Receipt:
    return Receipt.from_bytes(outcome.receipt, replayed=isinstance(outcome, Replayed))


def test_one_batch_resolves_futures_of_threads_and_of_loops() -> None:
    async def wait() -> tuple[Receipt, Receipt]:
        of_loop, of_thread = LoopReceiptFuture(), ReceiptFuture()
        of_loop.receipt_of = of_thread.receipt_of = receipt_of
        outcomes = [(of_loop, ACCEPTED), (of_thread, ACCEPTED)]
        Thread(target=resolve_batch, args=(outcomes,)).start()
        return await of_loop, await asyncio.wrap_future(of_thread)

    assert asyncio.run(wait()) == (RECEIPT, RECEIPT)


def test_a_loop_is_woken_once_for_a_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait() -> int:
        loop = asyncio.get_running_loop()
        calls = []
        call = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *a: calls.append(a) or call(*a))
        futures = [LoopReceiptFuture() for _ in range(3)]
        resolve_batch([(future, Unavailable(ledger="omc")) for future in futures])
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable] * 3
        return len(calls)

    assert asyncio.run(wait()) == 1


def test_a_cancelled_future_is_not_resolved() -> None:
    async def give_up() -> None:
        future = LoopReceiptFuture()
        future.cancel()
        assert not future.set_running_or_notify_cancel()
        resolve_batch([(future, Unavailable(ledger="omc"))])
        await asyncio.sleep(0)
        assert future.cancelled()

    asyncio.run(give_up())


def test_an_unreadable_receipt_fails_only_its_caller() -> None:
    broken, sound = ReceiptFuture(), ReceiptFuture()
    broken.receipt_of = sound.receipt_of = receipt_of
    unreadable = Replayed(b"no receipt", UUID(int=1), 7, 7)
    resolve_batch([(broken, unreadable), (sound, ACCEPTED)])
    assert isinstance(broken.exception(), ValueError)
    assert sound.result() == RECEIPT
