from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from lib.clock import ManualClock
from lib.storage.conditions import StoreWithoutConditions, check_conditions
from lib.storage.memory import MemoryBlobStore
from lib.storage.ports import Blob, BlobInfo, BlobStore, PreconditionFailed, StoreUnavailable
from tests.contract.blob_backends import ON_LOOPBACK, opener
from tests.contract.stores import BACKENDS
from tests.kit import s3_servers
from tests.kit.buckets import client_of, new_store


class Flawed(MemoryBlobStore):
    """A store with one flaw."""

    def __init__(self, flaw: str) -> None:
        super().__init__()
        self._flaw = flaw
        self._old: dict[str, Blob] = {}

    def put(self, key: str, data: Any, *, if_absent: bool = False, if_match: str | None = None):
        if if_match and self.find(key):
            self._old[key] = super().read(key) or self._old[key]
        if self._flaw == "refuses" and if_match:
            raise PreconditionFailed("Always.")
        if self._flaw == "creates" and if_match and not self.find(key):
            if_match = None
        return super().put(
            key,
            data,
            if_absent=if_absent and self._flaw != "if_absent",
            if_match=None if self._flaw == "if_match" else if_match,
        )

    def read(self, key: str, *, unless_etag: str | None = None, limit_bytes: int | None = None):
        fresh = super().read(key, limit_bytes=limit_bytes)
        if self._flaw == "stale" and fresh and fresh.data == b"3":
            return self._old[key]
        if self._flaw == "unchanged" and unless_etag:
            return None
        return fresh


@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        ("if_absent", "if_absent"),
        ("if_match", "if_match"),
        ("creates", "not there"),
        ("stale", "old bytes"),
        ("unchanged", "old bytes"),
        ("refuses", "refuses a put whose condition holds"),
    ],
)
def test_a_flaw_is_found_and_named(flaw: str, said: str) -> None:
    store = Flawed(flaw)

    with pytest.raises(StoreWithoutConditions, match=said) as refused:
        check_conditions(store, "some/prefix")

    assert refused.value.code == "store_without_conditions"
    assert list(store.list("")) == []


@pytest.mark.parametrize("kind", [*BACKENDS, "moto", *ON_LOOPBACK])
def test_a_store_that_keeps_its_promises(kind: str, request: pytest.FixtureRequest) -> None:
    with opener(kind, request)(ManualClock()) as store:
        check_conditions(store, "")
        check_conditions(store, "some/prefix")

        assert list(store.list("")) == []


def test_what_cannot_be_reached_is_not_called_flawed() -> None:
    class Away(MemoryBlobStore):
        def put(self, *_: Any, **__: Any) -> BlobInfo:
            raise StoreUnavailable("Away.")

    with pytest.raises(StoreUnavailable, match="Away"):
        check_conditions(Away(), "")


def without(*headers: str) -> Callable[[s3_servers.App], s3_servers.App]:
    """Make a server that does not know these headers of PUT."""

    def around(app: s3_servers.App) -> s3_servers.App:
        def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if environ["REQUEST_METHOD"] == "PUT":
                for header in headers:
                    environ.pop(header, None)
            return app(environ, start_response)

        return call

    return around


@pytest.mark.parametrize(
    "headers",
    [("HTTP_IF_MATCH",), ("HTTP_IF_NONE_MATCH",), ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")],
)
def test_a_server_that_ignores_conditions_is_refused(
    headers: tuple[str, ...], s3_environment: None
) -> None:
    with s3_servers.moto(around=without(*headers)) as url:
        store: BlobStore = new_store(url, connect=client_of(url))

        with pytest.raises(StoreWithoutConditions):
            check_conditions(store, "")

        assert list(store.list("")) == []


@pytest.mark.soak
def test_a_server_of_another_make_that_ignores_conditions_is_refused(
    s3_environment: None, tmp_path: Path
) -> None:
    with s3_servers.s3rver(tmp_path) as url:
        store: BlobStore = new_store(url, connect=client_of(url))

        with pytest.raises(StoreWithoutConditions):
            check_conditions(store, "")

        assert list(store.list("")) == []
