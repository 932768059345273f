"""One build of an environment, on a thread of its own.

It belongs to nobody: runs wait for it, and it is ended when none does any more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lib.environments import tree
from lib.environments.environment import PACKAGES
from lib.environments.install_log import InstallLog
from lib.environments.installer_process import InstallerProcess
from lib.environments.installers import Installer, Step
from lib.environments.port import Customer
from lib.environments.recipe import InstallCancelled, InstallError, Recipe
from lib.environments.store import EnvironmentStore
from lib.environments.wire import InstallExit, InstallRequest
from lib.log import event
from lib.secrets.mask import NO_MASK, Mask

TIMEOUT_SECONDS: Final = 600.0
MEMORY_BYTES: Final = 2 * 1024**3  # of each process of an installer
DISK_BYTES: Final = 2 * 1024**3  # of a build's folder, downloads included
BUILDS_AT_ONCE: Final = 2

_NEEDS_BUILD: Final = "--no-build"  # as uv says that there is no wheel

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workshop:
    """How builds are made here.

    Attributes:
        python: Interpreter of the supervisors.
        isolation: The setting FLOOM_SANDBOX.
        hidden: Folders that no installer may see, such as the data folder.
        mask: Hides the passwords that installers are given.
        slots: So many builds at once; others wait.
    """

    python: Path
    isolation: str
    hidden: tuple[str, ...] = ()
    mask: Mask = NO_MASK
    timeout_seconds: float = TIMEOUT_SECONDS
    memory_bytes: int = MEMORY_BYTES
    disk_bytes: int = DISK_BYTES
    slots: threading.Semaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(BUILDS_AT_ONCE)
    )


class Build:
    """Makes one environment, if nobody else has made it meanwhile.

    Attributes:
        customers: How many wait for it; kept by whoever hands it out.
        log_owner: Who of them gets its log; kept in the same way.
        error: Why it failed; None while it goes on and when it did not.
    """

    def __init__(
        self,
        key: str,
        recipe: Recipe,
        installer: Installer,
        *,
        store: EnvironmentStore,
        workshop: Workshop,
    ) -> None:
        self._key = key
        self._recipe = recipe
        self._installer = installer
        self._store = store
        self._workshop = workshop
        self._process = InstallerProcess(workshop.python)
        self._log = InstallLog(workshop.mask)
        self._cancelled = threading.Event()
        self._done = threading.Event()
        self.customers = 0
        self.log_owner: Customer | None = None
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name=f"install-{self._key[:12]}").start()

    def wait(self, seconds: float) -> bool:
        """Wait for the end; return whether it has come."""
        return self._done.wait(seconds)

    def cancel(self) -> None:
        """End it, with every process of it; no error when it has ended."""
        self._cancelled.set()
        self._process.cancel()

    def check(self) -> None:
        """Raise what it failed with, if it did: InstallError or InstallCancelled."""
        if isinstance(self.error, InstallError):
            raise InstallError(str(self.error))  # each thread an exception of its own
        if self.error is not None:
            raise self.error

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or must: nobody may join it any more."""
        return self._done.is_set() or self._cancelled.is_set()

    @property
    def log_lines(self) -> tuple[str, ...]:
        """What the installer wrote; read it after the end."""
        return self._log.lines

    def _run(self) -> None:
        begun = time.monotonic()
        try:
            with self._slot(), self._store.held_alone(self._key, self._cancelled.wait) as lock:
                self._make(lock)
        except (InstallError, InstallCancelled) as error:
            self.error = error
        except OSError as error:
            self.error = InstallError(f"The packages could not be stored: {error.strerror}")
        except Exception as error:
            log.exception("build_failed")
            self.error = error
        finally:
            self._done.set()
        event(
            log, logging.INFO, "environment_built", environment=self._key, kind=self._recipe.kind,
            failed=self.error is not None, seconds=round(time.monotonic() - begun, 3),
        )  # fmt: skip

    @contextmanager
    def _slot(self) -> Iterator[None]:
        slots = self._workshop.slots
        while not slots.acquire(timeout=0.1):
            if self._cancelled.is_set():
                raise InstallCancelled
        try:
            yield
        finally:
            slots.release()

    def _make(self, lock: int) -> None:
        if self._store.has(self._key):  # another process was quicker
            return
        folder = self._store.begin(self._key)
        try:
            self._install(folder, lock)
            self._store.publish(self._key, folder, self._facts())
        finally:
            tree.remove(folder)
        self._store.evict(held=self._key)

    def _install(self, folder: Path, lock: int) -> None:
        step = self._installer.step(self._recipe, folder)
        for name, text in step.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        ended = self._process.run(self._request(step, folder, lock), self._log.add)
        if ended.code != 0 or ended.ended_by is not None:
            raise self._failure(ended)

    def _request(self, step: Step, folder: Path, lock: int) -> InstallRequest:
        workshop = self._workshop
        return InstallRequest(
            command=step.command,
            environment=dict(step.environment),
            folder=str(folder),
            runtimes=step.runtimes,
            readable=step.readable,
            hidden=workshop.hidden,
            lock=lock,
            private_folder=str(self._store.path / ".private"),
            isolation=workshop.isolation,
            runs_foreign_code=self._recipe.source_builds,
            hosts=step.hosts,
            proxies=dict(step.proxies),
            timeout_seconds=workshop.timeout_seconds,
            memory_bytes=workshop.memory_bytes,
            disk_bytes=workshop.disk_bytes,
        )

    def _failure(self, ended: InstallExit) -> Exception:
        if ended.ended_by == "cancel":
            return InstallCancelled()
        source = self._recipe.source
        if ended.problem is not None:
            return InstallError(f"{source} could not be installed: {ended.problem}")
        if ended.ended_by == "timeout":
            return InstallError(
                f"{source} could not be installed within {self._workshop.timeout_seconds:.0f} s"
            )
        if ended.ended_by == "disk":
            limit = self._workshop.disk_bytes // 1024**2
            return InstallError(f"The packages of {source} need more than {limit} MiB")
        said = self._log.message or f"the installer ended with {ended.code}"
        if _NEEDS_BUILD in said:
            said += "\n`exec.source_builds: true` in worker.yml allows to build packages"
        return InstallError(f"{source} could not be installed: {said}")

    def _facts(self) -> dict[str, object]:
        return {
            "kind": self._recipe.kind,
            "files": dict(self._recipe.files),
            "tools": dict(self._installer.tools),
            "folder": PACKAGES,
        }
