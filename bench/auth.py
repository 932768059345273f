"""What it costs to know who is calling: each credential against a public route.

One server on SQLite, the same small answer for everybody, under the same
keep-alive clients in turns. A session and an access token are looked up at each
request; the shared secret is compared.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import uvicorn

from bench.kit.figures import paired, ratio
from bench.kit.table import table
from lib.auth.accounts import Accounts, build_accounts
from lib.auth.authenticator import Authenticator
from lib.auth.built_in import BuiltInAccount
from lib.auth.principal import LOCAL_USER_ID, Principal, Role
from lib.clock import SystemClock
from lib.ids import Ids
from lib.secrets.keys import KEY_BYTES, Key
from lib.storage.sqlite import SqliteAccountStore, SqliteDatabase
from lib.web.access import Access
from lib.web.app import create_app
from lib.web.call import Call, Reply
from lib.web.operation import operation
from lib.web.route import Route
from lib.web.shutdown import Shutdown

SECRET = "s" * 16
CONNECTIONS = 16
ROUNDS = 5
SECONDS = 1.0
END = b'{"ok":true}'


class Resource:
    """A small answer."""

    @operation("public", access=Access.PUBLIC, summary="Public", responses={200: dict[str, bool]})
    async def on_get(self, _call: Call[None, None]) -> Reply:
        """Answer."""
        return Reply(END)

    @operation("member", access=Access.MEMBER, summary="Member", responses={200: dict[str, bool]})
    async def on_get_member(self, _call: Call[None, None]) -> Reply:
        """Answer."""
        return Reply(END)


def accounts_in(database: SqliteDatabase) -> Accounts:
    built_in = BuiltInAccount(
        secret=SECRET, shared_secret_role=Role.ADMIN, key=Key(bytes(KEY_BYTES))
    )
    clock = SystemClock()
    store = SqliteAccountStore(database)
    return build_accounts(store, built_in=built_in, clock=clock, ids=Ids(clock))


def serve(path: Path, listener: socket.socket) -> None:
    resource, accounts = Resource(), accounts_in(SqliteDatabase(path))
    app = create_app(
        [Route("/healthz", resource), Route("/member", resource, "member")],
        authenticator=Authenticator(
            secret=SECRET,
            shared_secret_role=Role.ADMIN,
            bearers={"fpt_": accounts.tokens.check},
            session=accounts.sessions.check,
        ),
        clock=SystemClock(),
        public_url="http://localhost:8000",
        shutdown=Shutdown(),
    )
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[listener])


class Client(asyncio.Protocol):
    """Sends the same request again and again on one connection."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.answers = 0
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        """Send the first request."""
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Send the next request once the answer is complete; any other answer ends it."""
        self._received += data
        if self._received.startswith(b"HTTP/1.1 200") and data.endswith(END):
            self._received = b""
            self.answers += 1
            self.transport.write(self.request)


async def requests_per_second(port: int, path: str, header: str) -> float:
    """Return how many answers arrive in a second on all connections."""
    request = f"GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\n{header}\r\n".encode()
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
    if not answers:
        raise RuntimeError(f"{path} was not answered with 200")
    return answers / elapsed


def credentials_in(path: Path) -> dict[str, str]:
    """Make a user with a session and a token; return the header of each credential."""
    with SqliteDatabase(path) as database:
        accounts = accounts_in(database)
        admin = Principal(LOCAL_USER_ID, Role.ADMIN, "shared_secret")
        invitation = accounts.links.make(admin, email="ada@example.com", role=None)
        cookie = accounts.links.sign_in(invitation.token).cookie
        user = accounts.sessions.check(cookie.encode())
        token = accounts.tokens.create(user, "bench", role=None, days=1).secret.value
    return {
        "shared secret": f"x-floom-secret: {SECRET}\r\n",
        "access token": f"authorization: Bearer {token}\r\n",
        "session": f"cookie: floom_session={cookie}\r\n",
    }


async def compare(port: int, credentials: dict[str, str]) -> dict[str, list[float]]:
    targets = {"public route": ("/healthz", "")}
    targets |= {name: ("/member", header) for name, header in credentials.items()}
    found: dict[str, list[float]] = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, (path, header) in targets.items():
            found[name].append(await requests_per_second(port, path, header))
    return found


def main() -> str:
    """Run the comparison and return its table."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "floom.sqlite3"
        credentials = credentials_in(path)
        listener = socket.create_server(("127.0.0.1", 0))
        server = context.Process(target=serve, args=(path, listener), daemon=True)
        server.start()
        try:
            found = asyncio.run(compare(listener.getsockname()[1], credentials))
        finally:
            server.terminate()
            server.join()
    public = found["public route"]
    rows = [
        (name, f"{statistics.median(rates):,.0f}", ratio(rates, public))
        for name, rates in found.items()
    ]
    head = [f"a small answer, {CONNECTIONS} connections", "requests/s", paired("public")]
    return table(head, rows)


if __name__ == "__main__":
    print(main())
