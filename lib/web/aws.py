"""The application as a Lambda function."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, Final, cast

from mangum import Mangum

from lib.web.app import App
from lib.web.media import JSON, PROBLEM_JSON, SCHEMA_JSON

TEXT_MEDIA_TYPES: Final = [
    "text/",
    JSON,
    PROBLEM_JSON,
    SCHEMA_JSON,
    "application/javascript",
]

_FIT_HOST: Final = re.compile(r"[^:]*(?::[0-9]{1,5})?")

LambdaHandler = Callable[[dict[str, Any], Any], dict[str, Any]]


def lambda_adapter(app: App) -> LambdaHandler:
    """Return the handler of API Gateway (HTTP and REST) and Function URL events.

    Media types outside of the list leave base64-encoded. Start-up and shutdown
    are off: they would run at each invocation.
    """
    # Its own access log names the path, which may hold a token.
    logging.getLogger("mangum.http").setLevel(logging.WARNING)
    adapter = Mangum(cast("Any", app), lifespan="off", text_mime_types=TEXT_MEDIA_TYPES)

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return adapter(_with_fit_host(event), context)

    return handler


def _with_fit_host(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event without a `Host` that the adapter would fail to split.

    Gateways route by name and never pass one; it is then refused as a wrong
    host instead of failing the function.
    """
    fields: dict[str, Callable[[Any], Any]] = {
        "headers": _fit,
        "multiValueHeaders": lambda hosts: [_fit(host) for host in hosts],
    }
    changed = {
        field: {
            name: fit(value) if name.lower() == "host" else value
            for name, value in event[field].items()
        }
        for field, fit in fields.items()
        if event.get(field)
    }
    return event | changed


def _fit(host: str) -> str:
    return host if _FIT_HOST.fullmatch(host) else ""
