"""`GET /runs` against a bare Falcon application that returns the same bytes.

Each in a server process of its own (uvicorn, uvloop, httptools), under the
same keep-alive connections of one load process, in turns. `busy`: meanwhile a
run is created every 10 ms and one at a time is executed; the bare application
is then measured beside the same activity.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from bench.kit import load, servers
from bench.kit.figures import paired, ratio
from bench.kit.load import Load, Loader
from bench.kit.table import table

ROWS = 50
RUNS = 120  # more than a page, so that there is a next one
CONNECTIONS = 16
ROUNDS = 7
SECONDS = 0.8
CREATE_EVERY_SECONDS = 0.01
CREATOR_SECONDS = 2 * SECONDS + 1.0

Rates = dict[str, list[float]]


def main() -> str:
    """Measure; return the table."""
    with servers.floom(FLOOM_MAX_CONCURRENT_RUNS="1") as floom, load.loader() as loader:
        fill(loader, floom.port)
        body = floom.client.get(f"/runs?limit={ROWS}").content
        with servers.bare_falcon(body) as bare, load.loader() as creator:
            ports = {"bare Falcon": bare, "GET /runs": floom.port}
            calm = measure(loader, ports)
            busy = measure(loader, ports, creator)
    rows = [*lines(calm, ""), *lines(busy, ", a run created every 10 ms")]
    head = f"{ROWS} rows, {len(body):,} bytes, {CONNECTIONS} connections"
    return table([head, "requests/s", paired("bare")], rows)


def fill(loader: Loader, port: int) -> None:
    """Execute runs until there are enough, and wait for the last."""
    request = load.post(port, "/workers/hello-worker/runs", b"{}", prefer="wait=25")
    done = 0
    while done < RUNS:
        work = Load(port, (request,), 4, 1.0, expect=b'"status":"completed"')
        done += len(loader.run(work).seconds)


def measure(loader: Loader, ports: dict[str, int], creator: Loader | None = None) -> Rates:
    """Return requests a second of each server, a round after the other."""
    rates: Rates = {name: [] for name in ports}
    for _ in range(ROUNDS):
        with creating(creator, ports["GET /runs"]) if creator else nullcontext():
            for name, port in ports.items():
                work = Load(port, (load.get(port, "/runs"),), CONNECTIONS, SECONDS)
                rates[name].append(loader.run(work).per_second)
    return rates


@contextmanager
def creating(creator: Loader, port: int) -> Iterator[None]:
    """Create a run every 10 ms for as long as a round takes."""
    request = load.post(port, "/workers/hello-worker/runs", b"{}")
    work = Load(
        port,
        (request,),
        connections=1,
        seconds=CREATOR_SECONDS,
        expect=b"HTTP/1.1 202",
        every=CREATE_EVERY_SECONDS,
    )
    running = creator.start(work)
    time.sleep(0.1)
    yield
    assert not running.done(), "runs were not created all the time"
    made = running.result()
    assert not made.bad, f"{made.bad} runs were refused"


def lines(rates: Rates, what: str) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the table."""
    bare = rates["bare Falcon"]
    for name, found in rates.items():
        yield f"{name}{what}", f"{statistics.median(found):,.0f}", ratio(found, bare)


if __name__ == "__main__":
    print(main())
