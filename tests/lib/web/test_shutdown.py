"""The end is heard by every waiter."""

import asyncio
import threading

import pytest

from lib.web.shutdown import Shutdown

DEADLINE_SECONDS = 10


def test_it_wakes_those_who_wait_from_another_thread():
    shutdown = Shutdown()

    async def main():
        async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(shutdown.wait())
            await asyncio.to_thread(shutdown.begin)

    asyncio.run(main())
    assert shutdown.has_begun


def test_who_comes_late_does_not_wait():
    shutdown = Shutdown()
    shutdown.begin()

    async def main():
        async with asyncio.timeout(DEADLINE_SECONDS):
            await shutdown.wait()

    asyncio.run(main())


async def wait_within(shutdown, seconds):
    async with asyncio.timeout(seconds) as limit:
        with shutdown.cutting(limit):
            await asyncio.Event().wait()


def test_it_ends_time_limits():
    shutdown = Shutdown()

    async def main():
        waiting = asyncio.ensure_future(wait_within(shutdown, None))
        await asyncio.to_thread(shutdown.begin)
        for limited in (waiting, wait_within(shutdown, None)):  # who comes late, too
            with pytest.raises(TimeoutError):
                await limited

    asyncio.run(asyncio.wait_for(main(), DEADLINE_SECONDS))


def test_a_time_limit_that_has_ended_is_left_alone():
    shutdown = Shutdown()
    troubles = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, told: troubles.append(told))
        with pytest.raises(TimeoutError):
            await wait_within(shutdown, 0)
        async with asyncio.timeout(None) as limit:
            with shutdown.cutting(limit):
                await asyncio.sleep(0)
                shutdown.begin()
        await asyncio.sleep(0)  # what is to be called by now is called

    asyncio.run(asyncio.wait_for(main(), DEADLINE_SECONDS))
    assert troubles == []


def test_a_closed_loop_does_no_harm():
    shutdown = Shutdown()
    loop = asyncio.new_event_loop()
    waiter = loop.create_task(shutdown.wait())
    loop.call_soon(loop.stop)
    loop.run_forever()
    waiter.cancel()
    loop.run_until_complete(asyncio.gather(waiter, return_exceptions=True))
    loop.close()

    threading.Thread(target=shutdown.begin).start()
    shutdown.begin()
    assert shutdown.has_begun
