"""Run a shipped worker's real entry the way a run does: own folder, bare environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

WORKERS = Path(__file__).parents[2] / "workers"
DEADLINE_SECONDS = 60


def interpreter() -> str:
    """Return the base interpreter's real file: a run never sees the virtual environment."""
    return str(Path(getattr(sys, "_base_executable", "") or sys.executable).resolve())


@dataclass(frozen=True)
class Finished:
    """What a worker left behind."""

    folder: Path
    exit_code: int
    stdout: str
    stderr: str

    @property
    def result(self) -> dict[str, Any]:
        parsed = json.loads((self.folder / "result.json").read_bytes())
        assert isinstance(parsed, dict)
        return parsed

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs of a run that must have succeeded."""
        assert self.exit_code == 0, self.stderr
        assert self.result["status"] == "success", self.result
        outputs = self.result["outputs"]
        assert isinstance(outputs, dict)
        return outputs

    @property
    def error(self) -> dict[str, Any]:
        """Code and message of a run that must have reported an error."""
        assert self.exit_code == 0, self.stderr
        assert self.result["status"] == "error", self.result
        assert self.result["error"]["message"]
        return {"code": self.result["error_code"], **self.result["error"]}

    def text(self, path: str) -> str:
        return (self.folder / path).read_bytes().decode("utf-8")  # line ends as they are


@dataclass
class Launcher:
    """Prepares a working directory for one worker and runs its command in it."""

    worker_id: str
    folder: Path
    command: list[str]
    path: str = "/usr/local/bin:/usr/bin:/bin"
    files: dict[str, bytes] = field(default_factory=dict)

    def prepare(self, inputs: Mapping[str, Any]) -> None:
        shutil.copytree(WORKERS / self.worker_id, self.folder)
        (self.folder / "out").mkdir()
        (self.folder / "inputs.json").write_text(
            json.dumps(inputs, ensure_ascii=False), encoding="utf-8"
        )
        for name, content in self.files.items():
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def environment(self) -> dict[str, str]:
        temporary = self.folder.parent / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            "PATH": self.path,
            "HOME": str(self.folder),
            "TMPDIR": str(temporary),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONUNBUFFERED": "1",
            "FLOOM_RUN_ID": "run_01test",
            "FLOOM_WORKER_ID": self.worker_id,
            "FLOOM_ATTEMPT": "1",
            "FLOOM_PHASE": "",
            "FLOOM_IDEMPOTENCY_KEY": "run_01test",
        }

    def __call__(
        self,
        inputs: Mapping[str, Any],
        *,
        prefix: tuple[str, ...] = (),
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> Finished:
        """Run the worker once; `prefix` is a command that starts it (a limit, for example)."""
        self.prepare(inputs)
        done = subprocess.run(
            [*prefix, *self.command],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=deadline_seconds,
            check=False,
        )
        return Finished(
            self.folder,
            done.returncode,
            done.stdout.decode("utf-8", "replace"),
            done.stderr.decode("utf-8", "replace"),
        )


@pytest.fixture
def launcher(tmp_path: Path) -> Callable[[str], Launcher]:
    """Return a maker of launchers: `launcher("hello-worker")({"who": "Ada"})`."""

    def make(worker_id: str) -> Launcher:
        folder = tmp_path / "work"
        if (WORKERS / worker_id / "run.py").exists():
            command = [interpreter(), "run.py"]
        elif (WORKERS / worker_id / "run.js").exists():
            command = [shutil.which("node") or "node", "run.js"]
        else:
            command = [shutil.which("bash") or "bash", "run.sh"]
        return Launcher(worker_id, folder, command)

    return make
