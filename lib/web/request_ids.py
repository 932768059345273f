"""The id of a request: the caller's own where it is fit, else a new one."""

from __future__ import annotations

import itertools
import re
import secrets
from typing import Final

# Unique without asking the system for randomness at each request.
_PROCESS: Final = secrets.token_hex(8)
_numbers: Final = itertools.count(1)
_FIT: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def new_request_id() -> str:
    """Return an id that no other request has."""
    return f"{_PROCESS}-{next(_numbers):x}"


def fit_request_id(header: bytes) -> str | None:
    """Return the caller's id, if it is fit for headers and logs."""
    return header.decode() if _FIT.fullmatch(header) else None
