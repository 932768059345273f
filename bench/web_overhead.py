"""What the web kernel costs: an operation against a bare Falcon application.

Both answer the same 50 rows as bytes, each in a server process of its own
(uvicorn, uvloop, httptools), under the same keep-alive clients in turns.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import time
from typing import Any

import falcon.asgi
import uvicorn

from bench.kit.figures import paired, ratio
from bench.kit.table import table
from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.clock import SystemClock
from lib.web.access import Access
from lib.web.app import create_app
from lib.web.call import Call, PageReply
from lib.web.operation import operation
from lib.web.paging import PageQuery
from lib.web.route import Route
from lib.web.shutdown import Shutdown
from lib.web.threads import blocking

# As long as a run's summary with its 27 fields.
ROW = b'{"id":"run_01jd0000000000000000000000","worker_id":"hello","filler":"' + b"x" * 530 + b'"}'
ROWS = b"[" + b",".join([ROW] * 50) + b"]"
END = ROWS[-40:]
CONNECTIONS = 16
ROUNDS = 5
SECONDS = 1.0


class BareResource:
    """Falcon alone."""

    async def on_get(self, _request: Any, response: falcon.asgi.Response) -> None:
        """Answer."""
        response.data = ROWS
        response.content_type = "application/json"


class KernelResource:
    """The same answer through the gate and an operation."""

    @operation(
        "list",
        access=Access.MEMBER,
        summary="List",
        query=PageQuery,
        responses={200: list[dict[str, str]]},
    )
    async def on_get(self, _call: Call[PageQuery, None]) -> PageReply:
        """Answer."""
        return PageReply(ROWS, "WzFd")

    @operation(
        "pooled",
        access=Access.MEMBER,
        summary="List",
        query=PageQuery,
        responses={200: list[dict[str, str]]},
    )
    async def on_get_pooled(self, _call: Call[PageQuery, None]) -> PageReply:
        """Answer from a thread."""
        return PageReply(await blocking(bytes, ROWS), "WzFd")


def bare_app() -> falcon.asgi.App[Any, Any]:
    app: falcon.asgi.App[Any, Any] = falcon.asgi.App()
    app.add_route("/rows", BareResource())
    return app


def kernel_app() -> falcon.asgi.App[Any, Any]:
    resource = KernelResource()
    return create_app(
        [Route("/rows", resource), Route("/pooled", resource, "pooled")],
        authenticator=Authenticator(secret="s" * 16, shared_secret_role=Role.MEMBER),
        clock=SystemClock(),
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
    )


APPS = {"bare": bare_app, "kernel": kernel_app}


def serve(name: str, listener: socket.socket) -> None:
    config = uvicorn.Config(
        APPS[name](), loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[listener])


class Client(asyncio.Protocol):
    """Sends the same request again and again on one connection."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.answers = 0
        self._received = 0

    def connection_made(self, transport: Any) -> None:
        """Send the first request."""
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Send the next request once the answer is complete."""
        self._received += len(data)
        if data.endswith(END) and self._received >= len(ROWS):
            self._received = 0
            self.answers += 1
            self.transport.write(self.request)


async def requests_per_second(port: int, path: str) -> float:
    """Return how many answers arrive in a second on all connections."""
    request = (
        f"GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\naccept: */*\r\n"
        f"user-agent: bench\r\nx-floom-secret: {'s' * 16}\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Client(request), "127.0.0.1", port)
        for _ in range(CONNECTIONS)
    ]
    started = time.perf_counter()
    await asyncio.sleep(SECONDS)
    answers = sum(client.answers for _, client in made)
    elapsed = time.perf_counter() - started
    for transport, _ in made:
        transport.close()
    return answers / elapsed


async def compare(ports: dict[str, int]) -> dict[str, list[float]]:
    targets = {
        "bare Falcon": (ports["bare"], "/rows"),
        "operation": (ports["kernel"], "/rows"),
        "operation, limit=50": (ports["kernel"], "/rows?limit=50"),
        "operation, limit=50, in the pool": (ports["kernel"], "/pooled?limit=50"),
    }
    found: dict[str, list[float]] = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, (port, path) in targets.items():
            found[name].append(await requests_per_second(port, path))
    return found


def main() -> str:
    """Run the comparison and return its table."""
    context = multiprocessing.get_context("spawn")
    listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in APPS}
    ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
    servers = [context.Process(target=serve, args=item, daemon=True) for item in listeners.items()]
    for server in servers:
        server.start()
    try:
        found = asyncio.run(compare(ports))
    finally:
        for server in servers:
            server.terminate()
            server.join()
    bare = found["bare Falcon"]
    rows = [
        (name, f"{statistics.median(rates):,.0f}", ratio(rates, bare))
        for name, rates in found.items()
    ]
    return table(["50 rows as bytes, 16 connections", "requests/s", paired("bare")], rows)


if __name__ == "__main__":
    print(main())
