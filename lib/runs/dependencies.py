"""What a worker's files ask to be installed, and having it done before a run needs it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from lib.environments.package_file import LOCKS, read_package
from lib.environments.package_file import NAME as PACKAGE
from lib.environments.port import PackageSource
from lib.environments.recipe import InstallCancelled, InstallError, Recipe
from lib.environments.requirements_file import NAME as REQUIREMENTS
from lib.environments.requirements_file import read_requirements
from lib.log import event
from lib.workspace.registry import Registry
from lib.workspace.workspace import Workspace

log: Final = logging.getLogger(__name__)

OWN_MODULES: Final = "node_modules"


def recipes_of(workspace: Workspace, sha: str, *, source_builds: bool) -> tuple[Recipe, ...]:
    """Return what the files at the top of a worker's folder ask for.

    A worker that brings a `node_modules` of its own gets no other.

    Raises:
        InstallError: a file is not understood, or asks for what is refused.
    """
    tree = workspace.tree(sha)
    found: list[Recipe | None] = []
    if (requirements := tree.find_bytes(REQUIREMENTS)) is not None:
        found.append(read_requirements(requirements, source_builds=source_builds))
    if (package := tree.find_bytes(PACKAGE)) is not None and tree.find(OWN_MODULES) is None:
        locks = {name: tree.find_bytes(name) for name in LOCKS}  # megabytes, perhaps
        known = {name: data for name, data in locks.items() if data is not None}
        found.append(read_package({PACKAGE: package, **known}))
    return tuple(recipe for recipe in found if recipe is not None)


class EarlyInstalls:
    """Installs what saved workers ask for, so that their next run need not wait.

    Nothing depends on it: a run installs what it does not find, and says what
    went wrong. A run that comes while this installs gets the installer's log.

    Args:
        new_thread: Makes one, as `threading.Thread` does.
    """

    keeps_log = False

    def __init__(
        self,
        *,
        workspace: Workspace,
        registry: Registry,
        environments: PackageSource,
        new_thread: Callable[..., threading.Thread] = threading.Thread,
    ) -> None:
        self._new_thread = new_thread
        self._workspace = workspace
        self._registry = registry
        self._environments = environments
        self._lock = threading.Lock()
        self._wanted: list[str] = []
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def request(self, worker_ids: Iterable[str]) -> None:
        """Install for these workers, as they are at the tip, in the background."""
        with self._lock:
            self._wanted += worker_ids
            if self._wanted and self._thread is None and not self._is_closed:
                self._thread = self._start()

    def _start(self) -> threading.Thread | None:
        thread = self._new_thread(target=self._work, name="early-installs")
        try:
            thread.start()
        except RuntimeError as error:  # no more threads now: the next request tries again
            event(log, logging.WARNING, "early_install_failed", detail=str(error))
            return None
        return thread

    def close(self) -> None:
        """Stop at once; what is half built is ended."""
        with self._lock:
            self._is_closed = True
            thread = self._thread
        if thread is not None:
            thread.join()

    def gives_up(self) -> bool:
        """As a customer of environments: whether the server stops."""
        return self._is_closed

    def tell(self, lines: Sequence[str]) -> None:
        """As a customer: nobody would read it."""

    def _work(self) -> None:
        while (worker_id := self._next()) is not None:
            try:
                self._install(worker_id)
            except InstallCancelled:
                continue
            except InstallError as error:
                event(
                    log,
                    logging.WARNING,
                    "early_install_failed",
                    worker_id=worker_id,
                    detail=str(error),
                )
            except Exception:  # a broken workspace is the runs' to report
                log.exception("early_install_failed")

    def _next(self) -> str | None:
        with self._lock:
            if self._wanted and not self._is_closed:
                return self._wanted.pop(0)
            self._thread = None
            return None

    def _install(self, worker_id: str) -> None:
        worker = self._registry.current().workers.get(worker_id)
        manifest = worker.loaded.manifest if worker is not None else None
        if worker is None or manifest is None or worker.quarantined or manifest.archived:
            return
        recipes = recipes_of(self._workspace, worker.sha, source_builds=manifest.source_builds)
        with self._environments.prepare(recipes, self):
            pass
