"""`x-floom-warning`: what a caller should know of an answer that is no failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from lib.workspace.secret_scan import Finding, scan

WARNING: Final = "x-floom-warning"
_MAX_SHOWN: Final = 20
_MAX_PATH: Final = 120


def warning_headers(findings: Sequence[Finding], *, left_out: int = 0) -> dict[str, str]:
    """Return a header that names files which seem to hold live credentials; none for none.

    Paths are percent-encoded where they are not plain ASCII.

    Args:
        findings: What was found in them.
        left_out: How many files an export does not hold; it names them itself.
    """
    said = [f"looks like a live credential: {_places(findings)}"] if findings else []
    if left_out:
        said.append(f"left out, see workspace.json: {left_out} file{'s' * (left_out > 1)}")
    return {WARNING: "; ".join(said)} if said else {}


def text_warnings(*texts: str | None) -> dict[str, str]:
    """Return the header for texts that are saved in no file of the caller's; none for none."""
    given = filter(None, texts)
    return warning_headers([found for text in given for found in scan("text", text.encode())])


def _places(findings: Sequence[Finding]) -> str:
    shown = [f"{_path(each.path)}:{each.line} {each.kind}" for each in findings[:_MAX_SHOWN]]
    more = [f"and {len(findings) - _MAX_SHOWN} more"] if len(findings) > _MAX_SHOWN else []
    return ", ".join([*shown, *more])


def _path(path: str) -> str:
    return quote(path.encode("utf-8", "surrogateescape"), safe="/._-+=@ ")[-_MAX_PATH:]
