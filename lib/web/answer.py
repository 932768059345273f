"""Writes what a responder returned into the response."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import falcon.asgi
from pydantic import BaseModel
from pydantic_core import to_json

from lib.web.call import Call, PageReply, Reply
from lib.web.media import JSON

_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_URI: Final = re.compile(r"[A-Za-z0-9/._~?&=%+,:@!*-]*")


def write(result: Any, status: int, call: Call[Any, Any]) -> None:
    """Write a responder's result; `status` is for results that name none."""
    response = call.response
    if isinstance(result, PageReply):
        items = result.items
        response.data = items if type(items) is bytes else render(items)
        if result.next_cursor is not None:
            _name_next_page(call, result.next_cursor)
    elif isinstance(result, Reply):
        _write_reply(result, response)
        if result.next_cursor is not None:
            _name_next_page(call, result.next_cursor)
        return
    elif result is not None:
        response.data = render(result)
    elif response.stream is not None:
        return  # the responder streams by itself
    if status != 200:
        response.status = status


def render(value: Any) -> bytes:
    """Return the JSON of a model or of a sequence of models; bytes as they are."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, BaseModel):
        return value.__pydantic_serializer__.to_json(value, by_alias=True)
    return to_json(value, by_alias=True)


def _write_reply(reply: Reply, response: falcon.asgi.Response) -> None:
    response.status = reply.status
    if isinstance(reply.body, AsyncIterator):
        response.stream = reply.body
    elif reply.body is not None:
        response.data = render(reply.body)
    if reply.media_type != JSON:
        response.content_type = reply.media_type
    _set_headers(response, reply.headers)


def _set_headers(response: falcon.asgi.Response, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _HEADER_VALUE.fullmatch(value):
            # The server would drop the connection instead of answering.
            raise ValueError(f"the header {name} must be printable ASCII")
        if name.lower() == "set-cookie":
            response.append_header(name, value)
        else:
            response.set_header(name, value)


def _name_next_page(call: Call[Any, Any], cursor: str) -> None:
    query = call.request.query_string
    if "cursor" in query:  # in a name or in a value
        query = _without_cursor(call.request.params)
    link = _link_to_next(call.request.exchange.path, query, cursor)
    call.response.set_header("link", link)
    call.response.set_header("x-next-cursor", cursor)


def _without_cursor(params: Mapping[str, Any]) -> str:
    return urlencode({k: v for k, v in params.items() if k != "cursor"}, doseq=True)


@functools.lru_cache(maxsize=64)  # who polls a list is told the same again and again
def _link_to_next(path: str, query: str, cursor: str) -> str:
    target = f"{path}?{query}&cursor={cursor}" if query else f"{path}?cursor={cursor}"
    if not _URI.fullmatch(target):
        target = quote(target, safe="/?&=%")
    return f'<{target}>; rel="next"'
