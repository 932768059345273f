"""One page as bytes, with the headers that it needs."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jinja2 import Environment

MEDIA_TYPE: Final = "text/html; charset=utf-8"

_TEMPLATES: Final = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """An answer for a browser.

    Attributes:
        body: HTML in UTF-8.
        status: HTTP status.
        headers: What a page needs beyond the headers of every answer; the media
            type is not among them, it is always `MEDIA_TYPE`.
    """

    body: bytes
    status: int
    headers: Mapping[str, str]


def render(template: str, *, status: int = 200, **values: Any) -> Page:
    """Return the page of a template; text that is no Unicode is shown as `?`.

    Whatever the values hold is escaped. A value that the template names and is
    not given is an error, not an empty place.
    """
    text = _environment().get_template(template).render(style=style(), **values)
    return Page(text.encode("utf-8", "replace"), status, headers())


@functools.cache
def style() -> str:
    """Return the one style sheet, as it stands in every page."""
    return (_TEMPLATES / "style.css").read_text(encoding="utf-8")


@functools.cache
def headers() -> Mapping[str, str]:
    """Return the headers of every page: nothing runs or loads, nobody frames it.

    The style sheet is allowed by its hash, so that no other style, such as one
    that came in with what is shown, counts.
    """
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return MappingProxyType(
        {
            "content-security-policy": policy,
            "cache-control": "no-store",
            # Without a referrer a form's origin would be "null" (Fetch, section 3.2), and over
            # plain HTTP nothing else says that it is ours. This tells the origin, never a path.
            "referrer-policy": "strict-origin",
        }
    )


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
