"""What tests of several parts of the tree stand on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.kit import s3_servers

SHORT_FORMS = "not soak"  # what `addopts` selects


def pytest_xdist_auto_num_workers() -> int:
    """Three test processes for two cores: a good part of the suite waits for other processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (cores or 1) * 3 // 2


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Collector, obj: object
) -> Generator[None, Any, Any]:
    """Make nothing of long forms that nobody asked for.

    Those of the API's document are made from it while tests are collected, which
    takes each process two seconds.
    """
    made = yield
    marks = getattr(obj, "pytestmark", [])
    is_long = isinstance(marks, list) and any(mark.name == "soak" for mark in marks)
    return [] if is_long and collector.config.option.markexpr == SHORT_FORMS else made


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
