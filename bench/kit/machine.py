"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime


def facts() -> str:
    """Return date, cores, Python and kernel in one line."""
    kernel = re.match(r"[\d.]*\d", platform.release())
    return ", ".join(
        (
            datetime.now(UTC).date().isoformat(),
            f"{len(os.sched_getaffinity(0))} cores",
            f"{platform.machine()}",
            f"{platform.python_implementation()} {platform.python_version()}",
            f"{platform.system()} {kernel[0] if kernel else ''}".strip(),
        )
    )
