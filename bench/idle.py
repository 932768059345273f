"""What a server takes that has nothing to do: memory and processor time.

Measured twice: as it comes up, and after runs, when its zygote waits for the
next. Counted is the whole tree of processes.
"""

from __future__ import annotations

import time

from bench.kit import servers
from bench.kit.processes import cpu_seconds, proportional_mib, resident_mib, tree
from bench.kit.table import table

SETTLE_SECONDS = 2.0
SECONDS = 12.0
RUNS = 20

Row = tuple[str, str, str, str, str]


def main() -> str:
    """Measure; return the table."""
    with servers.floom() as server:
        assert server.process is not None
        fresh = look("fresh", server.process.pid)
        for _ in range(RUNS):
            server.run("hello-worker")
        used = look(f"after {RUNS} runs", server.process.pid)
    return table(["idle server", "processes", "RSS", "PSS", "CPU"], [fresh, used])


def look(when: str, pid: int) -> Row:
    """Let it settle, then watch it for a while."""
    time.sleep(SETTLE_SECONDS)
    pids = tree(pid)
    before, begun = cpu_seconds(pids), time.perf_counter()
    time.sleep(SECONDS)
    share = (cpu_seconds(pids) - before) / (time.perf_counter() - begun)
    memory = f"{resident_mib(pids):.0f} MiB", f"{proportional_mib(pids):.0f} MiB"
    return (when, str(len(pids)), *memory, f"{share:.2%}")


if __name__ == "__main__":
    print(main())
