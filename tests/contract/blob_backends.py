"""Every kind of BlobStore, opened empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import pytest

from lib.clock import Clock
from lib.storage.ports import BlobStore
from tests.contract.stores import BACKENDS, open_stores
from tests.kit.buckets import new_store

OpenBlobs = Callable[[Clock], AbstractContextManager[BlobStore]]
ON_LOOPBACK: Final = ("ministack", "seaweedfs")  # processes of their own
KINDS: Final = (
    *BACKENDS,
    "moto",
    *(pytest.param(kind, marks=pytest.mark.soak) for kind in ON_LOOPBACK),
)


def opener(kind: str, request: pytest.FixtureRequest) -> OpenBlobs:
    """Return what opens a store of this kind; its server is started when it must be."""
    url = None if kind in BACKENDS else str(request.getfixturevalue(f"{kind}_url"))

    @contextmanager
    def open_blobs(clock: Clock) -> Iterator[BlobStore]:
        if url is None:
            with open_stores(kind, clock) as stores:
                yield stores.blobs
        else:
            yield new_store(url, clock=clock)

    return open_blobs
