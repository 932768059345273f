"""SIGINT and SIGTERM, from the program's first line to its last.

By default they end a process wherever it is, with a traceback or half way
through an orderly end. Here the first one is a wish that the program hears when
it can, and any further one changes nothing. Standard library only: this is
imported before all else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, Self

STOP_SECONDS: Final = 4.0  # of the five in which a server that was told to stop has ended
NUMBERS: Final = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Takes the signals while it is entered; ignores them from then on.

    As long as nothing is held, a signal ends the process on the spot with
    status 0: an import needs no orderly end.

    Args:
        stop_seconds: How long an orderly end may take, before the process ends
            with status 0 all the same. What it held is then found as after a
            crash.
    """

    def __init__(self, *, stop_seconds: float = STOP_SECONDS) -> None:
        self._stop_seconds = stop_seconds
        self._is_holding = False
        self._has_come = False
        self._deadline = threading.Event()  # begins to run when it is set
        self._on_stop: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        for number in NUMBERS:
            signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        # Not the handlers from before: the interpreter has yet to end, and would die by a signal.
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    @property
    def have_come(self) -> bool:
        """Whether the process was told to stop."""
        return self._has_come

    def hold(self) -> None:
        """From here on there is something to be taken down: a signal is noted only."""
        threading.Thread(target=self._enforce, name="stop-deadline", daemon=True).start()
        self._is_holding = True

    @contextlib.contextmanager
    def calling(self, on_stop: Callable[[], None]) -> Iterator[None]:
        """Call `on_stop` when a signal comes, or at once if one came before.

        It must be fit for a signal handler, and may be called twice.
        """
        self._on_stop = on_stop
        try:
            if self._has_come:  # looked at after the line above: one may come in between
                on_stop()
            yield
        finally:
            self._on_stop = None

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if not self._is_holding:
            os._exit(0)
        if self._has_come:
            return
        self._has_come = True
        self._deadline.set()
        if self._on_stop is not None:
            self._on_stop()

    def _enforce(self) -> None:
        self._deadline.wait()
        threading.Event().wait(self._stop_seconds)  # the thread ends with the process
        import logging  # here: what is imported above delays the first line that hears a signal

        logging.getLogger(__name__).warning("stop_cut_short")
        os._exit(0)
