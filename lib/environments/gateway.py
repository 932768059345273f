"""An installer's way out: a run's gateway, opened by the operator's terms.

A package's build is a stranger's program: with the host's network it would reach
the server's own API on loopback, the cloud's metadata and the private network.
So it gets what a run gets that may reach any public address, and beyond that the
hosts that the operator named. Standard library only.
"""

from __future__ import annotations

import select
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final, Self

from lib.environments.wire import InstallRequest
from lib.sandbox import identity
from lib.sandbox.confinement import Layers
from lib.sandbox.gate.settings import GateSettings, proxy_variables
from lib.sandbox.gateway import PROXY_PORT, GateTerms, Gateway

ANY_PUBLIC_ADDRESS: Final = ("*",)
REMEDY: Final = (
    "of others an installer reaches only the hosts that the server's settings name, "
    "such as UV_INDEX, UV_FIND_LINKS and npm_config_registry"
)
_NAMES: Final = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass
class InstallerGateway(Gateway):
    """The way out of one installer.

    Attributes:
        hosts: See `InstallRequest`; as `proxies`.
    """

    hosts: tuple[str, ...] = ()
    proxies: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def beside(cls, request: InstallRequest, layers: Layers) -> Self:
        """Make the listeners, or the channel that they come by; before the fork."""
        uid = identity.gate_uid() if layers.uid else None
        gateway = cls.prepare(GateTerms(uid=uid), layers)
        gateway.hosts, gateway.proxies = request.hosts, request.proxies
        return gateway

    def variables(self) -> dict[str, str]:
        """Return the variables with the way out, in every spelling that is read.

        No host is excepted: an index on loopback is the server's loopback.
        """
        url = proxy_variables(PROXY_PORT)["HTTP_PROXY"]
        npm = {"npm_config_proxy": url, "npm_config_https_proxy": url, "npm_config_noproxy": ""}
        return {**dict.fromkeys(_NAMES, url), **npm}

    def attend(self, poll: select.poll, ready: AbstractSet[int]) -> None:
        """Open the gate if somebody comes and there is none."""
        if self.has_visitor(ready):
            self.open_gate(poll, "", ANY_PUBLIC_ADDRESS)

    def _become_gate(self, settings: GateSettings, notices: int, parent: int) -> None:
        settings = replace(settings, trusted=self.hosts, proxies=self.proxies, remedy=REMEDY)
        super()._become_gate(settings, notices, parent)
