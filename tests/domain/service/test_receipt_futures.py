"""A receipt finds its way to a waiting thread or task."""

import asyncio
from concurrent.futures import Future
from threading import Thread

import pytest

from domain.service.receipt import Receipt
from domain.service.receipt_futures import LoopReceiptFuture, ReceiptFuture, deliver
from domain.store.errors import Unavailable
from domain.store.writer.commands import Accepted, Replayed

RECEIPT = Receipt("c", "omc", "person-P1", 1, 7, 7, ("person_registered.v1",), "2026", {"a": [1]})
ACCEPTED = Accepted([], RECEIPT.to_bytes())


def receipt_of(said: Accepted | Replayed) -> Receipt:
    return Receipt.from_bytes(said.receipt, replayed=isinstance(said, Replayed))


def test_a_thread_and_a_task_are_told_of_the_same_batch() -> None:
    async def wait() -> tuple[Receipt, Receipt]:
        told, waiting = LoopReceiptFuture(), ReceiptFuture()
        told.receipt_of = waiting.receipt_of = receipt_of
        Thread(target=deliver, args=([(told, ACCEPTED), (waiting, ACCEPTED)],)).start()
        return await told, await asyncio.wrap_future(waiting)

    assert asyncio.run(wait()) == (RECEIPT, RECEIPT)


def test_a_loop_is_woken_once_for_a_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait() -> int:
        loop = asyncio.get_running_loop()
        woken = []
        wake = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *a: woken.append(a) or wake(*a))
        answers = [LoopReceiptFuture() for _ in range(3)]
        deliver([(answer, Unavailable(ledger="omc")) for answer in answers])
        results = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable] * 3
        return len(woken)

    assert asyncio.run(wait()) == 1


def test_who_waits_no_longer_is_not_told() -> None:
    async def give_up() -> None:
        answer = LoopReceiptFuture()
        answer.cancel()
        assert not answer.set_running_or_notify_cancel()
        deliver([(answer, Unavailable(ledger="omc"))])
        await asyncio.sleep(0)

    asyncio.run(give_up())


def test_a_receipt_that_cannot_be_read_is_its_callers_misfortune_alone() -> None:
    broken, sound, stock = ReceiptFuture(), ReceiptFuture(), Future[Accepted]()
    broken.receipt_of = sound.receipt_of = receipt_of
    wrong = Replayed(b"no receipt", "c", 7, 7)  # type: ignore[arg-type]
    deliver([(broken, wrong), (sound, ACCEPTED), (stock, ACCEPTED)])
    assert isinstance(broken.exception(), ValueError)
    assert (sound.result(), stock.result()) == (RECEIPT, ACCEPTED)
