from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.workspace.workspace import Workspace
from tests.lib.workspace.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.make_seed()
    return place


@pytest.fixture
def workspace(place: Place) -> Iterator[Workspace]:
    workspace = place.open()
    yield workspace
    workspace.close()
