"""An index on loopback, and a place to install from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lib.environments.index import Index, serving
from tests.lib.environments.packages import wheel
from tests.lib.environments.place import Place


@pytest.fixture
def index() -> Iterator[Index]:
    with serving() as index:
        index.add(wheel("plain"), wheel("plain", "2.0"), wheel("needy", requires=("plain",)))
        yield index


@pytest.fixture
def place(tmp_path: Path, index: Index) -> Place:
    return Place(tmp_path, index.variables)
