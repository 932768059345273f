"""Moving the pointer: it moved, it did not, or nobody can say; never a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from lib.errors import FloomError
from lib.storage.ports import BlobNotFound, PreconditionFailed, PutInDoubt, StoreUnavailable
from lib.workspace.bundle_sync.depot import Depot, Known
from lib.workspace.bundle_sync.pointer import Pointer
from lib.workspace.errors import CommitInDoubt

DOUBT_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0

IsIn = Callable[[Known], bool]


class PointerMoves:
    """Compare-and-set that settles what a store left open.

    An unclear answer is followed by the same bytes on the same condition: taken
    means that the first had no effect, and void it; refused means that the pointer
    is another now, so that whatever is still under way is void too, and reading it
    tells whose it is.

    Args:
        depot: Where the pointer is.
        wait: Sleeps for so many seconds between two tries.
        doubt_seconds: How long a doubt is worked on.
    """

    def __init__(
        self,
        depot: Depot,
        *,
        wait: Callable[[float], None] = time.sleep,
        doubt_seconds: float = DOUBT_SECONDS,
    ) -> None:
        self._depot = depot
        self._wait = wait
        self._doubt_seconds = doubt_seconds

    def move(self, old: Known | None, new: Pointer, *, is_in: IsIn) -> Known | None:
        """Move the pointer from `old`; return it as it is then, None where another came first.

        Args:
            old: What it is believed to be; None: it is not there.
            new: What it is to be.
            is_in: Asked after a doubt: whether a pointer that was read comes of `new`.

        Raises:
            CommitInDoubt: it is not known, and cannot be found out now.
            StoreUnavailable: it did not move.
        """
        try:
            return self._depot.put_pointer(new, instead_of=old)
        except PreconditionFailed:
            return None
        except PutInDoubt as ex:
            doubt: StoreUnavailable = ex
        deadline = time.monotonic() + self._doubt_seconds
        pause = _FIRST_PAUSE_SECONDS
        while time.monotonic() < deadline:
            self._wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            try:
                return self._depot.put_pointer(new, instead_of=old)
            except PreconditionFailed:
                now = self._read()
                if now is not None and (old is None or now.etag != old.etag):
                    return self._judge(now, is_in)
                # it stands as it was: an earlier try of ours is still under way
            except StoreUnavailable as ex:  # in doubt still
                doubt = ex
        raise CommitInDoubt(_IN_DOUBT) from doubt

    def _read(self) -> Known | None:
        try:
            return self._depot.read_pointer()
        except BlobNotFound:
            return None
        except FloomError as ex:
            raise CommitInDoubt(_IN_DOUBT) from ex

    def _judge(self, now: Known, is_in: IsIn) -> Known | None:
        """Return the pointer, which is another by now, if it comes of ours."""
        try:
            return now if is_in(now) else None
        except FloomError as ex:
            raise CommitInDoubt(_IN_DOUBT) from ex


_IN_DOUBT: Final = (
    "The bundle store did not say whether the change was taken, and cannot be asked now. It may "
    "have been made: look at the workspace before you send it again."
)
