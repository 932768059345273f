"""What can go wrong between the workspace and its store."""

from __future__ import annotations

from lib.workspace.errors import WorkspaceConflict, WorkspaceUnavailable


class BundleStoreUnavailable(WorkspaceUnavailable):
    """The store cannot be used, or does not hold what it should."""


class BundleMissing(BundleStoreUnavailable):
    """A bundle that a pointer names is not there."""


class PointerLost(BundleStoreUnavailable):
    """The store has no pointer, although it had one."""


class NewerPointer(BundleStoreUnavailable):
    """A newer version of this program writes the store."""


class Diverged(WorkspaceConflict):
    """This repository and the store both changed a path, or have nothing in common."""
