"""Public links to workers."""

from __future__ import annotations

from typing import Protocol

from lib.storage.records import Share


class ShareStore(Protocol):
    """At most one link a worker. A token is shown again, so it is kept as it is."""

    def put(self, share: Share) -> Share:
        """Store a link, atomically; one that the worker has keeps its token and moves.

        Returns:
            The link as it is now.
        """
        ...

    def find(self, token: str) -> Share | None:
        """Return the link with this token, if there is one."""
        ...

    def list(self) -> tuple[Share, ...]:
        """Return all links, by worker."""
        ...

    def delete(self, worker_id: str, *, token: str | None = None) -> bool:
        """Revoke a worker's link, whatever its token unless one is given; False for none."""
        ...
