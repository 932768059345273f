"""Whatever stands in a worker.yml, loading answers and says what is wrong."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lib.manifest.data import to_plain
from lib.manifest.loader import LoadedManifest
from lib.manifest.report import Report
from lib.manifest.schema import worker_json_schema
from lib.manifest.source import read_source
from tests.lib.manifest.loading import load

VALID: dict[str, Any] = {
    "schema_version": "0.3",
    "title": "Lead scorer",
    "description": "Scores leads.",
    "version": "1.0.0",
    "use_cases": ["a"],
    "tags": ["sales"],
    "authors": ["Ada", {"name": "Grace", "email": "grace@example.com"}],
    "entrypoint": "run.py",
    "exec": {
        "entry": "run.py",
        "inputs": [
            {"name": "who", "type": "string", "required": True, "bounds": {"max_length": 10}},
            {"name": "size", "type": "select", "options": ["s", {"value": "l", "label": "L"}]},
            {"name": "list", "kind": "file", "accepts": ["text/csv"]},
        ],
        "outputs": [{"name": "report", "path": "out/report.csv", "columns": ["a"]}],
        "secrets": ["CRM_KEY"],
    },
    "capabilities": {"network": {"egress": {"allow": ["example.com"]}}},
    "connections": ["gmail", {"app": "slack"}, {"mcp": {"label": "x", "url": "https://x.org"}}],
    "contexts": ["brand", {"name": "prices", "writeable": True}],
    "limits": {"timeout_seconds": 60, "max_cost_usd": 1.5},
    "triggers": [
        {"type": "schedule", "cron": "0 9 * * *", "inputs": {"who": "Ada"}},
        {"type": "webhook"},
        {"type": "composio", "event": "E"},
    ],
    "retry": {"max_attempts": 2, "on": ["timeout"]},
    "approvals": {"required": True, "approvers": ["ada@example.com"]},
    "notify": {"url": "https://example.com", "on": ["failed"]},
    "example_input": {"who": "Ada"},
}


def keys_of(data: Any) -> set[str]:
    if isinstance(data, dict):
        return set(data).union(*(keys_of(value) for value in data.values()))
    return set().union(*(keys_of(item) for item in data)) if isinstance(data, list) else set()


WORDS = sorted(
    keys_of(VALID)
    | {"id", "runtime", "inputs", "outputs", "composio", "trigger", "<<", "<app>", "memory", "enum"}
    | {"mode", "command", "default", "concurrency", "resources", "egress", "options", "label"}
)
LEAVES = (
    st.sampled_from(
        [
            "run.py",
            "SKILL.md",
            "gmail",
            "schedule",
            "cron",
            "@daily",
            "select",
            "file",
            "agent",
            "python312",
            "0.3",
            "csv",
            "A_B",
            "é",
            "yes",
            "out/a.csv",
            "https://a.org",
            "../up",
        ]
    )
    | st.just("")
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
)
TREES = st.recursive(
    LEAVES,
    lambda below: (
        st.lists(below, max_size=4) | st.dictionaries(st.sampled_from(WORDS), below, max_size=5)
    ),
    max_leaves=20,
)


def check(source: bytes) -> LoadedManifest:
    loaded = load(source)
    assert loaded.title
    if loaded.manifest is None:
        assert loaded.errors
    else:
        assert loaded.manifest.triggers
        assert (loaded.manifest.command is None) == (loaded.manifest.mode == "agent")
    lines = max(1, len(source.decode("utf-8", "replace").splitlines()))
    for problem in loaded.problems:
        assert problem.code != "unusable"
        assert problem.pointer == "" or problem.pointer.startswith("/")
        assert problem.line is not None
        assert 1 <= problem.line <= lines
        assert problem.message.endswith((".", "?"))
        assert len(problem.message) < 1000
    return loaded


def dump(data: Any) -> bytes:
    text: str = yaml.safe_dump(data, allow_unicode=True)
    return text.encode("utf-8", "surrogatepass")


def test_the_base_is_valid():
    assert check(dump(VALID)).problems == ()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(source: bytes):
    check(source)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"%#?,<~ \n\t0.", max_size=120))
def test_any_text_of_yamls_own_characters(source: str):
    check(source.encode())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(WORDS), TREES, max_size=8), st.booleans())
@example({"egress": {"a": "", "b": "", "schema_version": ""}}, True)
def test_any_structure_of_known_words(document: dict[str, Any], versioned: bool):
    check(dump({**document, **({"schema_version": "0.3"} if versioned else {})}))


def mutate(document: dict[str, Any], data: st.DataObject) -> None:
    """Replace, remove or rename one member somewhere in `document`, in place."""
    current: Any = document
    while True:
        keys = list(current) if isinstance(current, dict) else list(range(len(current)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if isinstance(current[key], (dict, list)) and data.draw(st.booleans()):
            current = current[key]
            continue
        change = data.draw(st.sampled_from(["replace", "remove", "rename"]))
        if change == "replace":
            current[key] = data.draw(TREES)
        elif change == "remove" or isinstance(current, list):
            del current[key]
        else:
            current[data.draw(st.sampled_from(WORDS))] = current.pop(key)
        return


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.integers(min_value=1, max_value=4))
def test_a_mutated_manifest_that_strict_mode_takes_is_valid_by_the_schema(
    data: st.DataObject, mutations: int
):
    document = copy.deepcopy(VALID)
    for _ in range(mutations):
        mutate(document, data)
    source = dump(document)
    loaded = check(source)
    if not loaded.strict_errors:
        written = to_plain(read_source(source, Report()))
        jsonschema.Draft202012Validator(worker_json_schema()).validate(written)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_manifest_with_damaged_bytes(data: st.DataObject):
    source = bytearray(dump(VALID))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(source) - 1))
        source[position : position + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3)
        )
    check(bytes(source))
