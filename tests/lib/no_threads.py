"""A host that has no thread to give, until it has again."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any


class _NoThread(threading.Thread):
    def start(self) -> None:
        raise RuntimeError("can't start new thread")


@dataclass
class NoThreads:
    """What makes threads in place of `threading.Thread`."""

    has_threads: bool = False

    def new_thread(self, **options: Any) -> threading.Thread:
        """Return one, which can be started only where the host has threads."""
        return (threading.Thread if self.has_threads else _NoThread)(**options)
