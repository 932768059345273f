"""The repository on a disk that is full."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.workspace.packs import Pack, PackBuilder
from lib.workspace.repository import Repository
from tests.lib.storage.test_files import no_file_above
from tests.lib.workspace.place import Place

BLOB = b"one\n"


@pytest.fixture
def repository(place: Place) -> Iterator[Repository]:
    place.root.mkdir()
    repository = Repository.open(place.root, engine_root=place.engine, durable=False)
    yield repository
    repository.close()


def small_pack() -> tuple[str, Pack]:
    builder = PackBuilder()
    return builder.add("blob", BLOB), builder.build()


@pytest.mark.parametrize("limit", [0, 20, 500])  # nothing, half a pack, a pack and half an index
def test_a_pack_that_did_not_fit_is_added_when_there_is_room(
    repository: Repository, limit: int
) -> None:
    sha, pack = small_pack()
    with no_file_above(limit), pytest.raises(OSError):  # noqa: PT011  # whatever the system says
        repository.add_pack(pack)
    assert [*repository.scratch.iterdir()] == []
    assert not repository.store.has(sha)
    repository.add_pack(pack)
    assert repository.store.read(sha, "blob") == BLOB
