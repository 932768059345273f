"""The one list of names that never enter the workspace's tree.

`.gitignore` is written from it, so that stock git leaves out what we leave out.
A pattern is matched against each segment of a path, as git does with a pattern
that has no slash, and here regardless of case.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Final

SECRET_PATTERNS: Final = (
    ".env*",
    "*.env",
    ".netrc",
    ".npmrc",
    ".pypirc",
    "credentials",
    "credentials.*",
    "secrets.*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.p8",
    "*.der",
    "*.ppk",
    "id_rsa*",
    "id_ed25519*",
)
ALLOWED_NAMES: Final = (".env.example", ".env.sample", ".env.template")
CACHE_PATTERNS: Final = (".venv", "node_modules", "__pycache__", "*.db*")

SECRET_REASON: Final = "may hold a secret"  # noqa: S105  # a sentence, not a password
CACHE_REASON: Final = "is a cache or a database"


def is_denied(path: str) -> str | None:
    """Return why `path` (segments joined by `/`) stays out, or None."""
    if is_secret(path):
        return SECRET_REASON
    return CACHE_REASON if _matches(_CACHES, path) else None


def is_secret(path: str) -> bool:
    """Return whether a segment of `path` has a name that secrets have."""
    return _matches(_SECRETS, path)


def gitignore() -> bytes:
    """Return the `.gitignore` that says the same to stock git."""
    lines = [
        "# Written by Floom from its deny list; the same names are left out by reload.",
        *SECRET_PATTERNS,
        *(f"!{name}" for name in ALLOWED_NAMES),
        *CACHE_PATTERNS,
    ]
    return ("\n".join(lines) + "\n").encode()


def _compile(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern in patterns), re.IGNORECASE)


def _matches(patterns: re.Pattern[str], path: str) -> bool:
    return any(
        patterns.match(segment) is not None and segment.lower() not in ALLOWED_NAMES
        for segment in path.split("/")
    )


_SECRETS: Final = _compile(SECRET_PATTERNS)
_CACHES: Final = _compile(CACHE_PATTERNS)
