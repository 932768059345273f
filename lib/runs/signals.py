"""Wake-ups inside one process, so that nothing polls.

Threads of the engine ring; coroutines of the web layer and the dispatcher's
thread wait. A missed ring costs time only: every waiter looks at the store
first, and again after its timeout.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from lib.storage.records import RunRecord


class Bell:
    """A bell that one thread waits for; rings before the wait are not lost."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        """Wake the waiting thread, or spare it its next wait."""
        self._event.set()

    def wait(self, timeout_seconds: float | None) -> None:
        """Return after a ring or the timeout."""
        self._event.wait(timeout_seconds)
        self._event.clear()


class Listener:
    """A coroutine's ear for one run; made by `RunSignals.listen`.

    Attributes:
        hears_progress: Whether it wants to know how the run gets on, too.
        heard: The run as the last ring told it; None: the store knows.
    """

    def __init__(self, *, hears_progress: bool = True) -> None:
        self.hears_progress = hears_progress
        self.heard: RunRecord | None = None
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    async def wait(self, timeout_seconds: float | None = None) -> bool:
        """Return whether something happened to the run within the timeout, if there is one."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def ring(self, run: RunRecord | None = None) -> None:
        """Wake the coroutine, from any thread; no error when its loop is closed.

        Args:
            run: As it is now, for whoever has it at hand.
        """
        try:
            self._loop.call_soon_threadsafe(self._hear, run)
        except RuntimeError:
            return

    def _hear(self, run: RunRecord | None) -> None:
        self.heard = run
        self._event.set()


class RunSignals:
    """Who wants to know when something happens to a run.

    Progress is told apart: who only waits for a run to settle would be woken for its
    start and for its log, look at the store each time, and sleep again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)

    def notify(self, run_id: str, run: RunRecord | None = None) -> None:
        """Wake all that listen for this run; see `Listener.ring`."""
        for listener in self._find(run_id):
            listener.ring(run)

    def notify_progress(self, run_id: str) -> None:
        """Wake those that follow this run: it began, or has more log; it has not settled."""
        for listener in self._find(run_id):
            if listener.hears_progress:
                listener.ring()

    def _find(self, run_id: str) -> tuple[Listener, ...]:
        with self._lock:
            return tuple(self._listeners.get(run_id, ()))

    @contextmanager
    def listen(self, run_id: str, *, hears_progress: bool = True) -> Iterator[Listener]:
        """Listen from here on; look at the store after this, or do this before there is a run."""
        listener = Listener(hears_progress=hears_progress)
        with self._lock:
            self._listeners[run_id].add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners[run_id].discard(listener)
                if not self._listeners[run_id]:
                    del self._listeners[run_id]
