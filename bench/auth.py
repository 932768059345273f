"""What it costs to know who is calling: each credential against a public route.

One server on SQLite, the same small answer for everybody, under the same
keep-alive clients in turns. A session and an access token are looked up at each
request; the shared secret is compared.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import tempfile
from pathlib import Path

import uvicorn

from bench.kit import load
from bench.kit.figures import paired, ratio
from bench.kit.load import Load, Loader
from bench.kit.servers import await_answer
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


def requests_per_second(loader: Loader, port: int, path: str, header: str) -> float:
    """Return how many answers arrive in a second on all connections."""
    request = f"GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\n{header}\r\n".encode()
    return loader.run(Load(port, (request,), CONNECTIONS, SECONDS)).per_second


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


def compare(loader: Loader, port: int, credentials: dict[str, str]) -> dict[str, list[float]]:
    """Return the rates of each credential, measured in turns."""
    targets = {"public route": ("/healthz", "")}
    targets |= {name: ("/member", header) for name, header in credentials.items()}
    found: dict[str, list[float]] = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, (path, header) in targets.items():
            found[name].append(requests_per_second(loader, port, path, header))
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
            await_answer(listener.getsockname()[1], "/healthz")
            with load.loader() as loader:
                found = compare(loader, listener.getsockname()[1], credentials)
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
