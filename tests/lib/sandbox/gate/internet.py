"""A network for tests: public names and addresses that lead to servers on loopback."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from ipaddress import ip_address

from lib.sandbox.gate.addresses import Address, canonical

PUBLIC = "93.184.215.14"
PUBLIC_TOO = "8.8.4.4"
PUBLIC_6 = "2606:2800:21f:cb07::1"


class Internet:
    """Implements the gate's `Network` and records what it was asked.

    Attributes:
        looked_up: Names, each time that one was.
        dialled: Addresses and ports, each time that one was.
        own: Addresses of the host itself.
    """

    def __init__(self) -> None:
        self.looked_up: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.own: set[str] = set()
        self._answers: dict[str, list[list[str]]] = {}
        self._servers: dict[tuple[str, int], int] = {}
        self._silent: set[str] = set()

    def name(self, name: str, *answers: list[str]) -> None:
        """Let a name have these addresses; several answers come one after the other."""
        self._answers[name] = list(answers)

    def serve(self, address: str, port: int, real_port: int) -> None:
        """Let an address and port lead to a port on loopback."""
        self._servers[address, port] = real_port

    def silence(self, address: str) -> None:
        """Let an address never answer."""
        self._silent.add(address)

    async def resolve(self, host: str) -> list[Address]:
        self.looked_up.append(host)
        answers = self._answers.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [canonical(ip_address(text)) for text in answer]

    def is_own(self, address: Address) -> bool:
        return str(address) in self.own

    async def dial(self, address: Address, port: int) -> socket.socket:
        self.dialled.append((str(address), port))
        if str(address) in self._silent:
            await asyncio.Event().wait()
        real_port = self._servers.get((str(address), port))
        if real_port is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        connection = socket.socket()
        try:
            connection.setblocking(False)
            target = ("127.0.0.1", real_port)
            await asyncio.get_running_loop().sock_connect(connection, target)
        except BaseException:
            connection.close()
            raise
        return connection
