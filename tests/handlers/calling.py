"""Calls of an application, as tests of handlers make them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from falcon import testing

Call = Callable[..., testing.Result]


def calling(app: Any) -> Call:
    """Return a way to call an application: by JSON or by a form, from one address.

    Keywords are headers, with an underscore for each hyphen.
    """

    def call(
        method: str, path: str, body: Any = None, form: Any = None, **headers: str
    ) -> testing.Result:
        path, _, query = path.partition("?")
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        text = None
        if body is not None:
            given["content-type"], text = "application/json", json.dumps(body)
        if form is not None:
            given["content-type"], text = "application/x-www-form-urlencoded", urlencode(form)
        return testing.simulate_request(
            app,
            method,
            path,
            host="localhost",
            headers=given,
            body=text,
            query_string=query,
            remote_addr="192.0.2.1",
        )

    return call
