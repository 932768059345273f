"""A running server for tests that speak to it over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess
from tests.e2e.situations import SITUATIONS, Situation, server_in


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of this test's own."""
    with ServerProcess(tmp_path / "var") as running:
        yield running


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that the tests of one module share."""
    with ServerProcess(tmp_path_factory.mktemp("server") / "var") as running:
        yield running


@pytest.fixture(scope="module", params=SITUATIONS)
def situation(request: pytest.FixtureRequest) -> Situation:
    """Each kind of host that a server may find itself on."""
    wanted: Situation = request.param
    return wanted


@pytest.fixture(scope="module")
def situated_server(situation: Situation) -> Iterator[ServerProcess]:
    """A server on such a host that the tests of one module share."""
    with server_in(situation) as running:
        yield running
