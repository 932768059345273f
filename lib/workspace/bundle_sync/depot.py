"""One workspace's blobs in a store: the pointer, bundles that never change, and the wait note."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lib.errors import FloomError
from lib.storage.ports import BlobNotFound, BlobStore, PreconditionFailed, PutInDoubt
from lib.workspace.bundle_sync.bundle_file import Bundle
from lib.workspace.bundle_sync.errors import BundleMissing, BundleStoreUnavailable
from lib.workspace.bundle_sync.pointer import (
    BUNDLES,
    MAX_POINTER_BYTES,
    TOKEN_BYTES,
    Base,
    Increment,
    Pointer,
    bundle_key,
    decode,
)

POINTER: Final = "HEAD.json"
WAIT: Final = "WAIT.json"
PROBE: Final = "PROBE"
MAX_WAIT_BYTES: Final = 4096
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Known:
    """A pointer as it was read; `etag` is that of exactly these bytes."""

    pointer: Pointer
    etag: str


class Depot:
    """The blobs below one prefix. Any thread may call.

    Every method raises StoreUnavailable where the store does not do what it should.

    Args:
        store: One that honours conditions.
        prefix: Of the workspace, ending with a slash.
    """

    def __init__(self, store: BlobStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def read_pointer(self, *, unless_etag: str | None = None) -> Known | None:
        """Return the pointer; None where it is the one with this etag.

        Raises:
            BlobNotFound: there is none, as far as the store knows.
            BundleStoreUnavailable, NewerPointer: it cannot be used.
        """
        blob = self._store.read(
            self._prefix + POINTER, unless_etag=unless_etag, limit_bytes=MAX_POINTER_BYTES
        )
        return None if blob is None else Known(decode(blob.data), blob.etag)

    def put_pointer(self, pointer: Pointer, *, instead_of: Known | None) -> Known:
        """Move the pointer; None: there is none yet.

        Raises:
            BundleStoreUnavailable: it is too long.
            PreconditionFailed: it is another by now.
            PutInDoubt: the store did not say whether it moved.
        """
        data = pointer.encode()
        if len(data) > MAX_POINTER_BYTES:  # nobody could read it
            raise BundleStoreUnavailable(
                "Too many bundles wait to be folded; bundle_upkeep_failed in the log says why."
            )
        info = self._store.put(
            self._prefix + POINTER,
            data,
            if_absent=instead_of is None,
            if_match=None if instead_of is None else instead_of.etag,
        )
        return Known(pointer, info.etag)

    def put_increment(self, bundle: Bundle, *, level: int, seq: int) -> Increment:
        """Store a thin bundle, which no pointer names yet."""
        data = bundle.encode()
        token = secrets.token_hex(TOKEN_BYTES)
        self._put_once(bundle_key(seq, token), data)
        return Increment(level, seq, bundle.tip, token, len(data), _sha256(data))

    def put_base(self, bundle: Bundle, index: bytes, *, seq: int) -> Base:
        """Store a bundle that needs no other, and its pack's index."""
        data = bundle.encode()
        base = Base(
            key=bundle_key(seq, secrets.token_hex(TOKEN_BYTES)),
            seq=seq,
            tip=bundle.tip,
            size=len(data),
            sha256=_sha256(data),
            idx_size=len(index),
            idx_sha256=_sha256(index),
        )
        self._put_once(base.index_key, index)
        self._put_once(base.key, data)
        return base

    def fetch(self, key: str, *, size: int, sha256: str) -> bytes:
        """Return a blob that a pointer names, with exactly this size and hash.

        Raises:
            BundleMissing: it is not there: a newer pointer may not name it.
            BundleStoreUnavailable: it is something else than was stored.
        """
        try:
            blob = self._store.read(self._prefix + key, limit_bytes=size)
        except BlobNotFound as ex:
            raise BundleMissing(
                f"{key} is missing in the bundle store; docs/git-workspace.md says how to go on."
            ) from ex
        data = b"" if blob is None else blob.data
        if len(data) != size or _sha256(data) != sha256:
            raise BundleStoreUnavailable(
                f"{key} in the bundle store is not what was stored there; "
                "docs/git-workspace.md says how to go on."
            )
        return data

    def list_unnamed(self, named: Collection[str]) -> list[str]:
        """Return the keys of all bundles and indexes but those named."""
        keys = (
            blob.key.removeprefix(self._prefix)
            for blob in self._store.list(f"{self._prefix}{BUNDLES}/")
        )
        return [key for key in keys if key not in named]

    def delete(self, keys: Iterable[str], *, put_before: datetime) -> int:
        """Delete bundles, but none that was put at or after `put_before`; returns how many."""
        return sum(
            self._store.delete(self._prefix + key, unless_put_after=put_before) for key in keys
        )

    def read_wait(self) -> bytes | None:
        """Return the note of a writer that wants to come next, if there is one."""
        try:
            blob = self._store.read(self._prefix + WAIT, limit_bytes=MAX_WAIT_BYTES)
        except BlobNotFound:
            return None
        return None if blob is None else blob.data

    def put_wait(self, note: bytes) -> None:
        """Leave such a note."""
        self._store.put(self._prefix + WAIT, note)

    def probe(self) -> None:
        """Put something that nobody reads."""
        self._store.put(self._prefix + PROBE, b"")

    def _put_once(self, key: str, data: bytes) -> None:
        """Store what nobody else stores, and be sure that it is there.

        Refused, an earlier try of ours has put it, or is still on its way and may yet
        fail: only what is read back is there.

        Raises:
            BundleStoreUnavailable: it may be there, but no pointer names it.
        """
        doubt: FloomError
        for _ in range(_TRIES):
            try:
                self._store.put(self._prefix + key, data, if_absent=True)
            except PreconditionFailed as ex:
                if self._holds(key, data):
                    return
                doubt = ex
            except PutInDoubt as ex:
                doubt = ex
            else:
                return
        raise BundleStoreUnavailable(f"A bundle could not be stored: {doubt}") from doubt

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            self.fetch(key, size=len(data), sha256=_sha256(data))
        except BundleMissing:
            return False
        return True


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
