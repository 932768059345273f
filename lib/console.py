"""What the server says on the terminal when it starts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from lib.bootstrap import Services
from lib.log import event
from lib.sandbox.port import HostReport
from lib.settings import Settings, unknown_variables

log: Final = logging.getLogger(__name__)


def banner(settings: Settings, services: Services) -> str:
    """Return where to click and one command to try."""
    url = settings.base_url
    secret = ' \\\n    -H "x-floom-secret: $FLOOM_SECRET"' if settings.secret else ""
    return f"""
  Floom is running.

  API reference   {url}/docs
  Workspace       {settings.workspace_path}
  Isolation       {_isolation(services.sandbox.inspect())}

  Try it:
  curl -s {url}/workers/hello-worker/runs{secret} \\
    -H 'content-type: application/json' -H 'prefer: wait=10' -d '{{"inputs": {{"who": "Ada"}}}}'

  Ctrl-C stops it.
"""


def warn_about(settings: Settings, *, dotenv: Path) -> None:
    """Log what an operator may not have meant."""
    for sentence in unknown_variables(dotenv=dotenv):
        event(log, logging.WARNING, "unknown_setting", detail=sentence)
    if not settings.is_loopback and not settings.secret:
        event(
            log, logging.WARNING, "open_server",
            detail=f"anybody who can reach {settings.host} is an administrator (FLOOM_ALLOW_OPEN)",
        )  # fmt: skip


def _isolation(report: HostReport) -> str:
    if report.is_whole:
        return "whole"
    missing = ", ".join(report.missing)
    if report.mode == "require":
        return f"required, and this host cannot hold {missing}: no run will start"
    if report.mode == "off":
        return "OFF: workers can do what this user can do"
    return f"NOT whole, nothing holds {missing}: see /system/sandbox"
