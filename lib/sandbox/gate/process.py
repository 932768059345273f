"""The gate's process: forked from a supervisor, it drops what it does not need."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterable
from typing import Final, NoReturn, cast

from lib.sandbox import descriptors, privileges
from lib.sandbox.gate import server
from lib.sandbox.gate.allow_list import AllowList
from lib.sandbox.gate.api import ApiDoor
from lib.sandbox.gate.egress import Egress, Network
from lib.sandbox.gate.notices import Notices
from lib.sandbox.gate.policy import Policy
from lib.sandbox.gate.proxy import ProxyDoor
from lib.sandbox.gate.settings import GateSettings
from lib.sandbox.gate.upstream import UpstreamProxies

# 64 calls with a connection each to the server, 256 tunnels with two, and some.
MAX_OPEN_FILES: Final = 1_024


def run(
    settings: GateSettings,
    *,
    api: socket.socket | None,
    proxy: socket.socket | None,
    notices: int | None,
    parent_pid: int,
) -> NoReturn:
    """Serve until the parent is gone. For a fresh fork; does not return.

    Args:
        settings: Of this run.
        api: Listens where `FLOOM_API_URL` points to.
        proxy: Listens where `HTTP_PROXY` points to.
        notices: Write end of a pipe; each line in it is for the run's log.
        parent_pid: Whose end is ours; the supervisor's own before the fork.
    """
    try:
        # Who has left root may not be able to read our own files.
        network = cast("Network", importlib.import_module(settings.network))
        listeners = [listener.fileno() for listener in (api, proxy) if listener is not None]
        _keep_only([*listeners, *([] if notices is None else [notices])])
        _become_harmless(settings)
        privileges.die_with_parent(signal.SIGKILL)  # a change of uid forgets it
        if os.getppid() == parent_pid:
            egress = _compose(settings, network, Notices(notices))
            asyncio.run(_serve(settings, egress, api, proxy))
    except BaseException:  # noqa: BLE001 - last stop before the process ends
        sys.excepthook(*sys.exc_info())
    os._exit(1)


def _compose(settings: GateSettings, network: Network, notices: Notices) -> Egress:
    allow = AllowList(settings.allow or (), settings.trusted)
    policy = Policy(allow, network, settings.remedy)
    return Egress(policy, network, notices, UpstreamProxies(settings.proxies))


async def _serve(
    settings: GateSettings,
    egress: Egress,
    api: socket.socket | None,
    proxy: socket.socket | None,
) -> None:
    async with asyncio.TaskGroup() as group:
        if api is not None:
            door = ApiDoor(settings)
            group.create_task(server.serve(api, door, server.MAX_API_CONNECTIONS))
        if proxy is not None:
            way_out = ProxyDoor(egress)
            group.create_task(server.serve(proxy, way_out, server.MAX_PROXY_CONNECTIONS))


def _keep_only(keep: Iterable[int]) -> None:
    """Close all descriptors but these and stderr; what a supervisor holds is not ours."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(null, stream)
    descriptors.close_all_but(keep)


def _become_harmless(settings: GateSettings) -> None:
    """Enter the socket's folder, then give up every right beyond connecting."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    folder = "/" if settings.api_socket is None else os.path.dirname(settings.api_socket)  # noqa: PTH120
    with contextlib.suppress(OSError):  # not there: every call is answered with 503
        os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
    if os.geteuid() == 0:
        privileges.lock_capabilities()
        if settings.uid is not None:
            privileges.become(settings.uid, settings.uid)
    privileges.refuse_new_privileges()
    privileges.set_dumpable(dumpable=False)
