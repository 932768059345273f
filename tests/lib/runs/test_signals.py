"""Wake-ups: a ring before the wait counts, and nobody else is woken."""

from __future__ import annotations

import asyncio
import threading

from lib.runs.signals import Bell, Listener, RunSignals
from lib.storage.records import RunRecord
from tests.lib.runs.world import World

DEADLINE_SECONDS = 20


def test_a_ring_before_the_wait_is_not_lost_and_counts_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    bell.wait(None)
    rung = threading.Event()

    def wait() -> None:
        bell.wait(None)
        rung.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not rung.is_set()
    bell.ring()
    thread.join(DEADLINE_SECONDS)
    assert rung.is_set()


def test_a_wait_ends_with_its_time() -> None:
    Bell().wait(0)


def test_only_those_who_listen_for_the_run_are_woken() -> None:
    async def main() -> list[bool]:
        signals = RunSignals()
        with signals.listen("a") as first, signals.listen("a") as second, signals.listen("b") as b:
            threading.Thread(target=signals.notify, args=("a",)).start()
            return [
                await first.wait(DEADLINE_SECONDS),
                await second.wait(DEADLINE_SECONDS),
                await b.wait(0),
            ]

    assert asyncio.run(main()) == [True, True, False]


def test_progress_wakes_those_that_follow_and_not_those_that_wait_for_the_end() -> None:
    async def main() -> list[bool]:
        signals = RunSignals()
        with signals.listen("a") as follower, signals.listen("a", hears_progress=False) as waiter:
            signals.notify_progress("a")
            heard = [await follower.wait(DEADLINE_SECONDS), await waiter.wait(0)]
            signals.notify("a")
            return [
                *heard,
                await follower.wait(DEADLINE_SECONDS),
                await waiter.wait(DEADLINE_SECONDS),
            ]

    assert asyncio.run(main()) == [True, False, True, True]


def test_a_signal_before_the_wait_is_not_lost_and_counts_once() -> None:
    async def main() -> list[bool]:
        signals = RunSignals()
        with signals.listen("a") as listener:
            signals.notify("a")
            signals.notify("a")
            return [await listener.wait(DEADLINE_SECONDS), await listener.wait(0)]

    assert asyncio.run(main()) == [True, False]


def test_who_rings_may_say_what_became_of_the_run(world: World) -> None:
    world.add_worker()
    run = world.claimed()

    async def main() -> list[RunRecord | None]:
        signals, heard = RunSignals(), []
        with signals.listen(run.id) as listener:
            for told in (run, None):
                signals.notify(run.id, told)
                assert await listener.wait()
                heard.append(listener.heard)
        return heard

    assert asyncio.run(main()) == [run, None]


def test_who_listens_no_more_is_forgotten() -> None:
    async def main() -> RunSignals:
        signals = RunSignals()
        with signals.listen("a"):
            with signals.listen("a"):
                pass
            signals.notify("a")
        return signals

    signals = asyncio.run(main())
    assert not signals._listeners
    signals.notify("a")


def test_a_listener_whose_loop_is_gone_disturbs_nobody() -> None:
    async def make() -> Listener:
        return Listener()

    asyncio.run(make()).ring()
