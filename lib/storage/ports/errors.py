"""What any store may raise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib.errors import Conflict, Unavailable


class StoreUnavailable(Unavailable):
    """The store cannot be read or written now."""

    code = "store_unavailable"


class PutInDoubt(StoreUnavailable):
    """Whether a put had its effect is not known; it may even come later.

    Only stores beyond a network raise it. Who put on a condition finds out by
    sending the same bytes on the same condition again: taken means there was no
    effect before; refused means that it was this put or somebody else's, which
    only the bytes that are there now can tell.
    """

    code = "put_in_doubt"


class PreconditionFailed(Conflict):
    """A conditional put found another state; nothing was written."""

    code = "precondition_failed"


@contextmanager
def unavailable_for(what: str) -> Iterator[None]:
    """Turn what the file system says into StoreUnavailable; all other errors pass.

    Args:
        what: Begins the sentence, such as "The upload cannot be kept now".
    """
    try:
        yield
    except OSError as ex:
        raise StoreUnavailable(f"{what}: {ex.strerror}.") from ex
