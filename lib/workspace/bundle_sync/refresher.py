"""Looks at the store now and then, for readers who do not wait for a slow one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from lib.errors import FloomError

PATIENCE_SECONDS: Final = 0.5  # of a reader; a store in the same region answers in a tenth
_CLOSE_SECONDS: Final = 2.0


class Refresher:
    """Calls `look` at most every so often, one call at a time.

    Args:
        look: May take as long as the store does; a FloomError is known elsewhere.
        every_seconds: How old a look may be.
        patience_seconds: How long a reader waits for it.
        new_thread: Makes one, as `threading.Thread` does.
    """

    def __init__(
        self,
        look: Callable[[], None],
        *,
        every_seconds: float,
        patience_seconds: float,
        new_thread: Callable[..., threading.Thread] = threading.Thread,
    ) -> None:
        self._look = look
        self._new_thread = new_thread
        self._every_seconds = every_seconds
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._due = 0.0
        self._running: threading.Event | None = None
        self._is_closed = False

    def refresh(self) -> None:
        """Look if it is due, and wait for that a little; who comes meanwhile does not wait."""
        with self._lock:
            if self._is_closed or self._running is not None or time.monotonic() < self._due:
                return
            running = self._running = threading.Event()
        try:
            self._new_thread(target=self._run, args=(running,), daemon=True).start()
        except RuntimeError:  # no more threads now: the next reader tries again
            with self._lock:
                self._running = None
            return
        running.wait(self._patience_seconds)

    def close(self) -> None:
        """Begin no look any more, and wait a little for the one that runs; idempotent."""
        with self._lock:
            self._is_closed = True
            running = self._running
        if running is not None:
            running.wait(_CLOSE_SECONDS)

    def _run(self, running: threading.Event) -> None:
        try:
            self._look()
        except FloomError:
            pass  # the state tells of it
        except RuntimeError:  # the end of what it needs
            if not self._is_closed:
                raise
        finally:
            with self._lock:
                self._due = time.monotonic() + self._every_seconds
                self._running = None
            running.set()
