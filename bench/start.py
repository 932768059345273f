"""From starting `local_server.py` to its first answer, and what its imports take."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.kit.figures import ms
from bench.kit.table import table
from tests.e2e.server import ROOT

ROUNDS = 5
START_SECONDS = 30.0
SHOWN_PACKAGES = 12
REQUEST = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
_IMPORTED = re.compile(r"import time: +(\d+) \| +\d+ \| +([\w.]+)")


def main() -> str:
    """Measure; return both tables."""
    fresh, second = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            fresh.append(first_answer(Path(folder)))
            second.append(first_answer(Path(folder)))
    rows = [("on a fresh data folder", ms(fresh)), ("on one that was used", ms(second))]
    return f"{table(['start to first healthy answer', 'median'], rows)}\n\n{imports()}"


def first_answer(folder: Path) -> float:
    """Start a server on `<folder>/data`, stop it again; return the seconds until it answered."""
    port = free_port()
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "local_server.py")],
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "FLOOM_DATA_DIR": str(folder / "data"),
            "FLOOM_PORT": str(port),
        },
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ask(port, deadline=begun + START_SECONDS)
        return time.perf_counter() - begun
    finally:
        process.terminate()
        process.wait(10)


def ask(port: int, *, deadline: float) -> None:
    """Wait for the port, then for the answer: it listens before it can answer."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS) as connection:
                connection.sendall(REQUEST)
                answer = connection.recv(4096)
                assert answer.startswith(b"HTTP/1.1 200"), answer
                return
        except ConnectionError:
            assert time.perf_counter() < deadline, "the server did not start"
            time.sleep(0.001)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def imports() -> str:
    """Return which packages' own import time is largest (`-X importtime`)."""
    spent: Counter[str] = Counter()
    for _ in range(ROUNDS):
        spent.update(_import_times())
    rows = [
        (name, f"{us / ROUNDS / 1000:.0f} ms") for name, us in spent.most_common(SHOWN_PACKAGES)
    ]
    whole = f"{spent.total() / ROUNDS / 1000:.0f} ms"
    return table(["imports of local_server.py, traced", "mean"], [("all", whole), *rows])


def _import_times() -> Counter[str]:
    """Return microseconds by top-level package; the standard library is one."""
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import handlers.registry, lib.serving"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    spent: Counter[str] = Counter()
    for microseconds, module in _IMPORTED.findall(traced.stderr):
        package = module.partition(".")[0]
        standard = package in sys.stdlib_module_names
        spent["standard library" if standard else package] += int(microseconds)
    return spent


if __name__ == "__main__":
    print(main())
