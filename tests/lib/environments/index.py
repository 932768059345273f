"""A package index and an npm registry on loopback, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.lib.environments.packages import integrity

DEADLINE_SECONDS = 60


class Index:
    """What the server has, and who asked for what.

    Attributes:
        password: What to ask for, as `user:password`; None: nothing.
        asked: Paths, in order; whole addresses where we are asked as a proxy.
        files_at: The address that files are linked to at; ours where it is empty.
        proxy_credentials: What came as `Proxy-Authorization`.
        is_open: Cleared, every request waits.
        is_asked: Set at the first request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.tarballs: dict[str, tuple[dict[str, Any], bytes]] = {}
        self.password: str | None = None
        self.asked: list[str] = []
        self.files_at = ""
        self.proxy_credentials: set[str] = set()
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_asked = threading.Event()
        self.port = 0

    def add(self, *packages: tuple[str, bytes]) -> None:
        """Put wheels and source distributions on the index."""
        self.files.update(packages)

    def add_npm(self, *packages: tuple[str, dict[str, Any], bytes]) -> None:
        """Put packages into the registry, one version each."""
        for name, manifest, data in packages:
            self.tarballs[name] = (manifest, data)

    @property
    def url(self) -> str:
        """The index for pip and uv."""
        user = f"{self.password}@" if self.password else ""
        return f"http://{user}127.0.0.1:{self.port}/simple"

    @property
    def registry(self) -> str:
        """The registry for npm."""
        return f"http://127.0.0.1:{self.port}/npm/"

    @property
    def variables(self) -> dict[str, str]:
        """What an operator sets."""
        return {"UV_DEFAULT_INDEX": self.url, "npm_config_registry": self.registry}

    def hash_of(self, file: str) -> str:
        return "sha256:" + hashlib.sha256(self.files[file]).hexdigest()

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Return media type and body."""
        kind, _, rest = path.strip("/").partition("/")
        if kind == "simple":
            return self._listing(rest.strip("/"))
        if kind == "files" and rest in self.files:
            return "application/octet-stream", self.files[rest]
        if kind == "npm" and unquote(rest) in self.tarballs:
            return "application/json", self._packument(unquote(rest))
        if kind == "tarballs" and unquote(rest) in self.tarballs:
            return "application/octet-stream", self.tarballs[unquote(rest)][1]
        return None

    def _listing(self, name: str) -> tuple[str, bytes] | None:
        found = [file for file in self.files if file.split("-")[0].replace("_", "-") == name]
        links = "".join(
            f'<a href="{self.files_at}/files/{file}#{self.hash_of(file).replace(":", "=")}">{file}</a>\n'
            for file in found
        )
        return (
            ("text/html", f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
            if found
            else None
        )

    def _packument(self, name: str) -> bytes:
        manifest, data = self.tarballs[name]
        version = manifest["version"]
        dist = {
            "tarball": f"http://127.0.0.1:{self.port}/tarballs/{name}",
            "integrity": integrity(data),
        }
        versions = {version: {**manifest, "dist": dist}}
        body = {"name": name, "dist-tags": {"latest": version}, "versions": versions}
        return json.dumps(body).encode()


@contextmanager
def serving() -> Iterator[Index]:
    """Serve an empty index."""
    index = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            index.proxy_credentials |= {*self.headers.get_all("proxy-authorization", [])}
            index.is_asked.set()
            index.is_open.wait(DEADLINE_SECONDS)
            if index.password and not self._is_allowed(index.password):
                self.send_response(401)
                self.send_header("www-authenticate", 'Basic realm="index"')
                self._finish("text/plain", b"password?")
                return
            found = index.answer(urlsplit(self.path).path)  # of whole addresses, too
            self.send_response(200 if found else 404)
            self._finish(*(found or ("text/plain", b"not here")))

        def _is_allowed(self, password: str) -> bool:
            wanted = "Basic " + base64.b64encode(password.encode()).decode()
            return self.headers.get("authorization") == wanted

        def _finish(self, media_type: str, body: bytes) -> None:
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - a handler's names are the library's

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that was killed is no error here."""

    server = Server(("127.0.0.1", 0), Handler)
    index.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield index
    finally:
        index.is_open.set()
        server.shutdown()
        thread.join()
        server.server_close()
