"""A real sandbox, and a way to run one script in it to its end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.manifest.policies import Limits
from lib.sandbox import process_tree
from lib.sandbox.local import LocalSandbox
from lib.sandbox.port import Launch, LiveRun, SandboxMode, Signal
from lib.sandbox.runtimes import base_python
from lib.sandbox.wire import EXIT_FILE, LOG_FILE, STARTED_FILE, ExitRecord
from tests.lib.small_disk import small_disk

__all__ = ["small_disk"]

DEADLINE_SECONDS = 60

only_root_sees_descriptors = pytest.mark.skipif(
    os.geteuid() != 0, reason="a process that is not dumpable shows them to root alone"
)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Look until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass
class Ended:
    """A finished attempt: its record, its log lines and its folder."""

    exit: ExitRecord
    lines: list[tuple[int, int, str, str]]
    folder: Path

    @property
    def text(self) -> str:
        return "\n".join(line[3] for line in self.lines)


class Runner:
    """Starts scripts as attempts of their own."""

    def __init__(self, sandbox: LocalSandbox, root: Path) -> None:
        self.sandbox = sandbox
        self._root = root
        self._count = 0

    def start(
        self,
        script: str = "",
        *,
        command: tuple[str, ...] | None = None,
        limits: Limits | None = None,
        environment: dict[str, str] | None = None,
        warm: bool = True,
        readable: tuple[str, ...] = (),
        has_lasting_secrets: bool = False,
        spoil: Callable[[Path], object] = lambda _folder: None,
        begins: bool = True,
        name: str | None = None,
    ) -> tuple[LiveRun, Path]:
        self._count += 1
        folder = self._root / (name or f"attempt-{self._count}")
        (folder / "work").mkdir(parents=True)
        (folder / "meta").mkdir()
        (folder / "work" / "run.py").write_text(script)
        (folder / "work" / "neighbour.py").write_text("VALUE = 1")
        (folder / "work" / "lib").mkdir()
        (folder / "work" / "lib" / "__init__.py").write_text("VALUE = 2")
        spoil(folder)
        launch = Launch(
            run_id=f"run_{self._count}",
            fence=1,
            folder=folder,
            command=command or (str(base_python()), "run.py"),
            environment={
                "PATH": "/usr/bin:/bin",
                **(environment or {}),
            },
            limits=limits or Limits(),
            first_seq=1,
            warm=warm,
            readable=readable,
            has_lasting_secrets=has_lasting_secrets,
        )
        live = self.sandbox.start(launch)
        if begins:
            live.begin()
        return live, folder

    def finish(self, live: LiveRun, folder: Path) -> Ended:
        while live.wait(DEADLINE_SECONDS) is not Signal.ENDED:
            pass
        live.close()
        record = ExitRecord(**json.loads((folder / "meta" / EXIT_FILE).read_text()))
        log = (folder / "meta" / LOG_FILE).read_text().splitlines()
        return Ended(record, [tuple(json.loads(line)) for line in log], folder)

    def __call__(self, script: str = "", **options: object) -> Ended:
        return self.finish(*self.start(script, **options))  # type: ignore[arg-type]

    def supervisor(self, folder: Path) -> int:
        """Return the pid of an attempt's supervisor, which may serve another by now."""
        return int(json.loads((folder / "meta" / STARTED_FILE).read_text())["pid"])

    def processes(self, folder: Path) -> list[int]:
        """Return what lives of an attempt, as the host numbers it: supervisor, init, the rest."""
        supervisor = self.supervisor(folder)
        return [supervisor, *process_tree.descendants(supervisor)]


MODES: tuple[SandboxMode, ...] = ("off", "best_effort")


@pytest.fixture(scope="module", params=MODES, ids=["bare", "confined"])
def mode(request: pytest.FixtureRequest) -> SandboxMode:
    chosen: SandboxMode = request.param
    return chosen


@pytest.fixture
def own_runner(tmp_path: Path, mode: SandboxMode) -> Iterator[Runner]:
    """A runner whose zygote no other test has."""
    with open_runner(tmp_path, mode) as runner:
        yield runner


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, mode: SandboxMode) -> Iterator[Runner]:
    """A runner that the tests of one module share, as runs share a server's sandbox."""
    with open_runner(tmp_path_factory.mktemp("runner"), mode) as runner:
        yield runner


@contextmanager
def open_runner(root: Path, mode: SandboxMode) -> Iterator[Runner]:
    sandbox = LocalSandbox(root / "sandbox", mode=mode)
    try:
        yield Runner(sandbox, root)
    finally:
        sandbox.close()


@pytest.fixture
def is_alive() -> Callable[[int], bool]:
    def check(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    return check
