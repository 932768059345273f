"""What the audit log costs a change: the same calls with it and without it.

Two servers on data folders of their own, whole but for the engine, so that a
start of a run is measured and not the run. Everything is on disk when a call
is answered, the entry included. The same load goes to both in turns.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import uvicorn

from bench.kit import load
from bench.kit.figures import ms, paired, ratio
from bench.kit.load import Load, Loader
from bench.kit.servers import await_answer
from bench.kit.table import table
from handlers.registry import all_routes
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.bootstrap import Local, build_app
from lib.settings import Settings
from lib.web.app import App, create_app
from lib.web.shutdown import Shutdown

ROUNDS: Final = 5
SECONDS: Final = 1.5
CONNECTIONS: Final = (1, 16)
CALLS: Final = {
    "start a run": ("/workers/hello-worker/runs", b'{"inputs":{}}', b"HTTP/1.1 202"),
    "a call that is refused (404)": ("/workers/nobody/runs", b"{}", b"HTTP/1.1 404"),
}


def main() -> str:
    """Return a table of the figures."""
    with ExitStack() as stack:
        loader = stack.enter_context(load.loader())
        ports = {audited: stack.enter_context(server(audited=audited)) for audited in (True, False)}
        rows = [
            row
            for name in CALLS
            for connections in CONNECTIONS
            for row in compared(loader, ports, name, connections)
        ]
    return table(["what", "callers", "median", "calls/s", paired("without")], rows)


def compared(
    loader: Loader, ports: dict[bool, int], name: str, connections: int
) -> Iterator[tuple[str, ...]]:
    """Yield a row without the log and one with it; the ratio is that of the rates."""
    path, body, expect = CALLS[name]
    rates: dict[bool, list[float]] = {True: [], False: []}
    medians: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ROUNDS):
        for audited, port in ports.items():
            request = load.post(port, path, body)
            found = loader.run(Load(port, (request,), connections, SECONDS, expect))
            rates[audited].append(found.per_second)
            medians[audited].append(found.median)
    for audited, words in ((False, "without"), (True, "with the audit log")):
        rate = f"{statistics.median(rates[audited]):,.0f}"
        of_it = ratio(rates[audited], rates[False])
        yield f"{name}, {words}", str(connections), ms(medians[audited]), rate, of_it


@contextmanager
def server(*, audited: bool) -> Iterator[int]:
    """Run a server in a process of its own; yield its port."""
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.create_server(("127.0.0.1", 0))
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(Path(folder), listener, audited), daemon=True
        )
        process.start()
        try:
            await_answer(listener.getsockname()[1], "/healthz")
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.join()
            listener.close()


def _serve(folder: Path, listener: socket.socket, audited: bool) -> None:
    settings = Settings.model_validate({"FLOOM_DATA_DIR": folder, "FLOOM_SANDBOX": "best_effort"})
    with Local(settings) as local:
        config = uvicorn.Config(
            _app(settings, local, audited=audited), loop="uvloop", http="httptools",
            access_log=False, log_level="warning",
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listener])


def _app(settings: Settings, local: Local, *, audited: bool) -> App:
    services = local.services
    if audited:
        return build_app(settings, services, all_routes(services), Shutdown())
    return create_app(
        all_routes(services),
        authenticator=Authenticator(secret=None, shared_secret_role=Role.MEMBER),
        clock=services.clock,
        public_url=settings.base_url,
        shutdown=Shutdown(),
    )


if __name__ == "__main__":
    print(main())
