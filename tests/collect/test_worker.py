"""Work beside the event loop."""

import asyncio
import threading

import pytest

from truetape.collect.worker import Worker


async def test_work_is_done_in_order_in_one_thread() -> None:
    worker, done = Worker("test"), []
    futures = [worker.do(lambda n=n: done.append((n, threading.get_ident()))) for n in range(50)]
    await asyncio.gather(*futures)
    worker.end()
    assert [n for n, _ in done] == list(range(50))
    assert len({thread for _, thread in done} - {threading.get_ident()}) == 1


async def test_errors_are_raised_where_they_are_awaited_and_end_nothing() -> None:
    worker = Worker("test")
    with pytest.raises(ZeroDivisionError):
        await worker.do(lambda: 1 / 0)
    assert await worker.do(lambda: 7) == 7
    worker.end()


async def test_cancelled_work_still_completes() -> None:
    worker, may, seen = Worker("test"), threading.Event(), []
    waiting = worker.do(lambda: seen.append(may.wait(10)))
    waiting.cancel()
    may.set()
    await worker.do(lambda: None)
    assert seen == [True]
    worker.end()


def test_loop_that_is_over_is_not_missed() -> None:
    worker, may = Worker("test"), threading.Event()

    async def begin() -> None:
        worker.do(lambda: may.wait(10))

    asyncio.run(begin())
    may.set()
    worker._thread.join(10)
    assert not worker._thread.is_alive()
