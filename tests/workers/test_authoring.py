"""docs/AUTHORING.md: its first worker works, and it names every field there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lib.manifest.document import Capabilities, Exec, Network, Resources, WorkerDocument
from lib.manifest.inputs import Bounds, InputSpec, OutputSpec
from lib.manifest.loader import load_manifest
from lib.manifest.policies import Approvals, Concurrency, Limits, Notify, Retry
from lib.manifest.triggers import ScheduleTrigger, WebhookTrigger

PAGE = (Path(__file__).parents[2] / "docs" / "AUTHORING.md").read_text(encoding="utf-8")
MODELS = [
    *(WorkerDocument, Exec, Capabilities, Network, Resources, InputSpec, OutputSpec, Bounds),
    *(Limits, Concurrency, Retry, Approvals, Notify, ScheduleTrigger, WebhookTrigger),
]


def blocks(language):
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_first_worker_works_as_it_says(launcher):
    manifest, script = blocks("yaml")[0], blocks("python")[0]

    loaded = load_manifest(
        manifest.encode(), worker_id="shout", file_names=["worker.yml", "run.py"]
    )
    launch = launcher("hello-worker")
    launch.files["run.py"] = script.encode()

    assert loaded.problems == ()
    assert launch({"text": "hello", "times": 2}).outputs == {"message": "HELLO! HELLO!"}


REST = {
    "schema_version": '"0.3"',
    "title": "Example",
    "description": "An example.",
    "version": "1.0.0",
    "exec": "{inputs: [{name: depth, type: integer}]}",
}


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_examples_are_parts_of_a_valid_manifest(text):
    """Joined as text: the loader reads YAML 1.2, where `on` is a word."""
    missing = [f"{key}: {value}\n" for key, value in REST.items() if f"{key}:" not in text]
    worker_id = "shout" if "name: shout" in text else "example"

    loaded = load_manifest(
        "".join([*missing, text]).encode(),
        worker_id=worker_id,
        file_names=["worker.yml", "run.py"],
    )

    assert loaded.problems == ()


@pytest.mark.parametrize("text", blocks("json"))
def test_json_examples_are_json(text):
    assert json.loads(text)["status"] in {"success", "error"}


@pytest.mark.parametrize("text", blocks("python"))
def test_python_examples_compile(text):
    compile(text, "AUTHORING.md", "exec")


@pytest.mark.parametrize("model", MODELS)
def test_every_field_is_documented(model):
    prose = re.sub(r"^ *```.*?^ *```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    words = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", prose))))

    assert not model.model_fields.keys() - words


def test_limits_are_documented_with_their_defaults():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", PAGE, re.MULTILINE))
    defaults = {
        name: field.default
        for name, field in Limits.model_fields.items()
        if field.default is not None
    }

    assert {name: int(rows[name].replace(",", "")) for name in defaults} == defaults


def test_every_shipped_worker_is_named():
    workers = Path(__file__).parents[2] / "workers"

    assert [each.name for each in workers.iterdir() if f"`{each.name}`" not in PAGE] == []


def test_links_to_sections_lead_somewhere():
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}

    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) == anchors


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_shell_examples_parse():
    for text in blocks("sh"):
        done = subprocess.run(["bash", "-n"], input=text.encode(), check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
