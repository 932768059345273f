"""hello-worker: the first run of a new installation."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

WORKERS = Path(__file__).parents[2] / "workers"


@pytest.mark.parametrize(
    ("who", "message"),
    [
        ("Ada", "Hello, Ada!"),
        ("  Grace Hopper ", "Hello, Grace Hopper!"),
        ("世界 😀", "Hello, 世界 😀!"),
        ("", "Hello, world!"),
        ('"}\n{"status": "error"}', 'Hello, "}\n{"status": "error"}!'),
    ],
)
def test_greets_whoever_is_named(launcher, who, message):
    assert launcher("hello-worker")({"who": who}).outputs == {"message": message}


def test_logs_a_few_lines_of_one_line_each(launcher):
    done = launcher("hello-worker")({"who": "Ada\nLovelace"})

    assert done.stdout.splitlines() == [
        r"Greeting 'Ada\nLovelace'",
        "Done: the greeting is the output `message`",
    ]
    assert done.stderr == ""


def test_imports_json_only():
    """The start of a run must not wait for imports that a greeting does not need."""
    tree = ast.parse((WORKERS / "hello-worker" / "run.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]

    assert [ast.unparse(node) for node in imports] == ["import json"]
