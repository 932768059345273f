"""One installation's supervisor, seen from the server."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lib.environments.wire import InstallExit, InstallRequest

ENGINE_ROOT: Final = Path(__file__).resolve().parents[2]
END_SECONDS: Final = 10.0
_PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from lib.environments.supervisor import main; main()"
)


class InstallerProcess:
    """Starts a supervisor, and ends it with all below it.

    Args:
        python: An interpreter; its own packages are not used.
    """

    def __init__(self, python: Path) -> None:
        self._python = python
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_cancelled = False

    def run(self, request: InstallRequest, tell: Callable[[str], None]) -> InstallExit:
        """Run the installer to its end; each line that it writes goes to `tell`."""
        process = subprocess.Popen(
            [str(self._python), "-I", "-c", _PROGRAM, str(ENGINE_ROOT)],
            env={"LANG": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(request.lock,),
        )
        try:
            return self._converse(process, request, tell)
        finally:
            self._end(process)

    def cancel(self) -> None:
        """End it; `run` returns soon. From any thread, also before `run`."""
        with self._lock:
            self._is_cancelled = True
            if self._process is not None and self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()

    def _converse(
        self,
        process: subprocess.Popen[bytes],
        request: InstallRequest,
        tell: Callable[[str], None],
    ) -> InstallExit:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(request.encode())
            process.stdin.flush()
        with self._lock:
            self._process = process
        if self._is_cancelled:
            self.cancel()
        for line in process.stdout:
            answer = json.loads(line)
            if "exit" in answer:
                return InstallExit(**answer["exit"])
            tell(answer["line"])
        return InstallExit(problem="the installer's supervisor was killed")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self.cancel()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
