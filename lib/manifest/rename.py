"""Gives a manifest another name, by as small an edit as can be."""

from __future__ import annotations

import re
from typing import Final

# At the left edge, so a key of the top; legacy manifests say `id`.
_NAME: Final = re.compile(
    rb"^(?P<head>(?:name|id)[ \t]*:[ \t]+)(?P<quote>[\"']?)%s(?P=quote)(?P<tail>[ \t]*(?:#.*)?\r?)$"
    % rb"(?P<name>[A-Za-z0-9_-]{1,64})",
    re.MULTILINE,
)


def renamed(source: bytes, old: str, new: str) -> bytes:
    """Return a manifest whose name is `new` where it was `old`; comments and order stay.

    One that is written in a way that this does not know stays as it is: the
    folder's name counts, and a warning of the manifest tells of the difference.
    """

    def replace(found: re.Match[bytes]) -> bytes:
        if found["name"].decode() != old:
            return found[0]
        return found["head"] + found["quote"] + new.encode() + found["quote"] + found["tail"]

    return _NAME.sub(replace, source)
