"""The only network that a confined installer has: a proxy that knows where it may go.

It speaks HTTP as proxies do (`CONNECT`, and requests with a whole address). It
resolves names itself, so an installer needs no DNS, and connects to what it has
checked. A package's build is a stranger's program: without this it would reach
the server's own API on loopback, the cloud's metadata and the private network.

Standard library only: it runs in the build's supervisor.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import select
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

CONNECT_SECONDS: Final = 30.0
IDLE_SECONDS: Final = 120.0
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 128
_CHUNK_BYTES: Final = 256 * 1024
_END_OF_HEAD: Final = b"\r\n\r\n"
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
# Nobody's hosts have them (RFC 5737). Where a network answers for public names
# with an address of its way out, it may take one of these, so as to hide nothing.
_DOCUMENTATION: Final = tuple(
    ipaddress.ip_network(each) for each in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
)
_PER_HOP: Final = (b"proxy-", b"connection:", b"keep-alive:")


class Refused(Exception):
    """The proxy does not connect there; the message says why."""


@dataclass(frozen=True)
class Rules:
    """Where a connection may go.

    Attributes:
        hosts: `host:port` that the operator named: allowed wherever they lead.
        anywhere: All others too, also on private networks. Only for installers
            that run nobody's code: the operator's index says where files are.
        proxies: The network's own way out: URLs by `http`, `https` and `all`,
            and under `no` the hosts that are reached without.
    """

    hosts: tuple[str, ...] = ()
    anywhere: bool = False
    proxies: Mapping[str, str] = field(default_factory=dict)

    def proxy_for(self, scheme: str, host: str) -> SplitResult | None:
        """Return the proxy to ask, None to connect directly. Raises Refused."""
        url = self.proxies.get(scheme) or self.proxies.get("all")
        if not url or _is_direct(host, self.proxies.get("no", "")):
            return None
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise Refused(f"the server's proxy for {scheme} is not an http:// address")
        return parts

    def addresses(self, host: str, port: int) -> list[tuple[str, int]]:
        """Return where to connect to, checked. Raises Refused or OSError."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys((str(each[4][0]), port) for each in found))
        if self.anywhere or f"{host.lower()}:{port}" in self.hosts:
            return addresses
        private = [ip for ip, _ in addresses if not _is_public(ip)]
        if private:
            raise Refused(f"{host}:{port} is at {private[0]}, which is not a public address")
        return addresses


class WayOut:
    """Serves one listening socket until the process ends.

    Args:
        tell: Called with a line about each connection that is refused; from
            any thread.
    """

    def __init__(self, listener: socket.socket, rules: Rules, tell: Callable[[str], None]) -> None:
        self._listener = listener
        self._rules = rules
        self._tell = tell
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def start(self) -> None:
        """Accept connections on a thread of their own."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            self._slots.acquire()
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                client.settimeout(IDLE_SECONDS)
                self._answer(client)
        finally:
            self._slots.release()

    def _answer(self, client: socket.socket) -> None:
        head, rest = b"", b""
        try:
            head, rest = _read_head(client)
            server, opening = self._open(head)
        except (Refused, ValueError) as error:
            self._tell(f"No connection: {error}")
            _fail(client, "403 Forbidden", str(error))
            return
        except OSError as error:
            _fail(client, "502 Bad Gateway", str(error))
            return
        with server, contextlib.suppress(OSError):
            if opening:
                server.sendall(opening)
            else:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            server.sendall(rest)
            _carry(client, server)

    def _open(self, head: bytes) -> tuple[socket.socket, bytes]:
        """Return a connection and what to send first; nothing for a tunnel."""
        method, target, _ = head.partition(b"\r\n")[0].decode("ascii").split(" ")
        if method == "CONNECT":
            parts = urlsplit(f"//{target}")
            return self._tunnel(parts.hostname or "", parts.port or 443), b""
        parts = urlsplit(target)
        if parts.scheme != "http" or not parts.hostname:
            raise Refused(f"{target[:80]} is no http:// address")
        proxy = self._rules.proxy_for("http", parts.hostname)
        if proxy is not None:
            return _dial_proxy(proxy), _forwarded(head, target, _credentials(proxy))
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return self._dial(parts.hostname, parts.port or 80), _forwarded(head, path, b"")

    def _tunnel(self, host: str, port: int) -> socket.socket:
        proxy = self._rules.proxy_for("https", host)
        if proxy is None:
            return self._dial(host, port)
        server = _dial_proxy(proxy)
        name = f"[{host}]" if ":" in host else host
        request = f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n".encode()
        server.sendall(request + _credentials(proxy) + b"\r\n")
        answer, _ = _read_head(server)
        status = answer.split(b" ", 2)[1:2]
        if status != [b"200"]:
            server.close()
            raise Refused(f"the server's proxy does not connect to {host}:{port}")
        return server

    def _dial(self, host: str, port: int) -> socket.socket:
        failure: OSError = OSError(f"{host} has no address")
        for address in self._rules.addresses(host, port):
            try:
                server = socket.create_connection(address, CONNECT_SECONDS)
            except OSError as error:
                failure = error
                continue
            server.settimeout(IDLE_SECONDS)
            return server
        raise failure


def _is_direct(host: str, exceptions: str) -> bool:
    """Whether a host is in a list as `NO_PROXY` has it: names, with all below them."""
    names = [each.strip().lstrip(".").lower() for each in exceptions.split(",")]
    return any(
        name == "*" or host.lower() == name or host.lower().endswith(f".{name}")
        for name in names
        if name
    )


def _is_public(address: str) -> bool:
    """Whether an address leads to nobody's own network."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        # An IPv4 address in another coat counts as what it is.
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is not None:
            return _is_public(str(inner))
        if ip.teredo is not None or ip in _NAT64:
            return False
    is_documentation = any(ip in network for network in _DOCUMENTATION)
    return (ip.is_global or is_documentation) and not ip.is_multicast


def _dial_proxy(proxy: SplitResult) -> socket.socket:
    server = socket.create_connection((proxy.hostname or "", proxy.port or 80), CONNECT_SECONDS)
    server.settimeout(IDLE_SECONDS)
    return server


def _credentials(proxy: SplitResult) -> bytes:
    """Return the header with the proxy's password; the installer never sees it."""
    if proxy.username is None:
        return b""
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return b"Proxy-Authorization: Basic " + base64.b64encode(pair.encode()) + b"\r\n"


def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """Return a head with its empty line, and what came behind it. Raises OSError, ValueError."""
    data = b""
    while _END_OF_HEAD not in data:
        part = sock.recv(_CHUNK_BYTES)
        if not part:
            raise ConnectionError("closed within a request")
        data += part
        if len(data) > MAX_HEAD_BYTES and _END_OF_HEAD not in data[:MAX_HEAD_BYTES]:
            raise ValueError("a request's head is too long")
    head, _, rest = data.partition(_END_OF_HEAD)
    return head + _END_OF_HEAD, rest


def _forwarded(head: bytes, target: str, credentials: bytes) -> bytes:
    """Return a head for the next hop: one request a connection, so each is checked."""
    first, *lines = head.removesuffix(_END_OF_HEAD).split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(_PER_HOP)]
    first = b" ".join([first.split(b" ")[0], target.encode(), b"HTTP/1.1"])
    lines = [first, *kept, b"Connection: close"]
    return b"".join(line + b"\r\n" for line in lines) + credentials + b"\r\n"


def _carry(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until both sides have ended, or nothing moves."""
    peers = {client: server, server: client}
    while peers:
        ready, _, _ = select.select(list(peers), [], [], IDLE_SECONDS)
        if not ready:
            return
        for sock in ready:
            data = sock.recv(_CHUNK_BYTES)
            if data:
                peers[sock].sendall(data)
                continue
            peers[sock].shutdown(socket.SHUT_WR)
            del peers[sock]
            if sock is server:
                return  # the answer is whole


def _fail(client: socket.socket, status: str, reason: str) -> None:
    body = reason.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError):
        client.sendall(head.encode() + body)
