"""Every shipped worker is a model of a manifest."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

WORKERS = Path(__file__).parents[2] / "workers"

SHIPPED = sorted(folder.name for folder in WORKERS.iterdir() if (folder / "worker.yml").exists())
CATALOGUE = {
    "title",
    "description",
    "version",
    "long_description",
    "use_cases",
    "how_it_works",
    "tags",
    "example_input",
    "example_output",
    "license",
    "is_example",
}


def read(worker_id):
    return yaml.safe_load((WORKERS / worker_id / "worker.yml").read_text(encoding="utf-8"))


def test_the_examples_are_shipped():
    assert SHIPPED == [
        "csv-enricher",
        "disk-usage",
        "fail-gracefully",
        "hello-worker",
        "json-transform",
        "outbound-approval-demo",
        "text-report",
    ]


@pytest.mark.skipif(
    find_spec("lib.manifest") is None or find_spec("lib.manifest.loader") is None,
    reason="lib.manifest.loader is not there",
)
@pytest.mark.parametrize("worker_id", SHIPPED)
def test_loads_with_no_problem_at_all(worker_id):
    """Example inputs are checked by the loader, too."""
    from lib.manifest.loader import load_manifest

    folder = WORKERS / worker_id
    loaded = load_manifest(
        (folder / "worker.yml").read_bytes(),
        worker_id=worker_id,
        file_names=[str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()],
    )

    assert loaded.problems == ()
    assert loaded.strict_errors == ()
    assert loaded.manifest is not None
    assert loaded.manifest.id == worker_id


@pytest.mark.parametrize("worker_id", SHIPPED)
def test_is_rich_enough_for_a_catalogue(worker_id):
    manifest = read(worker_id)

    assert not CATALOGUE - manifest.keys()
    assert manifest["schema_version"] == "0.3"
    assert manifest["name"] == worker_id
    assert len(manifest["description"]) <= 500
    assert all(spec.get("label") for spec in manifest["exec"]["inputs"])
    assert all(spec.get("label") for spec in manifest["exec"]["outputs"])


@pytest.mark.parametrize("worker_id", SHIPPED)
def test_examples_name_what_is_declared(worker_id):
    manifest = read(worker_id)
    inputs = {spec["name"]: spec for spec in manifest["exec"]["inputs"]}
    outputs = {spec["name"] for spec in manifest["exec"]["outputs"]}

    assert manifest["example_input"].keys() <= inputs.keys()
    assert {name for name, spec in inputs.items() if spec.get("required")} <= manifest[
        "example_input"
    ].keys()
    assert manifest["example_output"].keys() <= outputs


FIXED = [worker_id for worker_id in SHIPPED if worker_id not in {"disk-usage", "fail-gracefully"}]


@pytest.mark.parametrize("worker_id", FIXED)
def test_the_example_gives_what_it_shows(launcher, worker_id):
    """The input, with defaults applied as the engine does, gives exactly the output."""
    manifest = read(worker_id)
    if manifest["exec"]["runtime"] == "node" and shutil.which("node") is None:
        pytest.skip("node is not installed")
    defaults = {
        spec["name"]: spec["default"]
        for spec in manifest["exec"]["inputs"]
        if spec.get("default") is not None
    }

    done = launcher(worker_id)({**defaults, **manifest["example_input"]})

    assert done.outputs == manifest["example_output"]


@pytest.mark.parametrize("worker_id", SHIPPED)
def test_is_standalone(worker_id):
    """No import of the engine, of another worker, or of a package to install."""
    folder = WORKERS / worker_id
    names = {path.name for path in folder.rglob("*")}
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))

    assert not names & {"requirements.txt", "package.json", "node_modules"}
    assert "from lib" not in text
    assert "import lib" not in text
