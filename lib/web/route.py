"""One path of the API and the resource that answers it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Route:
    """A URI template bound to a resource.

    Attributes:
        path: Falcon URI template, such as `/runs/{run_id}`.
        resource: An object with responders (`on_get`, `on_post`, ...).
        suffix: Chooses suffixed responders (`on_get_<suffix>`), so that one
            resource answers a collection and its items.
        tag: Heading under which the reference lists it.
    """

    path: str
    resource: object
    suffix: str | None = None
    tag: str = ""
