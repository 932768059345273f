"""The server on one machine: read settings, listen, compose, serve, take down."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lib import log
from lib.bootstrap import DOTENV, Local, Services, build_app
from lib.console import banner, warn_about
from lib.data_folder import DataFolderError
from lib.sandbox.port import SandboxUnavailable
from lib.secrets.keys import KeyUnusable
from lib.settings import Settings, SettingsError, load_settings
from lib.stop_signals import StopSignals
from lib.storage.ports import StoreUnavailable
from lib.web.route import Route
from lib.web.server import Server, listen, listen_below
from lib.web.shutdown import Shutdown
from lib.workspace.errors import WorkspaceUnavailable

REFUSALS: Final = (
    SettingsError,
    DataFolderError,
    KeyUnusable,
    WorkspaceUnavailable,
    StoreUnavailable,
    SandboxUnavailable,
)
USAGE_ERROR: Final = 2  # the exit status of a setting, a folder or a port that cannot be used

Routes = Callable[[Services], list[Route]]


def run(routes: Routes, stop: StopSignals) -> int:
    """Run the server until it is told to stop; return its exit status."""
    try:
        settings = load_settings(dotenv=DOTENV)
        log.configure(form=settings.effective_log_format, level=settings.log_level)
        stop.hold()
        return serve(settings, routes, stop)
    except REFUSALS as error:
        # On a terminal Ctrl-C reaches what was just started, too: that it failed is no news then.
        return 0 if stop.have_come else _refuse(str(error))


def serve(settings: Settings, routes: Routes, stop: StopSignals) -> int:
    """Compose everything, serve, and take it down again in order."""
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        return _refuse(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}")
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    shutdown = Shutdown()
    with listener, Local(settings) as local:
        if stop.have_come:
            return 0
        app = build_app(settings, local.services, routes(local.services), shutdown)
        warn_about(settings, dotenv=DOTENV)
        with _listen_for_runs(local.api_socket) as for_runs, local.engine:
            gc.freeze()  # what is there now stays: no collection need look at it again
            gc.enable()
            print(banner(settings, local.services), flush=True)
            Server(app, shutdown=shutdown, stop=stop).run(sockets=[listener, for_runs])
    return 0


def _listen_for_runs(path: Path) -> socket.socket:
    try:
        return listen_below(path)
    except OSError as error:
        raise DataFolderError(f"cannot listen on {path}: {error.strerror}") from error


def _refuse(reason: str) -> int:
    print(f"floom: {reason}", file=sys.stderr)
    return USAGE_ERROR
