"""Instance settings of workers in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from lib.storage.records import WorkerSettings


class MemoryWorkerSettingsStore:
    """A WorkerSettingsStore."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settings: dict[str, WorkerSettings] = {}

    def get(self, worker_id: str) -> WorkerSettings:
        """Return a worker's settings; the defaults when none are stored."""
        with self._lock:
            return self._settings.get(worker_id, WorkerSettings())

    def get_all(self) -> Mapping[str, WorkerSettings]:
        """Return all that are stored."""
        with self._lock:
            return dict(self._settings)

    def change(
        self, worker_id: str, decide: Callable[[WorkerSettings], WorkerSettings]
    ) -> WorkerSettings:
        """Replace a worker's settings by what `decide` makes of them, atomically."""
        with self._lock:
            settings = decide(self._settings.get(worker_id, WorkerSettings()))
            self._settings[worker_id] = settings
            return settings
