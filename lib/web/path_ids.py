"""The form of each id that may stand in a path, by the parameter's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from lib import ids
from lib.auth.principal import LOCAL_USER_ID
from lib.errors import MalformedRequest
from lib.manifest.fields import SECRET_NAME_PATTERN
from lib.workspace.issues.names import ISSUE_ID_PATTERN

PATTERNS: Final[Mapping[str, str]] = {
    "worker_id": ids.WORKER_ID_PATTERN,
    "run_id": ids.pattern("run"),
    "approval_id": ids.pattern("apr"),
    "feedback_id": ids.FEEDBACK_ID_PATTERN,
    "artifact_id": ids.pattern("art"),
    "secret_name": SECRET_NAME_PATTERN,
    "connection_id": ids.pattern("con"),
    "upload_id": ids.pattern("upl"),
    "comment_id": ids.pattern("cmt"),
    "user_id": f"^(?:usr_{ids.ULID_PATTERN}|{LOCAL_USER_ID})$",
    "token_id": ids.pattern("tok"),
    "link_id": ids.pattern("lnk"),
    "audit_id": ids.pattern("aud"),
    "trigger_id": ids.pattern("trg"),
    "issue_id": ISSUE_ID_PATTERN,
}

_COMPILED: Final = {name: re.compile(pattern, re.ASCII) for name, pattern in PATTERNS.items()}


def well_formed(params: Mapping[str, object]) -> dict[str, str]:
    """Return the path parameters that are ids of a known form, and look like it.

    Tokens, names and paths are not among them.
    """
    return {
        name: str(value)
        for name, value in params.items()
        if name in _COMPILED and _COMPILED[name].fullmatch(str(value))
    }


def check(params: Mapping[str, object]) -> None:
    """Check the path parameters of a request that have a known form.

    Raises:
        MalformedRequest: one has another form. Nothing with such an id exists,
            but the caller is told of the slip rather than of an absence.
    """
    for name, value in params.items():
        pattern = _COMPILED.get(name)
        if pattern is not None and not pattern.fullmatch(str(value)):
            raise MalformedRequest(f"The {name} in the path must match {PATTERNS[name]}.")
