"""What the server says on the terminal when it starts."""

from __future__ import annotations

import logging
from typing import Final

from lib.bootstrap import Services
from lib.log import event
from lib.settings import Settings, unknown_variables
from lib.storage.records import SandboxReport

log: Final = logging.getLogger(__name__)


def banner(settings: Settings, services: Services) -> str:
    """Return where to click and one command to try."""
    url = settings.base_url
    secret = ' \\\n    -H "x-floom-secret: $FLOOM_SECRET"' if settings.secret else ""
    return f"""
  Floom is running.

  API reference   {url}/docs
  Workspace       {settings.workspace_path}
  Isolation       {_isolation(services.sandbox, settings)}

  Try it:
  curl -s {url}/workers/hello-worker/runs{secret} \\
    -H 'content-type: application/json' -H 'prefer: wait=10' -d '{{"inputs": {{"who": "Ada"}}}}'

  Ctrl-C stops it.
"""


def warn_about(settings: Settings) -> None:
    """Log what an operator may not have meant."""
    for sentence in unknown_variables():
        event(log, logging.WARNING, "unknown_setting", detail=sentence)
    if not settings.is_loopback and not settings.secret:
        event(
            log, logging.WARNING, "open_server",
            detail=f"anybody who can reach {settings.host} is an administrator (FLOOM_ALLOW_OPEN)",
        )  # fmt: skip


def _isolation(report: SandboxReport, settings: Settings) -> str:
    if settings.sandbox_mode == "require":
        return "required, and not whole on this host: runs will fail as sandbox_unavailable"
    names = ("files", "network", "processes", "privileges", "limits")
    missing = [name for name in names if getattr(report, name) == "none"]
    return f"not held: {', '.join(missing)}" if missing else "whole"
