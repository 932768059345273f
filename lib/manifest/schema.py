"""The manifest's JSON Schema, made from the models that load it.

It describes what strict mode takes, so an editor that checks against it and
the server agree; older shapes and aliases are left out on purpose.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final

from lib.manifest.document import WorkerDocument

SCHEMA_ID: Final = "/schemas/worker.json"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_EMPTY: Final[tuple[object, ...]] = ([], {}, None)


def worker_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `worker.yml`, a fresh dict."""
    schema: dict[str, Any] = json.loads(_document_schema())
    return schema


def render() -> str:
    """Return the text of `docs/worker.schema.json`: sorted keys, two spaces."""
    return json.dumps(worker_json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@lru_cache(maxsize=1)
def _document_schema() -> str:
    generated = WorkerDocument.model_json_schema()
    named = {"$schema": DIALECT, "$id": SCHEMA_ID, **_clean(generated), "title": "Floom worker"}
    return json.dumps(named)


def _clean(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without what editors would show for nothing.

    Pydantic titles every property with its own name, allows null wherever a
    field has no default, and repeats whole models as defaults. A key without
    a value is not in the strict shape, so null is taken out.
    """
    cleaned: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "default" and (value in _EMPTY or isinstance(value, dict)):
            continue
        if key in {"properties", "$defs"}:
            cleaned[key] = {name: _clean(member) for name, member in value.items()}
        elif isinstance(value, dict):
            cleaned[key] = _clean(value)
        elif isinstance(value, list):
            cleaned[key] = [_clean(item) if isinstance(item, dict) else item for item in value]
        else:
            cleaned[key] = value
    return _without_null(cleaned)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    choices = schema.get("anyOf")
    if choices is None:
        return schema
    kept = [choice for choice in choices if choice != {"type": "null"}]
    if len(kept) > 1:
        return {**schema, "anyOf": kept}
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**kept[0], **rest}
