"""The reference: Swagger UI, the OpenAPI document, schemas and error codes.

Every file is served by us, so the reference works with no internet and under
a policy that allows nothing from elsewhere.
"""

from __future__ import annotations

import functools
import hashlib
import html
import importlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from lib.bootstrap import lambda_handler
from lib.errors import NotFound
from lib.version import VERSION
from lib.web import openapi
from lib.web.access import Access
from lib.web.call import Call, Reply
from lib.web.explanations import PROBLEMS, Problem
from lib.web.headers import PAGE_HEADERS
from lib.web.inert import Inert
from lib.web.media import HTML, JSON, SCHEMA_JSON, Media
from lib.web.models import ResponseModel
from lib.web.operation import operation
from lib.web.route import Route
from lib.web.threads import blocking

TAG: Final = "Reference"
MAX_AGE_SECONDS: Final = 3600

# Paths are relative, so that the page works under /v1 and behind a stage's prefix.
INDEX: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Floom API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/initializer.js"></script>
</body>
</html>
"""
INITIALIZER: Final = b"""const base = new URL("../", document.currentScript.src);
window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: new URL("openapi.json", base).href,
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null, // would ask a server elsewhere
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
  });
});
"""
_MEDIA_TYPES: Final = MappingProxyType(
    {
        "favicon-32x32.png": "image/png",
        "initializer.js": "text/javascript; charset=utf-8",
        "swagger-ui.css": "text/css; charset=utf-8",
        "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    }
)
_PAGE = Media("text/html")


class ErrorCode(ResponseModel):
    """What an error code means."""

    code: str
    status: int
    title: str
    explanation: str


class Pages:
    """Swagger UI: its page, and the files that the page loads."""

    @operation(
        "getReference", access=Access.PUBLIC, summary="This reference", responses={200: _PAGE}
    )
    async def on_get(self, _call: Call[None, None]) -> Reply:
        """A page for browsers."""
        return Reply(INDEX, headers=PAGE_HEADERS, media_type=HTML)

    @operation(
        "getHome", access=Access.PUBLIC, summary="Where a browser begins", responses={303: None}
    )
    async def on_get_home(self, _call: Call[None, None]) -> Reply:
        """On to this reference; relative, wherever a proxy has put us."""
        return Reply(status=303, headers={"location": "docs"})

    @operation(
        "getReferenceFile",
        access=Access.PUBLIC,
        summary="A file of this reference",
        responses={200: Media(*_MEDIA_TYPES.values()), 304: None, 308: None},
        errors=["page_not_found"],
    )
    async def on_get_file(self, call: Call[None, None], asset: str) -> Reply:
        """Scripts and styles of the page."""
        if not asset:  # /docs/ was typed
            return Reply(status=308, headers={"location": "../docs"})
        if asset not in _MEDIA_TYPES:
            raise NotFound("The reference has no such file.", code="page_not_found")
        content = await blocking(_load, asset)
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"cache-control": f"public, max-age={MAX_AGE_SECONDS}", "etag": etag}
        if call.request.header(b"if-none-match") == etag:
            return Reply(status=304, headers=headers)
        return Reply(content, headers=PAGE_HEADERS | headers, media_type=_MEDIA_TYPES[asset])


class Documents:
    """Documents for programs, rendered once, when they are first wanted.

    Args:
        by_name: What renders the JSON text of each document.
    """

    def __init__(self, by_name: dict[str, Callable[[], bytes]]) -> None:
        self._by_name = {name: functools.cache(render) for name, render in by_name.items()}

    @operation(
        "getOpenApi",
        access=Access.PUBLIC,
        summary="The OpenAPI document",
        responses={200: dict[str, Any]},
    )
    async def on_get_openapi(self, _call: Call[None, None]) -> Reply:
        """What this page is made of: OpenAPI 3.1."""
        return Reply(await blocking(self._by_name["openapi.json"]))

    @operation(
        "getSchema",
        access=Access.PUBLIC,
        summary="A JSON Schema",
        responses={200: Media(SCHEMA_JSON)},
        errors=["schema_not_found"],
    )
    async def on_get_schema(self, _call: Call[None, None], name: str) -> Reply:
        """`worker.json` is the schema of worker manifests, for editors."""
        if name not in self._by_name or name == "openapi.json":
            raise NotFound("The only schema is worker.json.", code="schema_not_found")
        return Reply(await blocking(self._by_name[name]), media_type=SCHEMA_JSON)


class ErrorCodes:
    """What the error codes mean; problems name their page as `type`."""

    @operation(
        "listErrorCodes",
        access=Access.PUBLIC,
        summary="List error codes",
        responses={200: list[ErrorCode]},
    )
    async def on_get_all(self, _call: Call[None, None]) -> list[ErrorCode]:
        """All codes that this API answers with, by name."""
        return [_error_code(problem) for _, problem in sorted(_problems().items())]

    @operation(
        "getErrorCode",
        access=Access.PUBLIC,
        summary="Explain an error code",
        responses={200: ErrorCode},
        errors=["problem_not_found"],
    )
    async def on_get(self, call: Call[None, None], code: str) -> Reply:
        """A page for browsers, JSON for others."""
        problem = _problems().get(code)
        if problem is None:
            raise NotFound("No error of this API has this code.", code="problem_not_found")
        if call.request.client_prefers([JSON, "text/html"]) == "text/html":
            return Reply(_page(problem), headers={"vary": "accept"}, media_type=HTML)
        return Reply(_error_code(problem), headers={"vary": "accept"})


def document() -> dict[str, Any]:
    """Return the OpenAPI document of all handlers."""
    # Looked up late: the registry imports this module.
    registry = importlib.import_module("handlers.registry")
    return openapi.build(registry.all_routes(Inert()), version=VERSION)


def routes(_services: object) -> list[Route]:
    """Return the routes of this group."""
    pages, codes = Pages(), ErrorCodes()
    documents = Documents({"openapi.json": _render_openapi, "worker.json": _render_worker_schema})
    return [
        Route("/", pages, "home", tag=TAG),
        Route("/docs", pages, tag=TAG),
        Route("/docs/{asset}", pages, "file", tag=TAG),
        Route("/openapi.json", documents, "openapi", tag=TAG),
        Route("/schemas/{name}", documents, "schema", tag=TAG),
        Route("/problems", codes, "all", tag=TAG),
        Route("/problems/{code}", codes, tag=TAG),
    ]


def _render_openapi() -> bytes:
    return json.dumps(document()).encode()


def _render_worker_schema() -> bytes:
    rendered: str = importlib.import_module("lib.manifest.schema").render()
    return rendered.encode()


def _problems() -> dict[str, Problem]:
    importlib.import_module("handlers.registry")  # handlers explain their own codes
    return dict(PROBLEMS)


def _error_code(problem: Problem) -> ErrorCode:
    return ErrorCode.model_validate(problem)


def _page(problem: Problem) -> bytes:
    code, title, text = (
        html.escape(part) for part in (problem.code, problem.title, problem.explanation)
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<h1>{title}</h1>\n<p><code>{code}</code>, status {problem.status}</p>\n<p>{text}</p>\n"
    ).encode()


def _load(asset: str) -> bytes:
    if asset == "initializer.js":
        return INITIALIZER
    return (_package_path() / asset).read_bytes()


@functools.cache
def _package_path() -> Path:
    """Return the folder of Swagger UI's files; their carrier is never imported."""
    spec = importlib.util.find_spec("drf_spectacular_sidecar")
    locations: Sequence[str] = (spec and spec.submodule_search_locations) or ()
    if not locations:
        raise FileNotFoundError("drf-spectacular-sidecar, which carries Swagger UI, is missing")
    return Path(locations[0], "static", "drf_spectacular_sidecar", "swagger-ui-dist")


handler = lambda_handler(routes)
