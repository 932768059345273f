"""The pool: bounded, transparent, usable again."""

import asyncio
import contextvars
import threading

import pytest

from lib.errors import Unavailable
from lib.web.threads import Pool, blocking, use
from tests.lib.no_threads import NoThreads

NAME = contextvars.ContextVar("NAME", default="unset")
DEADLINE_SECONDS = 10


@pytest.fixture
def pool():
    made = Pool(max_threads=3)
    yield made
    made.close()


def run(main):
    async def bounded():
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await main()

    return asyncio.run(bounded())


def test_results_arguments_and_context_pass_through(pool):
    def work(a, *, b):
        return a, b, NAME.get()

    async def main():
        use(pool)
        NAME.set("mine")
        return await blocking(work, 1, b=2)

    assert run(main) == (1, 2, "mine")


@pytest.mark.parametrize("error", [KeyError("k"), SystemExit(3), StopIteration()])
def test_errors_pass_through(pool, error):
    def fail():
        raise error

    async def main():
        use(pool)
        with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
            await blocking(fail)
        return await blocking(lambda: "still works")

    assert run(main) == "still works"


def test_no_more_threads_than_allowed_work_at_once(pool):
    busy, peak, lock = set(), [0], threading.Lock()
    together = threading.Barrier(3)

    def work():
        with lock:
            busy.add(threading.get_ident())
            peak[0] = max(peak[0], len(busy))
        together.wait(DEADLINE_SECONDS)
        with lock:
            busy.discard(threading.get_ident())

    async def main():
        use(pool)
        await asyncio.gather(*(blocking(work) for _ in range(12)))

    run(main)
    assert peak[0] == 3


def test_a_cancelled_caller_leaves_the_pool_usable(pool):
    started, release = threading.Event(), threading.Event()

    def work():
        started.set()
        assert release.wait(DEADLINE_SECONDS)

    async def main():
        use(pool)
        task = asyncio.create_task(blocking(work))
        await asyncio.to_thread(started.wait, DEADLINE_SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        return await blocking(lambda: 1)

    assert run(main) == 1


def test_it_works_again_after_it_was_closed_and_on_another_loop(pool):
    async def main():
        use(pool)
        return await blocking(threading.current_thread)

    first = run(main)
    pool.close()
    second = run(main)
    first.join(DEADLINE_SECONDS)
    assert not first.is_alive()
    assert second is not first


def test_without_a_pool_the_loops_own_executor_is_used():
    async def main():
        return await blocking(threading.current_thread)

    assert run(main) is not threading.current_thread()


def test_a_thread_that_cannot_be_had_costs_no_place():
    host = NoThreads()
    pool = Pool(max_threads=2, new_thread=host.new_thread)

    async def main():
        use(pool)
        for _ in range(5):
            with pytest.raises(Unavailable):
                await blocking(int)
        host.has_threads = True
        assert await blocking(lambda: 1) == 1
        host.has_threads = False
        return await asyncio.gather(*(blocking(lambda: 2) for _ in range(4)))

    assert run(main) == [2, 2, 2, 2]
    pool.close()
