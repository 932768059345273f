"""Manifests as they occur in the field, one file a shape.

Beside each `shapes/<shape>.yml` stands `<shape>.expected.yml`: the problems in
order ("severity code pointer line n", with "instance" for a warning about the
host) and facts of the manifest by dotted path; `manifest: null` where nothing
usable can be built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from lib.manifest.data import to_plain
from lib.manifest.loader import LoadedManifest, load_manifest
from lib.manifest.report import Problem, Report
from lib.manifest.schema import worker_json_schema
from lib.manifest.source import read_source

FOLDER = Path(__file__).parent / "shapes"
SHAPES = (
    "anchor-in-itself",
    "anchors-and-merge",
    "anchors-that-explode",
    "archived",
    "byte-order-mark",
    "capabilities-lifted",
    "command-as-list",
    "command-as-text",
    "command-with-open-quote",
    "comments",
    "connections-as-maps",
    "connections-as-one-map",
    "connections-as-text",
    "connections-misspelt-under-exec",
    "connections-that-are-refused",
    "connections-under-exec",
    "connections-under-exec-and-at-the-top",
    "connections-with-a-foreign-tool",
    "contexts-as-maps",
    "contexts-as-one-map",
    "contexts-with-a-bad-source",
    "defaults-of-every-type",
    "duplicate-keys",
    "egress-list",
    "egress-shorthand",
    "egress-true",
    "egress-with-a-port-that-no-host-has",
    "egress-with-an-address",
    "empty",
    "empty-keys",
    "entry-missing",
    "entry-only",
    "entry-outside",
    "entry-without-known-runtime",
    "entrypoint-contradicts-entry",
    "entrypoint-only",
    "entrypoints",
    "escaped-nul-character",
    "everything-missing",
    "exec-that-is-no-map",
    "folded-and-escaped-text",
    "inputs-as-a-map",
    "inputs-with-bad-names",
    "inputs-with-bounds",
    "inputs-with-one-name",
    "inputs-with-reserved-names",
    "invalid-utf8",
    "key-that-is-a-map",
    "keys-that-are-not-text",
    "legacy",
    "legacy-agent",
    "legacy-with-approvals",
    "legacy-with-csv-columns",
    "legacy-without-a-name",
    "limit-at-the-top",
    "limits-out-of-range",
    "limits-under-exec",
    "minimal",
    "mistakes-in-what-is-removed",
    "mode-contradicts-entry",
    "mode-hybrid",
    "mode-only-agent",
    "mode-only-script",
    "name-differs-from-folder",
    "name-that-is-no-slug",
    "neither-mode-nor-entry",
    "neither-mode-nor-entry-nor-file",
    "neither-mode-nor-entry-with-both-files",
    "neither-mode-nor-entry-with-skill",
    "nested-too-deep",
    "no-final-newline",
    "non-ascii",
    "not-a-mapping",
    "nul-character",
    "number-for-a-text-choice",
    "number-for-a-title",
    "numbers-beyond-json",
    "outputs-outside-the-folder",
    "outputs-without-kind",
    "paused",
    "plain-text",
    "policies",
    "policies-as-shorthand",
    "policies-that-contradict",
    "python-tag",
    "resources-memory",
    "runner-e2b",
    "runner-local",
    "runner-unknown",
    "runtime-contradicts-entry",
    "runtime-missing-on-host",
    "runtime-node22",
    "runtime-none",
    "runtime-python312",
    "schedule-every-minute",
    "schedule-invalid-cron",
    "schedule-invalid-timezone",
    "schedule-that-never-fires",
    "schedule-with-inputs",
    "schedule-with-required-input",
    "schedule-with-seconds",
    "schedule-without-cron",
    "schema-version-as-a-number",
    "schema-version-forgotten",
    "schema-version-unknown",
    "secrets-as-maps",
    "secrets-in-three-places",
    "secrets-that-are-refused",
    "select-enum-and-options",
    "select-enum-only",
    "select-options-only",
    "select-without-options",
    "syntax-error",
    "tabs",
    "targets-and-memory",
    "texts-too-long",
    "top-level-inputs",
    "top-level-outputs",
    "top-level-secrets",
    "trigger-and-triggers",
    "trigger-as-text",
    "trigger-composio",
    "trigger-cron",
    "trigger-scheduled-with-schedule-key",
    "trigger-unknown-type",
    "two-documents",
    "unknown-keys",
    "unquoted-date",
    "unquoted-is-unread",
    "unquoted-words-of-yaml-1-1",
    "use-cases-too-many",
    "use-cases-two",
    "utf16",
    "windows-line-ends",
    "wrong-types",
    "yes-for-true",
)


def expected_of(shape: str) -> dict[str, Any]:
    expected: dict[str, Any] = yaml.safe_load(
        (FOLDER / f"{shape}.expected.yml").read_text(encoding="utf-8")
    )
    return expected


def load_shape(shape: str) -> LoadedManifest:
    expected = expected_of(shape)
    return load_manifest(
        (FOLDER / f"{shape}.yml").read_bytes(),
        worker_id="lead-scorer",
        file_names=expected.get("files", ["run.py"]),
        runtimes=expected.get("runtimes"),
    )


def line_of(problem: Problem) -> str:
    suffix = " instance" if problem.kind == "instance" else ""
    pointer = problem.pointer or "-"
    return f"{problem.severity} {problem.code} {pointer} line {problem.line}{suffix}"


def fact(dumped: Any, path: str) -> Any:
    for part in path.split("."):
        dumped = dumped[int(part)] if isinstance(dumped, list) else dumped[part]
    return dumped


def test_the_folder_holds_the_listed_shapes_and_no_others():
    manifests = {path.name.removesuffix(".yml") for path in FOLDER.iterdir()}

    assert manifests == {*SHAPES, *(f"{shape}.expected" for shape in SHAPES)}


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_has_the_expected_problems(shape: str):
    problems = [line_of(problem) for problem in load_shape(shape).problems]

    assert problems == expected_of(shape)["problems"]


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_has_the_expected_manifest(shape: str):
    expected = expected_of(shape)["manifest"]
    manifest = load_shape(shape).manifest
    if expected is None:
        assert manifest is None
        return
    assert manifest is not None
    dumped = manifest.model_dump(mode="json")
    assert {path: fact(dumped, path) for path in expected} == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_what_strict_mode_takes_is_valid_by_the_published_schema(shape: str):
    if load_shape(shape).strict_errors:
        return
    written = read_source((FOLDER / f"{shape}.yml").read_bytes(), Report())

    jsonschema.Draft202012Validator(worker_json_schema()).validate(to_plain(written))


def test_strict_mode_takes_some_shapes_and_refuses_others():
    taken = [shape for shape in SHAPES if not load_shape(shape).strict_errors]

    assert 30 < len(taken) < len(SHAPES) - 30
    assert "runtime-missing-on-host" in taken
    assert "runner-local" not in taken
