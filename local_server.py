"""Floom on one machine: every handler, the engine and the stores in one process."""

from __future__ import annotations

import sys

from handlers.registry import all_routes
from lib import log
from lib.bootstrap import DOTENV, Local, build_app
from lib.console import banner, warn_about
from lib.data_folder import DataFolderError
from lib.secrets.keys import KeyUnusable
from lib.settings import Settings, SettingsError, load_settings
from lib.storage.ports import StoreUnavailable
from lib.web.server import Server, listen, listen_below
from lib.web.shutdown import Shutdown
from lib.workspace.errors import WorkspaceUnavailable

REFUSALS = (SettingsError, DataFolderError, KeyUnusable, WorkspaceUnavailable, StoreUnavailable)
USAGE_ERROR = 2  # the exit status of a setting, a folder or a port that cannot be used


def main() -> int:
    """Run the server until it is told to stop; return its exit status."""
    try:
        settings = load_settings(dotenv=DOTENV)
        log.configure(form=settings.effective_log_format, level=settings.log_level)
        return serve(settings)
    except REFUSALS as error:
        return _refuse(str(error))


def serve(settings: Settings) -> int:
    """Compose everything, serve, and take it down again in order."""
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        return _refuse(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}")
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    shutdown = Shutdown()
    with listener, Local(settings) as local:
        app = build_app(settings, local.services, all_routes(local.services), shutdown)
        warn_about(settings)
        with listen_below(local.api_socket) as for_runs, local.engine:
            print(banner(settings, local.services), flush=True)
            Server(app, shutdown=shutdown).run(sockets=[listener, for_runs])
    return 0


def _refuse(reason: str) -> int:
    print(f"floom: {reason}", file=sys.stderr)
    return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
