"""`Idempotency-Key`: what makes two requests the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from lib.bootstrap import Services
from lib.errors import FieldError, Invalid
from lib.runs.key_use import KeyUse
from lib.storage.content import ContentStore
from lib.storage.records import StoredAnswer
from lib.web.body import ABSENT, digest
from lib.web.call import Call, Reply
from lib.workspace.once import RequestKey

REPLAYED: Final = {"idempotent-replayed": "true"}
BODY_FIELD: Final = "idempotency_key"

Made = TypeVar("Made")


def key_use(
    call: Call[Any, Any],
    path_ids: Sequence[str],
    *,
    body_key: str | None = None,
    answer: Callable[[Made], StoredAnswer],
) -> KeyUse[Made] | None:
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
    return KeyUse(scope_of(call, path_ids, key), _body_digest(call), answer)


def stored_answer(
    status: int,
    model: BaseModel,
    headers: Mapping[str, str],
    *,
    content: ContentStore,
    run_id: str | None = None,
) -> StoredAnswer:
    """Return an answer in the form in which it is kept."""
    body = content.store_json(model.model_dump_json(by_alias=True))
    return StoredAnswer(status, body, tuple(headers.items()), run_id)


def repeated(answer: StoredAnswer, content: ContentStore) -> Reply:
    """Return the first answer again. Blocks."""
    headers = {**dict(answer.headers), **REPLAYED}
    return Reply(content.load_json(answer.body).encode(), answer.status, headers)


def once_in_git(
    call: Call[Any, Any],
    path_ids: Sequence[str],
    services: Services,
    *,
    effect: Callable[[Mapping[str, str]], Reply],
    repeat: Callable[[str], Reply] | None,
    body_digest: str | None = None,
) -> Reply:
    """Answer a request whose effect is one commit, at most once for its key. Blocks.

    Args:
        call: The request; without a key `effect` is simply tried.
        path_ids: Ids of the path, which are part of what the key is good for.
        services: Where keys and their answers are kept.
        effect: Commits with the trailers that it is given, and replies with a model.
        repeat: Makes the same reply of the commit, where its answer got lost; None
            where `effect` itself finds out what happened, and needs no trailer.
        body_digest: SHA-256 in hex of a body that is not JSON.
    """
    if call.idempotency_key is None:
        return effect({})
    content = services.content

    def stored(reply: Reply) -> StoredAnswer:
        assert isinstance(reply.body, BaseModel)  # noqa: S101  # what is kept is JSON
        return stored_answer(reply.status, reply.body, reply.headers, content=content)

    scope = scope_of(call, path_ids, call.idempotency_key)
    key = RequestKey(scope, body_digest or _body_digest(call))
    answered = services.once.answer(
        key,
        effect=lambda trailers: stored(effect(trailers)),
        repeat=None if repeat is None else lambda commit: stored(repeat(commit)),
    )
    answer = answered.answer
    headers = {**dict(answer.headers), **(REPLAYED if answered.replayed else {})}
    return Reply(content.load_json(answer.body).encode(), answer.status, headers)


def scope_of(call: Call[Any, Any], path_ids: Sequence[str], key: str) -> str:
    """Return what names one use of a key: by whom, where, of what."""
    scope = json.dumps([call.principal.user_id, call.route_template, *path_ids, key])
    return hashlib.sha256(scope.encode()).hexdigest()


def _body_digest(call: Call[Any, Any]) -> str:
    """Return the digest of the body without the key, which may stand in the header instead."""
    value = {} if call.body_value is ABSENT else call.body_value
    return digest({name: each for name, each in value.items() if name != BODY_FIELD})
