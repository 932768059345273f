"""Mail servers on loopback: real ones, and ones that behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DEADLINE_SECONDS = 20


@dataclass
class Letters:
    """What a server was given, and what it answers to it."""

    taken: list[Envelope] = field(default_factory=list)
    helos: list[str] = field(default_factory=list)
    were_encrypted: list[bool] = field(default_factory=list)
    logins: list[LoginPassword] = field(default_factory=list)
    rcpt_answer: str = "250 OK"
    data_answer: str = "250 OK"

    async def handle_RCPT(self, _server, _session, envelope, address, _options) -> str:  # noqa: N802
        if self.rcpt_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt_answer

    async def handle_DATA(self, _server, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.taken.append(envelope)
        self.helos.append(str(session.host_name))
        self.were_encrypted.append(session.ssl is not None)
        return self.data_answer

    def authenticate(self, _server, _session, _envelope, _mechanism, login: Any) -> AuthResult:
        self.logins.append(login)
        return AuthResult(success=login == LoginPassword(b"ada", b"correct horse"), handled=False)


@contextlib.contextmanager
def mail_server(
    letters: Letters,
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    has_auth: bool = False,
) -> Iterator[int]:
    """Yield the port of a mail server in a thread."""
    options: dict[str, Any] = {"hostname": "localhost", "tls_context": starttls}
    if has_auth:
        options |= {"authenticator": letters.authenticate, "auth_require_tls": tls is None}
    else:
        options |= {"auth_exclude_mechanism": ["LOGIN", "PLAIN"]}
    loop = asyncio.new_event_loop()
    made = loop.create_server(lambda: SMTP(letters, loop=loop, **options), "127.0.0.1", 0, ssl=tls)
    server = loop.run_until_complete(made)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(DEADLINE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_SECONDS)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


@contextlib.contextmanager
def bad_server(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """Yield the port of a server that does as told with each connection, until the event is set."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        behave(connection, over)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE_SECONDS)


def silent(_connection: socket.socket, over: threading.Event) -> None:
    """Say nothing."""
    over.wait(DEADLINE_SECONDS)


def dripping(connection: socket.socket, over: threading.Event) -> None:
    """Send a byte of the greeting now and then, and never the last."""
    connection.sendall(b"220 ")
    while not over.wait(0.05):
        connection.sendall(b"x")


def closing(_connection: socket.socket, _over: threading.Event) -> None:
    """Close at once."""


def make_certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context with a certificate of its own for localhost, and who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "mail.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))
