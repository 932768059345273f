"""The workspace's durable, shared copy: a chain of git bundles and one pointer.

Bundles are immutable; the pointer names them and moves by compare-and-set. Who
moves it has published: any number of writers, and nothing but a store of blobs
that honours conditions.
"""

from lib.workspace.bundle_sync.bundles import Bundles
from lib.workspace.bundle_sync.state import BundleState

__all__ = ["BundleState", "Bundles"]
