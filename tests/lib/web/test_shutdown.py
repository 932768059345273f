"""The end is heard by every waiter."""

import asyncio
import threading

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
