"""Who may call what.

Each operation declares whom it is for. What is not for people who are signed in
stands in an explicit list here as well, so that no slip opens a route: what is
on neither list needs the credential of a person, an unknown path included.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Access(Enum):
    """Whom an operation is for.

    `PUBLIC` and `RUN` hold only for routes of the lists below.
    """

    PUBLIC = "anybody; credentials are not looked at"
    RUN = "a run, with its own token"
    MEMBER = "everybody who is signed in"
    ADMIN = "administrators"


ANY: Final = "*"

PUBLIC_ROUTES: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("GET", "/healthz"),
        ("GET", "/docs"),
        ("GET", "/docs/{asset}"),
        ("GET", "/openapi.json"),
        ("GET", "/schemas/{name}"),
        ("GET", "/problems"),
        ("GET", "/problems/{code}"),
        ("GET", "/auth/magic/{token}"),
        ("POST", "/auth/magic/{token}"),
        ("GET", "/share/{token}"),
        ("GET", "/approvals/public/{token}"),
        ("POST", "/approvals/public/{token}/approve"),
        ("POST", "/approvals/public/{token}/reject"),
        # Signed by their sender; the handler checks the signature.
        ("POST", "/composio-events"),
        ("POST", "/webhooks/{worker_id}"),
        # The console's static files.
        ("GET", "/"),
        ("GET", "/favicon.ico"),
        ("GET", "/console"),
        ("GET", "/console/{path:path}"),
    }
)


# For a run's own token, of its own run; for nobody else.
RUN_ROUTES: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("POST", "/runs/{run_id}/logs"),
        ("POST", "/runs/{run_id}/tools/{tool}"),
        ("POST", "/runs/{run_id}/composio-execute/{tool}"),
        ("POST", "/runs/{run_id}/calls/{worker_id}"),
    }
)
RUN_TEMPLATES: Final = frozenset(template for _, template in RUN_ROUTES)

PUBLIC_TEMPLATES: Final = frozenset(template for _, template in PUBLIC_ROUTES)


def is_public(method: str, template: str) -> bool:
    """Return whether nobody needs to say who they are; HEAD counts as GET."""
    wanted = "GET" if method == "HEAD" else method
    return (wanted, template) in PUBLIC_ROUTES or (ANY, template) in PUBLIC_ROUTES
