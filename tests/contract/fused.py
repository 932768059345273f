"""A store that fails between two of its calls, as a server that is killed there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Store = TypeVar("Store")


class Killed(BaseException):
    """Nothing after this point was executed."""


class Fuse:
    """Burns down by one before and after each call, and kills at zero.

    Args:
        length: Steps until then; None: never.
        between: Called before each step, to do what somebody else does meanwhile.
    """

    def __init__(
        self, length: int | None = None, *, between: Callable[[str], None] = lambda _: None
    ) -> None:
        self._left = length
        self._between = between

    def step(self, name: str) -> None:
        """Come to the next place where the server may be killed."""
        self._between(name)
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Killed

    def protect(self, store: Store) -> Store:
        """Return `store`, killed when the fuse has burnt down."""
        fused: Any = _Fused(store, self)
        protected: Store = fused
        return protected


class _Fused:
    def __init__(self, store: object, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        def call(*args: Any, **options: Any) -> Any:
            self._fuse.step(f"before {name}")
            result = method(*args, **options)
            self._fuse.step(f"after {name}")
            return result

        return call
