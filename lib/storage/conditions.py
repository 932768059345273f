"""Whether a store keeps its promises about conditions, found out by trying."""

from __future__ import annotations

import secrets
from typing import Final

from lib.storage.ports import BlobStore, PreconditionFailed, StoreUnavailable

_ROUNDS: Final = 3  # a store that is consistent only later may be in time once


class StoreWithoutConditions(StoreUnavailable):
    """Two writers of this store would overwrite each other's work."""

    code = "store_without_conditions"


def check_conditions(store: BlobStore, prefix: str) -> None:
    """Try the conditions of a store with a blob below `prefix`, removed at the end.

    About fifteen requests, one after the other.

    Args:
        store: Any.
        prefix: Start of the blob's key, without a slash at its end; may be empty.

    Raises:
        StoreWithoutConditions: a put went through that should not have, or a read
            gave what had been replaced.
        StoreUnavailable: the store cannot be read or written now.
    """
    name = f"conditions-{secrets.token_hex(8)}"
    key = f"{prefix}/{name}" if prefix else name
    try:
        fault = _find_fault(store, key)
    finally:
        store.delete(key)
    if fault:
        raise StoreWithoutConditions(
            f"The blob store cannot be used, because {fault}. Writers would lose each other's "
            "changes. Use AWS S3, or a server that knows If-None-Match and If-Match of PutObject."
        )


def _find_fault(store: BlobStore, key: str) -> str | None:
    """Return as a clause what is wrong with a store; None if nothing is."""
    try:
        known = store.put(key, b"0", if_absent=True)
        if _takes(store, key, if_absent=True):
            return "it puts a blob over another where only a new one is wanted (if_absent)"
        for number in range(1, _ROUNDS + 1):
            data = str(number).encode()
            before, known = known, store.put(key, data, if_match=known.etag)
            blob = store.read(key, unless_etag=before.etag)
            if blob is None or (blob.data, blob.etag) != (data, known.etag):
                return "it gives old bytes of a blob that was just replaced, or another etag"
            if _takes(store, key, if_match=before.etag):
                return "it replaces a blob that is another than the writer knows (if_match)"
        store.delete(key)
        if _takes(store, key, if_match=known.etag):
            return "it replaces a blob that is not there (if_match)"
    except PreconditionFailed:
        return "it refuses a put whose condition holds"
    return None


def _takes(
    store: BlobStore, key: str, *, if_absent: bool = False, if_match: str | None = None
) -> bool:
    try:
        store.put(key, b"must not be here", if_absent=if_absent, if_match=if_match)
    except PreconditionFailed:
        return False
    return True
