from __future__ import annotations

from pathlib import Path

import pytest

from lib.storage.files import FileBlobStore
from lib.storage.memory.blobs import MemoryBlobStore
from lib.storage.ports import BlobStore
from tests.lib.workspace.bundle_sync.machine import Machine, new_machine


@pytest.fixture(params=["memory", "files"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return MemoryBlobStore() if request.param == "memory" else FileBlobStore(tmp_path / "store")


@pytest.fixture
def one(tmp_path: Path, store: BlobStore) -> Machine:
    return new_machine(tmp_path, "one", store)


@pytest.fixture
def two(tmp_path: Path, store: BlobStore) -> Machine:
    return new_machine(tmp_path, "two", store)
