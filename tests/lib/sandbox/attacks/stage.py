"""A host with secrets on it, and a way to let a command loose in each situation."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lib.sandbox import landlock
from lib.sandbox.runtimes import base_python
from lib.sandbox.zygote_process import ENGINE_ROOT

Situation = Literal["root", "user", "docker", "docker_user"]
SITUATIONS: tuple[Situation, ...] = ("root", "user", "docker", "docker_user")

# What is allowed before an ABI of Landlock, where nothing else would hold it: there the
# probe says that a property is not held.
ALLOWED_BEFORE: dict[Situation, dict[str, int]] = {
    "root": {},
    "user": {},
    "docker": {},
    "docker_user": {
        "truncate_state_database": landlock.TRUNCATE_ABI,
        "signal_server": landlock.SCOPE_ABI,
        "signal_server_by_descriptor": landlock.SCOPE_ABI,
        "stop_init": landlock.SCOPE_ABI,
        "stop_init_by_its_name_on_a_pipe": landlock.SCOPE_ABI,
    },
}
# The oldest ABI with which each property is held, where that hangs on Landlock.
NEEDED_ABI: dict[Situation, dict[str, int]] = {
    "root": {},
    "user": {},
    "docker": {"files": landlock.TRUNCATE_ABI},
    "docker_user": {"files": landlock.TRUNCATE_ABI, "processes": landlock.SCOPE_ABI},
}

HERE = Path(__file__).resolve().parent
SYSTEM_PYTHON = Path("/usr/bin/python3")
# Test processes side by side must not share ids: the kernel counts by them.
RUN_UID = 500_000 + os.getpid() % 30 * 130
NOBODY = 65534
DEADLINE_SECONDS = 60
SYSV_KEY = 0x0F10_0000 + os.getpid() % 0xFFFF
_IPC_CREAT = 0o1000


@dataclass(frozen=True)
class Ended:
    """A command that was let loose, and what its supervisor says."""

    code: int
    error: str
    left: int
    probe: dict[str, str]
    facts: dict[str, str]
    layers: dict[str, Any]
    output: str

    @property
    def verdicts(self) -> dict[str, str]:
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]
        return {line["name"]: line["verdict"] for line in lines}

    def detail(self, name: str) -> str:
        """Say how one attempt went, for the message of a failed test."""
        return next((line for line in self.output.splitlines() if f'"{name}"' in line), "missing")


@dataclass
class Stage:
    """Folders of a server with two runs, below one folder that all may pass."""

    root: Path
    _count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.root.chmod(0o755)
        package = self.root / "source" / "lib" / "sandbox"
        package.mkdir(parents=True)
        for module in (ENGINE_ROOT / "lib" / "sandbox").glob("*.py"):
            shutil.copy(module, package)
        for script in ("attempts.py", "abilities.py", "launch.py", "docker_profile.py"):
            shutil.copy(HERE / script, self.root / "source")
        self._lay_out_host()

    def _lay_out_host(self) -> None:
        (self.root / "data" / "runs" / "other").mkdir(parents=True)
        (self.root / "data" / "runs" / "other" / "secret").write_text("of another run")
        (self.root / "environment").mkdir()
        suid = self.root / "environment" / "id"
        shutil.copy("/usr/bin/id", suid)
        suid.chmod(0o4755)
        for path in self.leftovers.values():
            path.write_text("left over")
            path.chmod(0o644)
        ctypes.CDLL(None).shmget(SYSV_KEY, 4096, _IPC_CREAT | 0o666)

    @property
    def leftovers(self) -> dict[str, Path]:
        name = f"floom-leftover-{self.root.name}"
        return {"shared_memory": Path("/dev/shm") / name, "temporary": Path("/tmp") / name}

    def clear(self) -> None:
        """Remove what lies outside the folder."""
        for path in self.leftovers.values():
            path.unlink(missing_ok=True)
        libc = ctypes.CDLL(None)
        libc.shmctl(libc.shmget(SYSV_KEY, 0, 0), 0, None)  # IPC_RMID

    def let_loose(
        self,
        situation: Situation,
        *arguments: str,
        script: str = "attempts.py",
        command: list[str] | None = None,
        layers: dict[str, object] | None = None,
        python: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> Ended:
        """Run a script, or a command, confined as the probe says, less some layers."""
        python = python or self._python_for(situation)
        attempt = self._new_attempt(script)
        output = attempt / "output"
        self._give(situation, attempt, output)
        folder = attempt / "work"
        configuration = {
            "source": str(self.root / "source"),
            "docker": situation.startswith("docker"),
            "as_nobody": situation.endswith("user"),
            "work": str(folder),
            "sockets": str(attempt / "sockets"),
            "output": str(output),
            "uid": RUN_UID + self._count,
            "sysv_key": SYSV_KEY,
            "command": command or [str(python), "-I", script, "targets.json", *arguments],
            "environment": {"PATH": "/usr/bin:/bin", "HOME": str(folder), **(environment or {})},
            "readable": readable_for(python),
            "environment_folders": [str(self.root / "environment")],
            "hidden": [str(self.root / "data")],
            "layers": layers or {},
            "targets": self._targets(attempt),
        }
        (attempt / "configuration.json").write_text(json.dumps(configuration))
        return self._launch(python, attempt / "configuration.json", output)

    def _new_attempt(self, script: str) -> Path:
        self._count += 1
        attempt = self.root / "data" / "runs" / f"own-{self._count}"
        for name in ("work", "meta", "sockets"):
            (attempt / name).mkdir(parents=True)
        (attempt / "meta" / "secret").write_text("of the supervisor")
        (attempt / "state.db").write_text("state")
        (attempt / "output").write_text("")
        shutil.copy(self.root / "source" / script, attempt / "work")
        return attempt

    def _give(self, situation: Situation, attempt: Path, output: Path) -> None:
        """The server's files are the server's; what another user runs can write its output."""
        output.chmod(0o666)
        if situation.endswith("user") and os.geteuid() == 0:
            for path in (attempt, *attempt.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
            os.chown(self.root / "data" / "runs" / "other", NOBODY, NOBODY)
            os.chown(self.root / "data" / "runs" / "other" / "secret", NOBODY, NOBODY)

    def _targets(self, attempt: Path) -> dict[str, str]:
        return {
            "state": str(attempt / "state.db"),
            "other_run": str(self.root / "data" / "runs" / "other"),
            "engine": str(self.root / "source" / "lib" / "sandbox" / "wire.py"),
            "environment": str(self.root / "environment"),
            "suid_program": str(self.root / "environment" / "id"),
            **{name: str(path) for name, path in self.leftovers.items()},
        }

    def _python_for(self, situation: Situation) -> Path:
        """With a mount namespace the interpreter's own path will do, wherever it is."""
        if situation == "root" or is_open_to_all(base_python()):
            return base_python()
        return SYSTEM_PYTHON.resolve()

    def _launch(self, python: Path, configuration: Path, output: Path) -> Ended:
        program = str(self.root / "source" / "launch.py")
        done = subprocess.run(
            [str(python), "-I", "-c", _RUN_FILE, program, str(configuration)],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=DEADLINE_SECONDS,
            env={},
        )
        if done.returncode != 0:
            raise AssertionError(f"{done.stdout}\n{done.stderr}")
        return Ended(**json.loads(done.stdout), output=output.read_text())


# Isolated, and yet its neighbours can be imported.
_RUN_FILE = (
    "import os, runpy, sys; sys.argv.pop(0); sys.path.insert(0, os.path.dirname(sys.argv[0]));"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def readable_for(python: Path) -> list[str]:
    """Return the folders of an interpreter that is not the system's."""
    return [] if python.is_relative_to("/usr") else [str(python.parents[1])]


def is_open_to_all(path: Path) -> bool:
    """Whether any user may get to a file."""
    return all(folder.stat().st_mode & 0o001 for folder in path.parents)


def landlock_abi() -> int:
    """Return the kernel's, as far as it is known here; 0: no Landlock."""
    try:
        return landlock.abi()
    except OSError:
        return 0


def lost(needs: dict[str, int]) -> set[str]:
    """Return what this kernel's Landlock is too old for."""
    return {name for name, since in needs.items() if landlock_abi() < since}


def lacking(situation: Situation) -> str | None:
    """Say why a situation cannot be had here; None if it can."""
    if sys.platform != "linux":
        return "Linux only"
    if situation in ("root", "docker") and os.geteuid() != 0:
        return "needs root"
    if not is_open_to_all(base_python()) and situation != "root" and not SYSTEM_PYTHON.exists():
        return f"{base_python()} is closed to other users, and there is no {SYSTEM_PYTHON}"
    if situation.startswith("docker") and not landlock_abi():
        return "nothing holds without namespaces and Landlock"
    return None
