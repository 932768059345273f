"""The header `Prefer: wait=<seconds>` (RFC 7240, section 4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from lib.web.call import Call

MAX_WAIT_SECONDS: Final = 25  # API Gateway ends a request after 30
_WAIT: Final = re.compile(
    r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=$|[,;])', re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a caller wants to wait for the outcome; at most MAX_WAIT_SECONDS."""

    seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """What tells the caller that the preference was honoured."""
        return {"preference-applied": f"wait={self.seconds}"}


def wait_preference(call: Call[Any, Any]) -> Wait | None:
    """Return the caller's preference; None without one, or with one that cannot be read."""
    match = _WAIT.search(call.request.get_header("Prefer") or "")
    return Wait(min(int(match[1]), MAX_WAIT_SECONDS)) if match else None
