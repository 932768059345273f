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
