"""Instance settings of workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from lib.storage.records import WorkerSettings


class WorkerSettingsStore(Protocol):
    """Instance settings of workers: enabled, saved inputs."""

    def get(self, worker_id: str) -> WorkerSettings:
        """Return a worker's settings; the defaults when none are stored."""
        ...

    def get_all(self) -> Mapping[str, WorkerSettings]:
        """Return all that are stored."""
        ...

    def change(
        self, worker_id: str, decide: Callable[[WorkerSettings], WorkerSettings]
    ) -> WorkerSettings:
        """Replace a worker's settings by what `decide` makes of them, atomically."""
        ...
