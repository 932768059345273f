"""A world of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lib.runs.executor import Executor
from tests.lib.runs.world import World, open_world
from tests.lib.small_disk import small_disk

__all__ = ["small_disk"]

Start = Callable[..., Executor]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


@pytest.fixture
def start(world: World) -> Iterator[Start]:
    executors: list[Executor] = []

    def make(**options: Any) -> Executor:
        executor = world.executor(**options)
        executor.start()
        executors.append(executor)
        return executor

    yield make
    for executor in executors:
        executor.stop(grace_seconds=0)
