"""What tests of several parts of the tree stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.kit import s3_servers


@pytest.fixture(scope="module")
def thread_loop() -> Iterator[None]:
    """Give the thread an event loop, as Lambda's process has one, and close it.

    Mangum takes the thread's loop, or makes one and leaves it there: right for a
    function, which keeps it until it ends. Here the next `asyncio.run` would drop
    it unclosed, and the collector complain in the middle of some other test.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[None]:
    """Credentials of nobody, so that no test finds anybody's."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in s3_servers.CREDENTIALS.items():
            environment.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def moto_url(s3_environment: None) -> Iterator[str]:
    with s3_servers.moto() as url:
        yield url


@pytest.fixture(scope="session")
def ministack_url(s3_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_servers.ministack(tmp_path_factory.mktemp("ministack")) as url:
        yield url


@pytest.fixture(scope="session")
def seaweedfs_url(s3_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as url:
        yield url
