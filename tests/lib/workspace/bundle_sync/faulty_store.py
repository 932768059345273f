"""A store of blobs with whatever can go wrong between it and us, by a schedule."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import BinaryIO, Final

from lib.storage.ports import (
    Blob,
    BlobInfo,
    BlobStore,
    PreconditionFailed,
    PutInDoubt,
    StoreUnavailable,
)

READ_ATTEMPTS: Final = 3
FAULTS: Final = ("lost before", "lost after", "down", "late")
Choose = Callable[[str, str], str | None]


class FaultyStore:
    """Puts and reads that fail as those over a network do.

    `choose` is asked for each call, with the method and the key: None lets it
    pass; "down" refuses without effect; of a put, "lost before" has no effect and
    "lost after" has it, both in doubt; "late" is in doubt and has its effect just
    before the next call, "held" when `land` is called. `choose` may raise, too.
    """

    def __init__(self, store: BlobStore, choose: Choose) -> None:
        self._store = store
        self._choose = choose
        self._late: list[Callable[[], object]] = []
        self._held: list[Callable[[], object]] = []

    def land(self) -> None:
        """Let the puts that are held have their effect."""
        held, self._held = self._held, []
        for effect in held:
            with suppress(PreconditionFailed):
                effect()

    def put(
        self,
        key: str,
        data: bytes | BinaryIO,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> BlobInfo:
        def effect() -> BlobInfo:
            return self._store.put(key, data, if_absent=if_absent, if_match=if_match)

        fault = self._fault("put", key)
        if fault == "late":
            self._late.append(effect)
        if fault == "held":
            self._held.append(effect)
        if fault == "lost after":
            with suppress(PreconditionFailed):
                effect()
        if fault is not None:
            raise PutInDoubt("No answer.")
        return effect()

    def get(self, key: str) -> bytes:
        self._fault("get", key)
        return self._store.get(key)

    def read(
        self, key: str, *, unless_etag: str | None = None, limit_bytes: int | None = None
    ) -> Blob | None:
        self._fault("read", key)
        return self._store.read(key, unless_etag=unless_etag, limit_bytes=limit_bytes)

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        self._fault("open", key)
        return self._store.open(key)

    def find(self, key: str) -> BlobInfo | None:
        self._fault("find", key)
        return self._store.find(key)

    def touch(self, key: str) -> bool:
        self._fault("touch", key)
        return self._store.touch(key)

    def delete(self, key: str, *, unless_put_after: datetime | None = None) -> bool:
        self._fault("delete", key)
        return self._store.delete(key, unless_put_after=unless_put_after)

    def list(self, prefix: str, *, after: str = "") -> Iterator[BlobInfo]:
        self._fault("list", prefix)
        return self._store.list(prefix, after=after)

    def _fault(self, method: str, key: str) -> str | None:
        late, self._late = self._late, []
        for effect in late:
            with suppress(PreconditionFailed):
                effect()
        fault = self._choose(method, key)
        if fault == "down" or (fault is not None and method != "put"):
            raise StoreUnavailable("The store cannot be reached.")
        return fault


def at_random(chance: random.Random, share: float) -> Choose:
    """A schedule in which `share` of the requests fails, but for the first look at the store.

    A read is repeated by an adapter, as what has no effect can be; a put is not.
    """
    of_reads = share**READ_ATTEMPTS

    def choose(method: str, key: str) -> str | None:
        if "conditions-" in key or chance.random() >= (share if method == "put" else of_reads):
            return None
        return chance.choice(FAULTS)

    return choose


class Silence:
    """A schedule: once it `falls`, the next put of a pointer has no answer, nor has any question.

    Args:
        fault: That of the put, one which leaves it in doubt.

    Attributes:
        has_fallen: Whether that put was tried.
    """

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._is_falling = self.has_fallen = False

    def falls(self) -> None:
        """Begin at the next put of a pointer."""
        self._is_falling = True

    def ends(self) -> None:
        """From here on all is well again."""
        self._is_falling = self.has_fallen = False

    def __call__(self, method: str, key: str) -> str | None:
        if not self._is_falling or not key.endswith("HEAD.json"):
            return None
        if not self.has_fallen:
            self.has_fallen = method == "put"
            return self._fault if self.has_fallen else None
        if method == "put":
            raise PreconditionFailed("Another put is on its way.")
        return "down"
