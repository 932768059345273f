"""Readers and a store that may be slow."""

from __future__ import annotations

import threading

from lib.errors import Unavailable
from lib.workspace.bundle_sync.refresher import Refresher
from tests.lib.no_threads import NoThreads

PATIENT = 60.0


def test_it_looks_when_it_is_due() -> None:
    looks: list[int] = []
    seldom = Refresher(lambda: looks.append(1), every_seconds=3600, patience_seconds=PATIENT)
    for _ in range(3):
        seldom.refresh()
    assert len(looks) == 1
    often = Refresher(lambda: looks.append(1), every_seconds=0, patience_seconds=PATIENT)
    for _ in range(3):
        often.refresh()
    assert len(looks) == 4


def test_what_fails_is_tried_again_and_no_failure_of_the_reader() -> None:
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        raise Unavailable("The store is down.")

    refresher = Refresher(look, every_seconds=0, patience_seconds=PATIENT)
    refresher.refresh()
    refresher.refresh()
    assert len(looks) == 2


def test_nobody_waits_for_a_slow_store() -> None:
    begun, may_end, looks = threading.Event(), threading.Event(), []

    def look() -> None:
        looks.append(1)
        begun.set()
        may_end.wait(PATIENT)

    refresher = Refresher(look, every_seconds=0, patience_seconds=0)
    refresher.refresh()
    assert begun.wait(PATIENT)
    refresher.refresh()  # returns, and begins no second look
    assert len(looks) == 1
    may_end.set()
    refresher.close()
    refresher.refresh()
    assert len(looks) == 1


def test_a_look_that_got_no_thread_is_tried_again() -> None:
    looks: list[int] = []
    host = NoThreads()
    refresher = Refresher(
        lambda: looks.append(1),
        every_seconds=3600,
        patience_seconds=PATIENT,
        new_thread=host.new_thread,
    )
    refresher.refresh()
    host.has_threads = True
    refresher.refresh()
    assert len(looks) == 1
    refresher.close()
