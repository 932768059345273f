"""Fixtures of the SQLite adapter's own tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.storage.sqlite import SqliteDatabase, SqliteRunStore
from tests.contract.samples import Samples


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "floom.db"


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    with SqliteDatabase(path) as database:
        yield database


@pytest.fixture
def runs(database: SqliteDatabase) -> SqliteRunStore:
    return SqliteRunStore(database)


@pytest.fixture
def samples() -> Samples:
    return Samples()
