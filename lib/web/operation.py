"""One declaration per endpoint: it parses, serialises and documents.

```python
class Runs:
    @operation(
        "listRuns",
        access=Access.MEMBER,
        summary="List runs",
        query=RunsQuery,
        responses={200: list[RunSummary]},
        errors=["validation_failed"],
    )
    async def on_get(self, call: Call[RunsQuery, None]) -> PageReply: ...
```
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import falcon.asgi
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from lib.auth.principal import Principal, Role
from lib.errors import FieldError, Forbidden, Invalid, MalformedRequest, UnsupportedMedia
from lib.web import answer, explanations, path_ids, validation
from lib.web import body as json_body
from lib.web.access import Access
from lib.web.call import Call, idempotency_key
from lib.web.client_addresses import counted_as
from lib.web.exchange import Exchange
from lib.web.explanations import Problem
from lib.web.media import JSON, Media
from lib.web.rate_limits import RateLimit
from lib.web.request import Request
from lib.web.threads import blocking

Responder = Callable[..., Awaitable[Any]]
Response = Any  # a model, list[model], anything pydantic adapts, Media or None

_ATTRIBUTE: Final = "operation"
_LARGE_BYTES: Final = json_body.DEFAULT_CAP_BYTES


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What is declared of an endpoint; the arguments of `operation`."""

    operation_id: str
    access: Access
    summary: str
    description: str = ""
    query: type[BaseModel] | None = None
    body: type[BaseModel] | Media | None = None
    responses: Mapping[int, Response]
    errors: Sequence[str] = ()
    headers: Sequence[str] = ()
    body_cap_bytes: int = json_body.DEFAULT_CAP_BYTES
    body_required: bool = True
    pages: bool = False
    limit: RateLimit | None = None

    def __post_init__(self) -> None:
        if self.query is not None and self.query.model_config.get("extra") != "forbid":
            raise TypeError(f"{self.query.__name__} must forbid unknown query parameters")

    @functools.cached_property
    def success_status(self) -> int:
        """Status of an answer that names none: the first success declared."""
        return next((status for status in self.responses if 200 <= status < 300), 200)

    @functools.cached_property
    def default_query(self) -> BaseModel | None:
        """The query of a call without parameters; None where some are required."""
        if self.query is None or not self.query.model_config.get("frozen"):
            return None
        try:
            return self.query()
        except ValidationError:
            return None

    @functools.cached_property
    def takes_idempotency_key(self) -> bool:
        """Whether the header `Idempotency-Key` is understood."""
        return any(name.lower() == "idempotency-key" for name in self.headers)


def operation(  # the arguments are spelled out for editors and the type checker
    operation_id: str,
    *,
    access: Access,
    summary: str,
    responses: Mapping[int, Response],
    query: type[BaseModel] | None = None,
    body: type[BaseModel] | Media | None = None,
    errors: Sequence[str | Problem] = (),
    headers: Sequence[str] = (),
    body_cap_bytes: int = json_body.DEFAULT_CAP_BYTES,
    body_required: bool = True,
    pages: bool = False,
    limit: RateLimit | None = None,
) -> Callable[[Responder], Responder]:
    """Declare a responder as an operation.

    The responder takes a `Call` and the path parameters, and returns a model, a
    `Reply`, a `PageReply`, or None for no content. Its docstring becomes the
    description in the reference.

    Args:
        operation_id: Unique name, for generated clients.
        access: Whom it is for.
        summary: A few words.
        responses: By status, what is answered: a model, `list[Model]`, `Media`,
            or None for no body. The first success is the default status.
        query: Model of the query; without one every parameter is unknown.
        body: Model of the JSON body, or `Media` that the responder reads itself.
        errors: Codes that callers should expect, beyond those of every route; a
            `Problem` where the code is not explained yet.
        headers: Request headers that are understood.
        body_cap_bytes: Most bytes of a body.
        body_required: Whether a body must be sent; otherwise an empty one
            counts as `{}`.
        pages: Whether browsers get any of its answers as a page.
        limit: How often one caller may call it, where calls are counted.
    """

    def decorate(responder: Responder) -> Responder:
        spec = Operation(
            operation_id=operation_id,
            access=access,
            summary=summary,
            description=inspect.getdoc(responder) or "",
            responses=responses,
            query=query,
            body=body,
            errors=[_documented(error) for error in errors],
            headers=headers,
            body_cap_bytes=body_cap_bytes,
            body_required=body_required,
            pages=pages,
            limit=limit,
        )

        @functools.wraps(responder)
        async def respond(
            resource: object, request: Request, response: falcon.asgi.Response, **params: Any
        ) -> None:
            principal = request.exchange.principal
            if principal is not None:  # a public route has none
                _check_may(spec, principal)
            if params:
                path_ids.check(params)
            if spec.limit is not None:
                await _count(spec.limit, request.exchange, params)
            query = spec.default_query
            if request.query_string or query is None:
                query = _query(spec, request)
            call: Call[Any, Any] = Call(request, response, query, None, spec.body_cap_bytes)
            if spec.takes_idempotency_key:
                call.idempotency_key = idempotency_key(request)
            if spec.body is not None:
                await _read_body(spec, call)
            answer.write(await responder(resource, call, **params), spec.success_status, call)

        setattr(respond, _ATTRIBUTE, spec)
        return respond

    return decorate


def operation_of(responder: object) -> Operation | None:
    """Return the declaration of a responder, if it has one."""
    found: Operation | None = getattr(responder, _ATTRIBUTE, None)
    return found


def _documented(error: str | Problem) -> str:
    if isinstance(error, str):
        return error
    explanations.add(error)
    return error.code


def _check_may(spec: Operation, principal: Principal) -> None:
    if spec.access is Access.ADMIN and principal.role is not Role.ADMIN:
        raise Forbidden("Ask an administrator: this is for administrators only.")


async def _count(limit: RateLimit, exchange: Exchange, params: Mapping[str, Any]) -> None:
    """Count a call against a limit. Raises RateLimited."""
    rates = exchange.kernel.rates
    if rates is not None:
        subject = _counted_for(limit, exchange, params)
        await blocking(rates.count, limit, exchange.template or "", subject)


def _counted_for(limit: RateLimit, exchange: Exchange, params: Mapping[str, Any]) -> str:
    if limit.by is not None:
        return f"{limit.by} {params[limit.by]}"
    if exchange.principal is not None:
        return f"user {exchange.principal.user_id}"
    return f"address {counted_as(exchange.client)}"


def _query(spec: Operation, request: Request) -> Any:
    given: Mapping[str, Any] = request.params
    if spec.query is None:
        if given:
            raise Invalid("There is no such query parameter.", [_unknown(name) for name in given])
        return None
    try:
        return spec.query.model_validate(_listed(spec.query, given) if given else {})
    except ValidationError as ex:
        raise validation.invalid_query(ex) from ex


def _unknown(name: str) -> FieldError:
    return FieldError(f"query:{name}", "There is no such query parameter.")


def _listed(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with a list for each field that is one.

    Its values may be separated by commas or the parameter be repeated.
    """
    lists = _list_fields(model)
    return {name: _values(value) if name in lists else value for name, value in given.items()}


def _values(given: str | list[str]) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    return [value for text in texts for value in text.split(",")]


@functools.cache
def _list_fields(model: type[BaseModel]) -> frozenset[str]:
    fields = model.model_fields.items()
    return frozenset(info.alias or name for name, info in fields if _is_list(info))


def _is_list(info: FieldInfo) -> bool:
    origin = getattr(info.annotation, "__origin__", info.annotation)
    return origin in (list, tuple, set, frozenset)


async def _read_body(spec: Operation, call: Call[Any, Any]) -> None:
    content_type = call.request.content_type
    if isinstance(spec.body, Media):
        if not spec.body.accepts(content_type) and (spec.body_required or content_type):
            types = [*spec.body.types, *([JSON] if spec.body.model else [])]
            raise UnsupportedMedia(f"Send the body as {' or '.join(types)}.")
        return
    if call.request.header(b"content-encoding") not in (None, "identity"):
        raise UnsupportedMedia("Send the body as it is, without Content-Encoding.")
    raw = await call.request.read(spec.body_cap_bytes)
    if raw:
        json_body.check_is_json(content_type)
    elif spec.body_required:
        raise MalformedRequest("Send a JSON body.")
    if len(raw) > _LARGE_BYTES:  # the loop serves others meanwhile
        call.body_value, call.body = await blocking(_parse, spec.body, raw)
    else:
        call.body_value, call.body = _parse(spec.body, raw)


def _parse(model: type[BaseModel] | None, raw: bytes) -> tuple[Any, Any]:
    """Return the JSON value of a body, ABSENT without one, and the model of it."""
    value = json_body.parse(raw) if raw else json_body.ABSENT
    if model is None:
        return value, None
    return value, json_body.validate(model, raw or b"{}", value if raw else {})
