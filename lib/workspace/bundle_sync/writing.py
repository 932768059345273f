"""Bundles made and stored; no pointer names them yet."""

from __future__ import annotations

from lib.workspace.bundle_sync.bundle_file import Bundle
from lib.workspace.bundle_sync.depot import Depot
from lib.workspace.bundle_sync.new_objects import between
from lib.workspace.bundle_sync.pointer import Base, Increment
from lib.workspace.bundle_sync.thin_pack import write_pack
from lib.workspace.object_store import ObjectSource


def put_increment(
    depot: Depot, source: ObjectSource, old: str, new: str, *, seq: int, level: int = 0
) -> Increment:
    """Store what `new` has that `old` has not.

    Raises:
        StoreUnavailable, BundleStoreUnavailable: it could not be stored.
        ObjectNotFound: `source` lacks a part of it.
    """
    pack = write_pack(source, between(source, old, new), thin=True)
    return depot.put_increment(Bundle(old, new, pack.data), level=level, seq=seq)


def put_base(depot: Depot, source: ObjectSource, tip: str, *, seq: int) -> Base:
    """Store all of `tip`. Raises as `put_increment`."""
    pack = write_pack(source, between(source, None, tip), thin=False)
    return depot.put_base(Bundle(None, tip, pack.data), pack.index, seq=seq)
