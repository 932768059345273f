"""Packages below PYTHONUSERBASE: a forked interpreter finds what a started one finds."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import pytest

from tests.lib.sandbox.conftest import Runner

SHOW = """
import json, site, sys
print(json.dumps({
    "path": [p.replace(sys.path[0], "HERE") for p in sys.path],
    "user": [site.USER_SITE, site.USER_BASE, site.ENABLE_USER_SITE],
    "pth": getattr(sys, "told_by_pth", None),
}))
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "packages"


@pytest.fixture
def packages(base: Path) -> Path:
    folder = Path(sysconfig.get_path("purelib", "posix_user", vars={"userbase": str(base)}))
    folder.mkdir(parents=True)
    return folder


def shown(runner: Runner, script: str, base: Path, *, warm: bool) -> str:
    variables = {"PYTHONUSERBASE": str(base), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    readable = (str(base),) if base.exists() else ()
    ended = runner(script, environment=variables, warm=warm, readable=readable)
    assert ended.exit.exit_code == 0, ended.text
    return ended.text


def both(runner: Runner, script: str, base: Path) -> tuple[str, str]:
    return shown(runner, script, base, warm=True), shown(runner, script, base, warm=False)


def test_the_search_path_has_the_same_order_warm_and_cold(
    runner: Runner, base: Path, packages: Path
) -> None:
    (packages / "extra").mkdir()
    (packages / "one.pth").write_text("extra\nimport sys; sys.told_by_pth = 'run'\n# no\nabsent\n")
    warm, cold = (json.loads(text) for text in both(runner, SHOW, base))
    assert warm == cold
    assert warm["pth"] == "run"
    path = warm["path"]
    standard = sysconfig.get_path("stdlib")
    assert path.index(standard) < path.index(str(packages)) < path.index(str(packages / "extra"))


def test_a_folder_that_is_not_there_changes_nothing(runner: Runner, base: Path) -> None:
    warm, cold = (json.loads(text) for text in both(runner, SHOW, base))
    assert warm["path"] == cold["path"]


def test_packages_are_imported_and_never_hide_the_standard_library(
    runner: Runner, base: Path, packages: Path
) -> None:
    (packages / "found.py").write_text("VALUE = 1\n")
    (packages / "decimal.py").write_text("raise SystemExit('hidden')\n")
    (packages / "colorsys.py").write_text("raise SystemExit('hidden')\n")  # not imported beforehand
    script = (
        "import found, decimal, colorsys; print(found.VALUE, found.__file__, colorsys.__name__)"
    )
    warm, cold = both(runner, script, base)
    assert warm == cold == f"1 {packages}/found.py colorsys"


def test_namespace_packages_and_metadata_are_found(
    runner: Runner, base: Path, packages: Path
) -> None:
    (packages / "space" / "part").mkdir(parents=True)
    (packages / "space" / "part" / "__init__.py").write_text("VALUE = 2\n")
    info = packages / "thing-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.5\n")
    script = (
        "import importlib.metadata as m, space.part\nprint(space.part.VALUE, m.version('thing'))"
    )
    warm, cold = both(runner, script, base)
    assert warm == cold == "2 1.5"


def test_a_process_that_the_worker_starts_finds_them_too(
    runner: Runner, base: Path, packages: Path
) -> None:
    (packages / "found.py").write_text("VALUE = 1\n")
    script = (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import found; print(found.VALUE)'], check=True)"
    )
    warm, cold = both(runner, script, base)
    assert warm == cold == "1"


def test_a_pth_file_that_fails_ends_neither_start(
    runner: Runner, base: Path, packages: Path
) -> None:
    (packages / "bad.pth").write_text("import absent_module\n")
    (packages / "found.py").write_text("VALUE = 1\n")
    script = "import found; print(found.VALUE)"
    warm, cold = both(runner, script, base)
    # The two streams may come in either order.
    assert sorted(warm.splitlines()) == sorted(cold.splitlines())
    assert "1" in warm.splitlines()
    assert "absent_module" in warm


def test_the_server_s_own_packages_are_never_among_them(
    runner: Runner, base: Path, packages: Path
) -> None:
    script = "import importlib.util; print(importlib.util.find_spec('falcon'))"
    assert set(both(runner, script, base)) == {"None"}
    assert packages.is_dir()
