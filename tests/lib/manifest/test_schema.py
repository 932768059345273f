"""The published JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from lib.manifest.data import to_plain
from lib.manifest.document import WorkerDocument
from lib.manifest.report import Report
from lib.manifest.schema import render, worker_json_schema
from lib.manifest.source import read_source
from tests.lib.manifest.loading import HEAD, load

PUBLISHED = Path(__file__).parents[3] / "docs" / "worker.schema.json"


def is_valid(text: str) -> bool:
    written = to_plain(read_source(text.encode(), Report()))
    validator = jsonschema.Draft202012Validator(worker_json_schema())
    return bool(validator.is_valid(written))


def test_the_published_file_is_current():
    """`python -c "from lib.manifest.schema import render; ..."` writes it."""
    assert PUBLISHED.read_text(encoding="utf-8") == render()


def test_it_is_a_valid_schema_with_an_id():
    schema = worker_json_schema()

    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == "/schemas/worker.json"


def test_callers_cannot_change_it_for_others():
    worker_json_schema()["properties"].clear()

    assert worker_json_schema()["properties"]


def test_every_key_is_described():
    bare = []

    def walk(name: str, schema: Any) -> None:
        for key, member in schema.get("properties", {}).items():
            if not member.get("description"):
                bare.append(f"{name}.{key}")

    schema = worker_json_schema()
    walk("", schema)
    for name, definition in schema["$defs"].items():
        walk(name, definition)
    assert bare == []


def test_every_field_of_the_models_is_in_it():
    assert set(worker_json_schema()["properties"]) == set(WorkerDocument.model_fields)


def test_no_key_may_be_null():
    assert '"null"' not in json.dumps(worker_json_schema())


@pytest.mark.parametrize(
    "written",
    [
        "connections: [gmail, {app: slack}, {composio: {app: x}}, {mcp: {label: a, url: 'https://b'}}]",
        "contexts: [brand, {name: prices, writeable: true}]",
        "trigger: {type: manual}",
        "triggers: [{type: schedule, cron: '@daily'}, {type: webhook}]",
        "exec: {command: python run.py}",
        "exec: {command: [python, run.py]}",
        "exec: {inputs: [{name: a, type: select, options: [x, {value: 2, label: two}]}]}",
        "capabilities: {network: {egress: true}}",
        "capabilities: {network: {egress: {allow: [example.com]}}}",
        "notify: {email_to: ada@example.com}",
        "authors: [Ada, {name: Grace}]",
        "resources: {memory_mb: 128}",
    ],
)
def test_both_the_schema_and_strict_mode_take_every_form(written: str):
    text = HEAD + written + "\n"

    assert is_valid(text)
    assert load(text).strict_errors == ()


@pytest.mark.parametrize(
    "written",
    [
        "colour: red",
        "limits: {timeout_seconds: 9000}",
        "limits: {timeout_seconds: '60'}",
        "exec: {runner: e2b}",
        "exec: {runtime: python312}",
        "exec: {limits: {}}",
        "inputs: []",
        "trigger: {type: cron, cron: '@daily'}",
        "trigger: {cron: '@daily'}",
        "approvals: true",
        "connections: {gmail: {}}",
        "connections:",
        "tags: one",
        "calls: [Not A Slug]",
        "exec: {secrets: [lower]}",
        "paused: yes",
    ],
)
def test_both_the_schema_and_strict_mode_refuse(written: str):
    text = HEAD + written + "\n"

    assert not is_valid(text)
    assert load(text).strict_errors != ()
