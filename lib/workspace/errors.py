"""What can go wrong with the workspace as a whole."""

from __future__ import annotations

from lib.errors import Conflict, Invalid, NotFound, Unavailable


class WorkspaceConflict(Conflict):
    """The tree moved, or holds something else than the change builds on."""

    code = "workspace_conflict"


class WorkspaceUnavailable(Unavailable):
    """The repository cannot be used now: refused, unreadable or not writable."""

    code = "workspace_unavailable"


class PathNotFound(NotFound):
    """The tree has nothing at this path."""

    code = "path_not_found"


class ObjectNotFound(NotFound):
    """The repository has no object with this id."""

    code = "object_not_found"


class InvalidPath(Invalid):
    """A path that git, or a careful file system, could not hold."""

    code = "invalid_path"


class RequestDone(Conflict):
    """A commit with the request's trailer came in while the request waited.

    Attributes:
        commit: That commit's id.
    """

    code = "workspace_conflict"

    def __init__(self, commit: str) -> None:
        super().__init__("The request was done already; send it again to see its answer.")
        self.commit = commit


class CommitInDoubt(Unavailable):
    """The store did not say whether a commit was published, and cannot be asked now."""

    code = "commit_in_doubt"
