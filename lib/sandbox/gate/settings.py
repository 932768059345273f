"""What a gate is told by the supervisor, and what the worker is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

ADDRESS: Final = "127.0.0.1"
NETWORK_MODULE: Final = "lib.sandbox.gate.network"
MANIFEST_REMEDY: Final = (
    "list the address itself under capabilities.network.egress.allow if the worker may reach it"
)


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Everything one gate needs to know.

    Attributes:
        run_id: The only run whose calls are forwarded.
        api_socket: Path of the server's Unix socket. Its folder is entered before
            the uid is left, so only the folder itself must let `uid` in
            (mode 0711), and the socket let it write.
        allow: The manifest's egress list, see `AllowList`; None: nothing.
        uid: User and group to become when started by root; never the worker's.
        network: Module that resolves and dials; tests name another one.
        trusted: Hosts that the operator named, in the form of `allow`: allowed
            wherever they lead. Never from a manifest.
        proxies: The network's own, see `UpstreamProxies`; may hold a password.
        remedy: What to do where a host is not at a public address.
    """

    run_id: str
    api_socket: str | None = None
    allow: tuple[str, ...] | None = None
    uid: int | None = None
    network: str = NETWORK_MODULE
    trusted: tuple[str, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    remedy: str = MANIFEST_REMEDY


def api_variables(port: int) -> dict[str, str]:
    """Return the environment variables by which a worker finds the API.

    Args:
        port: The API listener's.
    """
    return dict.fromkeys(("FLOOM_API_URL", "WORKEROS_API_URL"), f"http://{ADDRESS}:{port}")


def proxy_variables(port: int) -> dict[str, str]:
    """Return the environment variables by which clients find the egress proxy.

    `ALL_PROXY` names the HTTP form too: httpx, and every SDK built on it, refuses
    to start when it sees a SOCKS address and has no `socksio`. SOCKS5 is spoken
    on the same port to whoever asks for it.

    Args:
        port: The proxy listener's.
    """
    url = f"http://{ADDRESS}:{port}"
    either_case = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")  # curl reads http_proxy only
    return {
        **{name: url for upper in either_case for name in (upper, upper.lower())},
        "NO_PROXY": f"{ADDRESS},localhost",
        "no_proxy": f"{ADDRESS},localhost",
        "NODE_USE_ENV_PROXY": "1",  # Node 22.21 and newer
    }
