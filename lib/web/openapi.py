"""The OpenAPI 3.1 document, assembled from what operations declare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from falcon.routing import map_http_methods
from pydantic import BaseModel, Field, TypeAdapter

from lib.auth.credentials import SESSION_COOKIE
from lib.web.access import RUN_ROUTES, Access, is_public
from lib.web.explanations import PROBLEMS
from lib.web.media import HTML, JSON, PROBLEM_JSON, Media
from lib.web.operation import Operation, operation_of
from lib.web.origins import UNSAFE_METHODS
from lib.web.paging import PageQuery
from lib.web.path_ids import PATTERNS
from lib.web.route import Route

Json = dict[str, Any]

_PAGE: Final = HTML.partition(";")[0]
_FIELD: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_REF: Final = "#/components/schemas/{model}"
_HEADERS: Final[Mapping[str, tuple[str, Json]]] = {
    "idempotency-key": (
        "The same key and body within 24 hours return the first answer.",
        {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[ -~]{1,128}$"},
    ),
    "prefer": (
        "`wait=<seconds>` holds the answer back until it is complete, up to 25 seconds.",
        {"type": "string", "examples": ["wait=10"]},
    ),
    "last-event-id": ("Id of the last event that was received.", {"type": "string"}),
}
_RUN_SCHEME: Final = "runToken"
_SECURITY: Final[Json] = {
    "accessToken": {"type": "http", "scheme": "bearer", "description": "`fpt_...`"},
    "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
    "sharedSecret": {"type": "apiKey", "in": "header", "name": "x-floom-secret"},
    _RUN_SCHEME: {"type": "http", "scheme": "bearer", "description": "`frt_...`, of a run."},
}
_NEXT_PAGE_HEADERS: Final[Json] = {
    "Link": {"description": 'The next page, `rel="next"`.', "schema": {"type": "string"}},
    "x-next-cursor": {"description": "Its cursor.", "schema": {"type": "string"}},
}


class ProblemError(BaseModel):
    """One value that is not allowed."""

    pointer: str = Field(description="JSON Pointer into the body, `query:name` or `header:name`.")
    detail: str


class ProblemDocument(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(description="`/problems/<error_code>`, a page that explains it.")
    title: str
    status: int
    detail: str = Field(description="What to do about it.")
    error_code: str = Field(description="Stable; programs decide by it.")
    instance: str = Field(description="The request id.")
    errors: list[ProblemError] | None = Field(default=None, description="Of a failed validation.")


@dataclass(frozen=True)
class Endpoint:
    """One method of one route."""

    route: Route
    method: str
    operation: Operation

    @property
    def path(self) -> str:
        """The path as OpenAPI writes it, without Falcon's converters."""
        return _FIELD.sub(r"{\1}", self.route.path)

    @property
    def is_public(self) -> bool:
        """Whether no credential is looked at."""
        return is_public(self.method, self.route.path)

    @property
    def is_for_runs(self) -> bool:
        """Whether only a run may call it, with its token."""
        return (self.method, self.route.path) in RUN_ROUTES


def endpoints(routes: Sequence[Route]) -> Iterator[Endpoint]:
    """Yield every operation of the routes, in their order."""
    for route in routes:
        for method, responder in map_http_methods(route.resource, suffix=route.suffix).items():
            declared = operation_of(responder)
            if declared is not None:
                yield Endpoint(route, method, declared)


def build(routes: Sequence[Route], *, version: str, title: str = "Floom") -> Json:
    """Return the document of these routes."""
    found = list(endpoints(routes))
    schemas = _Schemas(found)
    paths: dict[str, Json] = {}
    for endpoint in found:
        item = paths.setdefault(endpoint.path, {})
        item[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": "A runtime for AI workers. `/v1/...` and `/api/v1/...` are aliases.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(e.route.tag for e in found) if tag],
        "security": [{name: []} for name in _SECURITY if name != _RUN_SCHEME],
        "paths": paths,
        "components": {"schemas": schemas.definitions, "securitySchemes": _SECURITY},
    }


class _Schemas:
    """JSON Schemas of all bodies and queries, with shared definitions."""

    def __init__(self, found: Sequence[Endpoint]) -> None:
        forms: dict[str, tuple[Any, str]] = {"problem": (ProblemDocument, "serialization")}
        for endpoint in found:
            forms.update(_forms(endpoint.operation))
        made, shared = TypeAdapter.json_schemas(
            [(key, mode, TypeAdapter(form)) for key, (form, mode) in forms.items()],  # type: ignore[misc]
            ref_template=_REF,
        )
        self._made: dict[str, Json] = {key: schema for (key, _mode), schema in made.items()}
        self.definitions: Json = dict(sorted(shared.get("$defs", {}).items()))
        self._queries = {
            key: self._inlined(schema) for key, schema in self._made.items() if key[-6:] == ".query"
        }
        for endpoint in found:  # queries are shown as parameters, not as schemas
            if endpoint.operation.query is not None:
                self.definitions.pop(endpoint.operation.query.__name__, None)

    def of(self, key: str) -> Json:
        """Return a schema by the key that `_forms` gave it."""
        return self._made[key]

    def properties_of(self, key: str) -> tuple[Json, Sequence[str]]:
        """Return a query's properties and the names of the required ones."""
        schema = self._queries[key]
        return schema.get("properties", {}), schema.get("required", ())

    def _inlined(self, schema: Json) -> Json:
        found: Json = schema
        if "$ref" in schema:
            found = self.definitions[schema["$ref"].rpartition("/")[2]]
        return found


def _forms(declared: Operation) -> Iterator[tuple[str, tuple[Any, str]]]:
    name = declared.operation_id
    if declared.query is not None:
        yield f"{name}.query", (declared.query, "validation")
    body = declared.body.model if isinstance(declared.body, Media) else declared.body
    if body is not None:
        yield f"{name}.body", (body, "validation")
    for status, form in declared.responses.items():
        if form is not None and not isinstance(form, Media):
            yield f"{name}.{status}", (form, "serialization")


def _operation(endpoint: Endpoint, schemas: _Schemas) -> Json:
    declared = endpoint.operation
    described: Json = {
        "operationId": declared.operation_id,
        "summary": declared.summary,
        "description": _description(declared),
        "parameters": _parameters(endpoint, schemas),
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.route.tag:
        described["tags"] = [endpoint.route.tag]
    if declared.body is not None:
        described["requestBody"] = _request_body(declared, schemas)
    if endpoint.is_public:
        described["security"] = []
    elif endpoint.is_for_runs:
        described["security"] = [{_RUN_SCHEME: []}]
    return described


def _description(declared: Operation) -> str:
    words = [declared.description]
    if declared.access is Access.ADMIN:
        words.append("Administrators only.")
    if declared.limit is not None:
        most, seconds = declared.limit.most, declared.limit.per_seconds
        words.append(f"At most {most:,} calls in {seconds:,} seconds.")
    return "\n\n".join(words).strip()


def _parameters(endpoint: Endpoint, schemas: _Schemas) -> list[Json]:
    declared = endpoint.operation
    found = [_path_parameter(name) for name in _FIELD.findall(endpoint.route.path)]
    if declared.query is not None:
        properties, required = schemas.properties_of(f"{declared.operation_id}.query")
        found += [_query_parameter(n, s, required) for n, s in properties.items()]
    return found + [_header_parameter(name) for name in declared.headers]


def _path_parameter(name: str) -> Json:
    schema = {"type": "string"}
    if name in PATTERNS:
        schema["pattern"] = PATTERNS[name]
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameter(name: str, schema: Json, required: Sequence[str]) -> Json:
    shown = {key: value for key, value in schema.items() if key not in {"title", "description"}}
    # A parameter is left out, never null.
    if any(branch == {"type": "null"} for branch in shown.get("anyOf", ())):
        branches = [branch for branch in shown.pop("anyOf") if branch != {"type": "null"}]
        shown.update(branches[0] if len(branches) == 1 else {"anyOf": branches})
    if shown.get("default", ...) in (None, []):
        del shown["default"]
    parameter: Json = {"name": name, "in": "query", "schema": shown}
    if shown.get("type") == "array":
        parameter["explode"] = False  # separated by commas; repeating it works too
    if name in required:
        parameter["required"] = True
    if "description" in schema:
        parameter["description"] = schema["description"]
    return parameter


def _header_parameter(name: str) -> Json:
    description, schema = _HEADERS.get(name.lower(), ("", {"type": "string"}))
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _request_body(declared: Operation, schemas: _Schemas) -> Json:
    if isinstance(declared.body, Media):
        content: Json = {media_type: {} for media_type in declared.body.types}
    else:
        content = {}
    if not isinstance(declared.body, Media) or declared.body.model is not None:
        content = {**content, JSON: {"schema": schemas.of(f"{declared.operation_id}.body")}}
    return {"required": declared.body_required, "content": content}


def _responses(endpoint: Endpoint, schemas: _Schemas) -> Json:
    declared = endpoint.operation
    found: Json = {
        str(status): _response(declared, status, schemas) for status in declared.responses
    }
    for status, codes in sorted(_codes_by_status(endpoint).items()):
        names = ", ".join(f"`{code}`" for code in codes)
        problem = {"content": {PROBLEM_JSON: {"schema": schemas.of("problem")}}}
        found.setdefault(str(status), {"description": f"Problem: {names}.", **problem})
    if declared.pages:
        for response in found.values():
            response.setdefault("content", {})[_PAGE] = {}
    return found


def _response(declared: Operation, status: int, schemas: _Schemas) -> Json:
    form = declared.responses[status]
    response: Json = {"description": declared.summary}
    if isinstance(form, Media):
        response["content"] = {media_type: {} for media_type in form.types}
    elif form is not None:
        response["content"] = {JSON: {"schema": schemas.of(f"{declared.operation_id}.{status}")}}
    if declared.query is not None and issubclass(declared.query, PageQuery):
        response["headers"] = _NEXT_PAGE_HEADERS
    return response


def _codes_by_status(endpoint: Endpoint) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for code in dict.fromkeys((*_common_codes(endpoint), *endpoint.operation.errors)):
        if code in PROBLEMS:
            found.setdefault(PROBLEMS[code].status, []).append(code)
    return found


def _common_codes(endpoint: Endpoint) -> Iterator[str]:
    """Yield the codes that the kernel itself answers with on this endpoint."""
    declared = endpoint.operation
    yield from ("malformed_request", "wrong_host", "validation_failed", "internal_error")
    if not endpoint.is_public:
        yield "unauthenticated"
        yield "forbidden"
    if declared.limit is not None or not endpoint.is_public:  # of calls, or of bad credentials
        yield "rate_limited"
    if endpoint.method in UNSAFE_METHODS:
        yield "cross_origin"
    if declared.body is not None:
        yield from ("payload_too_large", "unsupported_media_type")
