"""What the sandbox holds in memory: the zygote, one that waits, one that runs.

Proportional set size: pages that several processes share count once in all.
"""

from __future__ import annotations

import json

from bench.kit import servers
from bench.kit.processes import proportional_mib, resident_mib, tree
from bench.kit.table import table
from tests.e2e.server import ServerProcess

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(60)\n"
RUNS = 4

Row = tuple[str, str, str, str]


def main() -> str:
    """Measure; return the table."""
    with servers.floom(FLOOM_MAX_CONCURRENT_RUNS=str(RUNS)) as server:
        server.add_worker("sleeper", "", run_py=SLEEPER)
        server.reload()
        assert server.process is not None
        zygote = tree(server.process.pid)[1:]
        rows = [row("zygote and two that wait", zygote, 1)]
        ids = [server.start_run("sleeper") for _ in range(RUNS)]
        for run_id in ids:
            await_first_line(server, run_id)
        supervisors = [supervisor_of(server, run_id) for run_id in ids]
        rows.append(row("a sleeping Python run, of four", flat(supervisors), RUNS))
        for run_id in ids:
            server.client.post(f"/runs/{run_id}/cancel")
            server.finished(run_id)
    return table(["", "processes", "RSS", "PSS"], rows)


def row(name: str, pids: list[int], runs: int) -> Row:
    """Return the row of some processes, per run."""
    sizes = resident_mib(pids) / runs, proportional_mib(pids) / runs
    resident, proportional = (f"{size:.1f} MiB" for size in sizes)
    return name, f"{len(pids) / runs:.0f}", resident, proportional


def flat(roots: list[int]) -> list[int]:
    """Return the processes of several trees."""
    return [pid for root in roots for pid in tree(root)]


def await_first_line(server: ServerProcess, run_id: str) -> None:
    """Wait until a run is in its worker's code."""
    server.until(lambda: server.get(run_id), lambda run: bool(run["logs"]))


def supervisor_of(server: ServerProcess, run_id: str) -> int:
    """Return the pid of a run's supervisor."""
    (mark,) = (server.data / "runs" / run_id).glob("*/meta/started.json")
    return int(json.loads(mark.read_text())["pid"])


if __name__ == "__main__":
    print(main())
