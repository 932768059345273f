"""The ordered list of route groups: the server, the reference and the tests read it."""

from __future__ import annotations

from typing import Final

from handlers import (
    approvals,
    audit,
    auth,
    connections,
    docs,
    feedback,
    issues,
    reviews,
    runs,
    share,
    system,
    uploads,
    worker_source,
    workers,
    workspace,
)
from lib.bootstrap import Services
from lib.web.route import Route

GROUPS: Final = (
    workers,
    worker_source,
    share,
    runs,
    approvals,
    reviews,
    feedback,
    uploads,
    issues,
    workspace,
    connections,
    auth,
    system,
    audit,
    docs,
)


def all_routes(services: Services) -> list[Route]:
    """Return the routes of every group, in the order of the reference."""
    return [route for group in GROUPS for route in group.routes(services)]
