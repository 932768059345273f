"""`Idempotency-Key`: what makes two requests the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import BaseModel

from lib.errors import FieldError, Invalid
from lib.runs.lifecycle import KeyUse
from lib.storage.content import ContentStore
from lib.storage.records import RunRecord, StoredAnswer
from lib.web.body import ABSENT, digest
from lib.web.call import Call

REPLAYED: Final = {"idempotent-replayed": "true"}
BODY_FIELD: Final = "idempotency_key"


def key_use(
    call: Call[Any, Any],
    path_ids: Sequence[str],
    *,
    body_key: str | None,
    answer: Callable[[RunRecord], StoredAnswer],
) -> KeyUse | None:
    """Return the use of the key in the header or the body, None without one.

    Raises:
        Invalid: header and body name different keys.
    """
    header_key = call.idempotency_key
    if header_key is not None and body_key is not None and header_key != body_key:
        detail = "Send the key in the header or in the body, or the same in both."
        raise Invalid(detail, [FieldError(f"/{BODY_FIELD}", "differs from the header's key")])
    key = header_key or body_key
    if key is None:
        return None
    scope = json.dumps([call.principal.user_id, call.route_template, *path_ids, key])
    return KeyUse(hashlib.sha256(scope.encode()).hexdigest(), _body_digest(call), answer)


def stored_answer(
    status: int, model: BaseModel, headers: dict[str, str], *, run_id: str, content: ContentStore
) -> StoredAnswer:
    """Return an answer in the form in which it is kept."""
    body = content.store_json(model.model_dump_json(by_alias=True))
    return StoredAnswer(status, body, tuple(headers.items()), run_id)


def _body_digest(call: Call[Any, Any]) -> str:
    """Return the digest of the body without the key, which may stand in the header instead."""
    value = {} if call.body_value is ABSENT else call.body_value
    return digest({name: each for name, each in value.items() if name != BODY_FIELD})
