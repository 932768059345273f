"""The shape before 0.3: what is taken for it, and that nothing is lost."""

from __future__ import annotations

import pytest

from lib.manifest.models import Manifest
from tests.lib.manifest.loading import codes, load

LEGACY = "id: lead-scorer\nname: Lead scorer\ndescription: Scores leads.\n"


def legacy(text: str, *, files: tuple[str, ...] = ("run.py",)) -> Manifest:
    loaded = load(LEGACY + text, files=files)
    assert codes(loaded) == ["legacy"]
    assert loaded.manifest is not None
    return loaded.manifest


def test_one_warning_says_all():
    manifest = legacy(
        "runtime: {type: python312, runner: e2b}\n"
        "inputs: [{name: a, type: str}]\noutputs: {b: csv}\nsecrets:\n"
        "approvals: true\nconnections: {gmail: }\n"
    )

    assert manifest.runtime == "python"
    assert manifest.outputs[0].path == "out/b.csv"
    assert manifest.connections[0].app == "gmail"
    assert manifest.approvals is not None


@pytest.mark.parametrize(
    ("type_", "path", "media_type"),
    [
        ("csv", "out/x.csv", "text/csv"),
        ("markdown", "out/x.md", "text/markdown"),
        ("json", "out/x.json", "application/json"),
        ("file", "out/x.bin", "application/octet-stream"),
    ],
)
def test_outputs_that_were_files_are_files(type_: str, path: str, media_type: str):
    (output,) = legacy(f"outputs: [{{name: x, type: {type_}}}]\n").outputs

    assert (output.kind, output.path, output.media_type) == ("file", path, media_type)


@pytest.mark.parametrize("type_", ["text", "textarea", "number", "boolean"])
def test_outputs_that_were_values_are_values(type_: str):
    (output,) = legacy(f"outputs: [{{name: x, type: {type_}}}]\n").outputs

    assert (output.kind, output.type, output.path) == ("scalar", type_, None)


def test_a_path_of_its_own_is_kept():
    (output,) = legacy("outputs: [{name: x, type: csv, path: data/y.csv}]\n").outputs

    assert output.path == "data/y.csv"


def test_version_and_description_are_filled_in():
    loaded = load("name: Lead scorer\n")

    assert loaded.manifest is not None
    assert loaded.manifest.version == "0.1.0"
    assert loaded.manifest.description == "Lead scorer"


@pytest.mark.parametrize("key", ["exec: {entry: run.py}", "title: Lead scorer"])
def test_a_manifest_of_today_that_forgot_its_version_is_not_legacy(key: str):
    loaded = load(f"description: d\nversion: 1.0.0\n{key}\n")

    assert "missing_schema_version" in codes(loaded)
    assert "legacy" not in codes(loaded)


def test_unknown_keys_are_still_reported():
    assert codes(load(LEGACY + "runtime: {type: python, colour: red}\n")) == [
        "legacy",
        "unknown_key",
    ]
