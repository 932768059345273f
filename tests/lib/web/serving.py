"""The kernel on a loopback port, for what only a real connection shows."""

import socket
import threading

import uvicorn

from lib.web.bounded_protocol import BoundedProtocol

DEADLINE_SECONDS = 10


class Server(uvicorn.Server):
    """Says when it listens; begins the shutdown when it is told to exit."""

    def __init__(self, config, shutdown):
        super().__init__(config)
        self.is_listening = threading.Event()
        self._shutdown = shutdown

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.is_listening.set()

    def stop(self):
        self._shutdown.begin()
        self.should_exit = True


class Served:
    def __init__(self, app, shutdown, http=BoundedProtocol):
        config = uvicorn.Config(
            app, loop="uvloop", http=http, log_config=None, access_log=False,
            proxy_headers=False, server_header=False,
        )  # fmt: skip
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server = Server(config, shutdown)
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],))
        self.thread.start()
        assert self.server.is_listening.wait(DEADLINE_SECONDS)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS)

    def exchange(self, request: bytes) -> bytes:
        """Send raw bytes and return all that comes until the server closes."""
        with self.connect() as connection:
            connection.sendall(request)
            return bytes(read_all(connection))

    def stop(self):
        self.server.stop()
        self.thread.join(DEADLINE_SECONDS)
        self.listener.close()
        assert not self.thread.is_alive()


def read_all(connection):
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def read_until(connection, mark):
    received = b""
    while mark not in received:
        chunk = connection.recv(65536)
        assert chunk, received
        received += chunk
    return received
