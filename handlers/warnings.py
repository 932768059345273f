"""`x-floom-warning`: what a caller should know of an answer that is no failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from lib.workspace.secret_scan import Finding

WARNING: Final = "x-floom-warning"
_MAX_SHOWN: Final = 20
_MAX_PATH: Final = 120


def warning_headers(findings: Sequence[Finding]) -> dict[str, str]:
    """Return a header that names files which seem to hold live credentials; none for none.

    Paths are percent-encoded where they are not plain ASCII.
    """
    if not findings:
        return {}
    shown = [f"{_path(each.path)}:{each.line} {each.kind}" for each in findings[:_MAX_SHOWN]]
    more = [f"and {len(findings) - _MAX_SHOWN} more"] if len(findings) > _MAX_SHOWN else []
    return {WARNING: f"looks like a live credential: {', '.join([*shown, *more])}"}


def _path(path: str) -> str:
    return quote(path.encode("utf-8", "surrogateescape"), safe="/._-+=@ ")[-_MAX_PATH:]
