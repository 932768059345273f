"""Node and bash workers from POST to completed, against the same command by hand.

Taken in turns, median of each. Bare means the worker's own command, spawned in
a folder that holds what its run's folder holds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench.hello import JSON, in_turns
from bench.kit import servers
from bench.kit.figures import ms, paired, ratio
from bench.kit.table import table
from tests.e2e.server import ROOT

WORKERS = {
    "json-transform": ("node", "run.js"),
    "disk-usage": ("bash", "run.sh"),
}


def main() -> str:
    """Measure; return the table."""
    rows = []
    with servers.floom() as server, servers.connected(server.port) as http:
        for worker_id, command in WORKERS.items():
            if shutil.which(command[0]) is None:
                continue
            inputs = server.client.get(f"/workers/{worker_id}").json()["example_input"] or {}
            with prepared(worker_id, inputs) as folder:
                calls = (
                    lambda c=command, f=folder: bare(c, f),
                    lambda w=worker_id, i=inputs: run(http, w, i),
                )
                names = (f"bare {' '.join(command)}", f"{worker_id}, sandboxed")
                took = in_turns(dict(zip(names, calls, strict=True)))
            base = took[names[0]]
            rows += [(name, ms(each), ratio(each, base)) for name, each in took.items()]
    return table(["worker", "median", paired("bare")], rows)


@contextmanager
def prepared(worker_id: str, inputs: dict[str, Any]) -> Iterator[Path]:
    """Make a folder as a run's is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "work"
        shutil.copytree(ROOT / "workers" / worker_id, folder)
        (folder / "out").mkdir()
        (folder / "inputs.json").write_text(json.dumps(inputs))
        yield folder


def bare(command: tuple[str, ...], folder: Path) -> float:
    """Spawn the command as anybody would and take its output."""
    begun = time.perf_counter()
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(folder)}
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    return time.perf_counter() - begun


def run(http: HTTPConnection, worker_id: str, inputs: dict[str, Any]) -> float:
    """Start a run and wait for it within the same request."""
    begun = time.perf_counter()
    body = json.dumps({"inputs": inputs})
    http.request("POST", f"/workers/{worker_id}/runs", body, {**JSON, "prefer": "wait=25"})
    answer = http.getresponse()
    done = json.loads(answer.read())
    assert done["status"] == "completed", done
    return time.perf_counter() - begun


if __name__ == "__main__":
    print(main())
