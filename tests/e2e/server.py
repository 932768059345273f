"""The real server as a process of its own, as an operator starts it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30
_URL = re.compile(r"(http://localhost:\d+)/docs")


class ServerProcess:
    """One server on one data folder; may be killed and started again.

    Args:
        launcher: What comes before the program's name; by default this interpreter.

    Attributes:
        url: Base address once it runs.
        client: Speaks to it.
        errors: What it wrote to standard error, all lives together.
    """

    def __init__(
        self, data: Path, port: int = 0, launcher: Sequence[str] = (), **environment: str
    ) -> None:
        self.data = data
        self.port = port
        self.errors = data.parent / f"{data.name}.stderr"
        self._environment = environment
        self._launcher = launcher or (sys.executable,)
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        self.client = httpx.Client()

    @property
    def workspace(self) -> Path:
        return self.data / "workspace"

    def start(self) -> Self:
        """Start it and wait for its banner."""
        self.process = self.spawn()
        self.url = self._read_url(self.process)
        self.port = int(self.url.rpartition(":")[2])
        headers = {}
        if secret := self._environment.get("FLOOM_SECRET"):
            headers["x-floom-secret"] = secret
        self.client = httpx.Client(base_url=self.url, timeout=60, headers=headers)
        return self

    def spawn(self) -> subprocess.Popen[str]:
        """Start its process and wait for nothing."""
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "FLOOM_DATA_DIR": str(self.data),
            "FLOOM_PORT": str(self.port),
            "PYTHONWARNINGS": "error",
            **self._environment,
        }
        with self.errors.open("a") as errors:
            return subprocess.Popen(
                [*self._launcher, str(ROOT / "local_server.py")],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=self.data.parent,
            )

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end and return its exit status."""
        return self._end(signal.SIGTERM)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def run(self, worker_id: str, wait: int = 25, **inputs: Any) -> dict[str, Any]:
        """Start a run and return it finished."""
        answer = self.client.post(
            f"/workers/{worker_id}/runs",
            json={"inputs": inputs},
            headers={"prefer": f"wait={wait}"},
        )
        assert answer.status_code in (200, 202), answer.text
        body: dict[str, Any] = answer.json()
        return body if answer.status_code == 200 else self.finished(body["id"])

    def start_run(self, worker_id: str, **inputs: Any) -> str:
        """Start a run and return its id."""
        answer = self.client.post(f"/workers/{worker_id}/runs", json={"inputs": inputs})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def get(self, run_id: str) -> dict[str, Any]:
        """Return a run with all its details."""
        answer = self.client.get(f"/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def finished(self, run_id: str, seconds: float = 60) -> dict[str, Any]:
        """Return a run once it has settled."""
        settled = {"completed", "failed", "cancelled", "pending_approval"}
        return self.until(lambda: self.get(run_id), lambda run: run["status"] in settled, seconds)

    def wait_until_tidied_up(self) -> None:
        """Wait until no folder of an attempt is left: they go soon after who waits is answered."""
        runs = self.data / "runs"
        self.until(dict, lambda _: not any(runs.iterdir()))

    def until(
        self,
        look: Callable[[], dict[str, Any]],
        holds: Callable[[dict[str, Any]], bool],
        seconds: float = 60,
    ) -> dict[str, Any]:
        """Look until something holds, and return what was seen."""
        deadline = time.monotonic() + seconds
        while True:
            seen = look()
            if holds(seen):
                return seen
            assert time.monotonic() < deadline, seen
            time.sleep(0.02)

    def add_worker(self, worker_id: str, manifest: str, **files: str) -> None:
        """Write a worker into the workspace's folder by hand; `run_py` means run.py."""
        folder = self.workspace / "workers" / worker_id
        folder.mkdir(parents=True, exist_ok=True)
        head = (
            f'schema_version: "0.3"\nname: {worker_id}\ntitle: {worker_id}\n'
            "description: A worker of a test.\nversion: 1.0.0\n"
        )
        (folder / "worker.yml").write_text(head + manifest)
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text)

    def reload(self, **body: Any) -> dict[str, Any]:
        """Reload and return the answer."""
        answer = self.client.post("/workers/reload", json=body)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.client.close()
        self.process.send_signal(number)
        status = self.process.wait(30)
        if self.process.stdout:
            self.process.stdout.close()
        return status

    def _read_url(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        timer = threading.Timer(START_SECONDS, process.kill)
        timer.start()
        try:
            for line in process.stdout:
                if found := _URL.search(line):
                    return found[1]
        finally:
            timer.cancel()
        process.wait()
        process.stdout.close()
        raise AssertionError(f"the server did not start: {self.errors.read_text()[-2000:]}")
