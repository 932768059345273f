"""What CONTRIBUTING.md forbids is refused, in tests too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PLACES = ["tests/lib/test_new.py", "tests/e2e/test_new.py", "bench/new.py", "lib/runs/new.py"]
MOCKS = [
    "from unittest.mock import patch\n\npatch('x')\n",
    "from unittest import mock\n\nmock.patch('x')\n",
    "import unittest.mock\n\nunittest.mock.Mock()\n",
    "import unittest.mock as m\n\nm.Mock()\n",
    "import mock\n\nmock.Mock()\n",
    "from pytest_mock import MockerFixture\n\nMockerFixture()\n",
]
ELSEWHERE = ["import os\n\nos.environ['A']\n", "import sqlite3\n\nsqlite3.connect('a')\n"]
# Constants of the zygote's process, whose adapter makes it by itself.
STILL_PATCHED = {"tests/lib/sandbox/test_local.py"}


def findings(source: str, place: str) -> list[str]:
    """Return the codes of what ruff says of a source at a place in this project."""
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=json"]
    command = [*ruff, "--stdin-filename", str(ROOT / place), "-"]
    done = subprocess.run(
        command, input=source, capture_output=True, text=True, cwd=ROOT, check=False
    )
    return [each["code"] for each in json.loads(done.stdout)]


@pytest.mark.parametrize("source", MOCKS)
@pytest.mark.parametrize("place", PLACES)
def test_mocks_are_refused_everywhere(source: str, place: str) -> None:
    assert "TID251" in findings(source, place)


@pytest.mark.parametrize("source", ELSEWHERE)
@pytest.mark.parametrize("place", PLACES)
def test_environment_and_database_have_one_place_each(source: str, place: str) -> None:
    assert "TID251" in findings(source, place)


def test_where_they_belong_they_are_fine() -> None:
    assert "TID251" not in findings(ELSEWHERE[0], "lib/settings.py")
    assert "TID251" not in findings(ELSEWHERE[1], "lib/storage/sqlite/new.py")


def test_nothing_is_patched_into_our_modules() -> None:
    needle = "monkeypatch" + ".setattr"  # in two parts: this file does not hold what it looks for
    found = {
        str(path.relative_to(ROOT))
        for path in Path(ROOT, "tests").rglob("*.py")
        if needle in path.read_text()
    }
    assert found <= STILL_PATCHED
