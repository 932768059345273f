"""What of a text HTML can carry."""

from __future__ import annotations

import re
from typing import Final

_BREAKS: Final = re.compile(r"\r\n?")


def is_unicode(text: str) -> bool:
    """Return whether a text has no half of a surrogate pair, which no encoding has."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def survives_a_form(text: str) -> bool:
    """Return whether a browser sends a text back as it got it, but for line breaks."""
    return "\0" not in text and is_unicode(text)


def unix_lines(text: str) -> str:
    """Return a text with line feeds alone at its line ends; forms send CR LF."""
    return _BREAKS.sub("\n", text)
