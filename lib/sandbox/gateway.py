"""A run's way out: the listeners that it can reach, and the gate behind them.

The listeners are there before the run is known; the gate's process is forked
when somebody first connects, because most runs never do.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Self

from lib.sandbox import loopback, namespaces, warm
from lib.sandbox.confinement import ConfinementError, Layers
from lib.sandbox.gate.settings import (
    NETWORK_MODULE,
    GateSettings,
    api_variables,
    proxy_variables,
)

API_PORT: Final = 7100  # in the run's own network namespace
PROXY_PORT: Final = 7101
MAX_GATES: Final = 5  # of one run: who makes it fall again and again does without
NOTICE_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class GateTerms:
    """What the gates of all runs have in common.

    Attributes:
        api_socket: The server's Unix socket; None: runs cannot call the server.
        uid: User that gates become, from root.
        network: Module that resolves and dials.
    """

    api_socket: str | None = None
    uid: int | None = None
    network: str = NETWORK_MODULE


def listeners_for(channel: int | None) -> loopback.WantedListeners | None:
    """Return what a worker must make in its network namespace, and hand over by the channel."""
    return None if channel is None else loopback.WantedListeners((API_PORT, PROXY_PORT), channel)


@dataclass
class Gateway:
    """The way out of one run; there is none without a network namespace of its own."""

    terms: GateTerms
    layers: Layers
    _listeners: dict[str, socket.socket] = field(default_factory=dict)
    _channel: socket.socket | None = None
    _child_channel: socket.socket | None = None
    _notices: int = -1
    _gates: int = 0
    _partial: bytes = b""

    @classmethod
    def prepare(cls, terms: GateTerms, layers: Layers) -> Self:
        """Make the channel that the listeners come by; before the worker is forked."""
        gateway = cls(terms, layers)
        if layers.network:
            gateway._channel, gateway._child_channel = socket.socketpair()
        elif not layers.seccomp:  # nothing is confined: it could call anybody anyway
            gateway._listeners = {"api": loopback.listen(0)}
        return gateway

    def take_child_end(self) -> int | None:
        """Return the worker's end of the channel, which is the caller's now; see `listeners_for`."""
        if self._child_channel is None:
            return None
        descriptor = self._child_channel.detach()
        self._child_channel = None
        return descriptor

    def close(self) -> None:
        """Let go of all that it holds; its gate is to be ended by who ends the run."""
        for each in (self._channel, self._child_channel, *self._listeners.values()):
            if each is not None:
                each.close()
        self._channel = self._child_channel = None
        self._listeners.clear()
        if self._notices >= 0:
            os.close(self._notices)
            self._notices = -1

    def open(self, *, has_egress: bool) -> dict[str, str]:
        """Keep the listeners that this run may use; return the variables that name them.

        Raises:
            ConfinementError: it may reach hosts, and this host cannot hold it to them.
        """
        self._receive()
        if has_egress and self.layers.seccomp and not self.layers.network:
            raise ConfinementError(
                "capabilities.network.egress needs a network namespace, which this host refuses"
            )
        if not has_egress:
            self._close("proxy")
        if self.terms.api_socket is None:
            self._close("api")
        return self._variables()

    def _receive(self) -> None:
        """Take the listeners that the worker made; it has failed if there are none."""
        if self._channel is None:
            return
        with self._channel, contextlib.suppress(EOFError):
            api, proxy = loopback.receive_listeners(self._channel, 2)
            self._listeners = {"api": api, "proxy": proxy}
        self._channel = None

    def _variables(self) -> dict[str, str]:
        ports = {name: each.getsockname()[1] for name, each in self._listeners.items()}
        return {
            **(api_variables(ports["api"]) if "api" in ports else {}),
            **(proxy_variables(ports["proxy"]) if "proxy" in ports else {}),
        }

    def _close(self, name: str) -> None:
        if listener := self._listeners.pop(name, None):
            listener.close()

    def watch(self, poll: select.poll) -> None:
        """Have the poll wake us when somebody connects."""
        for listener in self._listeners.values():
            poll.register(listener, select.POLLIN)

    def has_visitor(self, ready: AbstractSet[int]) -> bool:
        """Whether somebody is at a listener that no gate serves."""
        return any(each.fileno() in ready for each in self._listeners.values())

    def open_gate(self, poll: select.poll, run_id: str, allow: tuple[str, ...] | None) -> int:
        """Fork the gate, which serves the listeners from here on; return its pid.

        Its notices come on a pipe, which the poll watches then.

        Raises:
            OSError: there is no process or descriptor to be had; visitors are not looked
                for until the next `watch`.
        """
        for listener in self._listeners.values():
            poll.unregister(listener)
        settings = GateSettings(
            run_id=run_id,
            api_socket=self.terms.api_socket,
            allow=allow,
            uid=self.terms.uid,
            network=self.terms.network,
        )
        notices, notices_end = os.pipe()
        os.set_blocking(notices, False)
        parent = os.getpid()
        try:
            pid = namespaces.fork(0)
        except OSError:
            os.close(notices)
            os.close(notices_end)
            raise
        if pid == 0:
            self._become_gate(settings, notices_end, parent)
        os.close(notices_end)
        poll.register(notices, select.POLLIN)
        self._notices, self._gates = notices, self._gates + 1
        return pid

    def _become_gate(self, settings: GateSettings, notices: int, parent: int) -> None:
        namespaces.renew_interpreter()
        warm.show_our_modules()
        from lib.sandbox.gate import process  # with asyncio, which most runs never need

        process.run(
            settings,
            api=self._listeners.get("api"),
            proxy=self._listeners.get("proxy"),
            notices=notices,
            parent_pid=parent,
        )

    def notices(self, poll: select.poll, ready: AbstractSet[int]) -> list[str]:
        """Return what the gate has to tell; when it has ended, the next visitor gets another."""
        if self._notices not in ready:
            return []
        data = os.read(self._notices, NOTICE_BYTES)
        if not data:
            poll.unregister(self._notices)
            os.close(self._notices)
            self._notices = -1
            if self._gates < MAX_GATES:
                self.watch(poll)
        *lines, self._partial = (self._partial + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
