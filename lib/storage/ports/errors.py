"""What any store may raise."""

from __future__ import annotations

from lib.errors import Conflict, Unavailable


class StoreUnavailable(Unavailable):
    """The store cannot be read or written now."""

    code = "store_unavailable"


class PreconditionFailed(Conflict):
    """A conditional put found another state; nothing was written."""

    code = "precondition_failed"
