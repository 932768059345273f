"""Everything that installs, over a folder of a test and an index on loopback."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.environments.build import Workshop
from lib.environments.environment import Environment
from lib.environments.environments import Environments
from lib.environments.installer_settings import InstallerSettings
from lib.environments.installers import find_installers
from lib.environments.package_file import read_package
from lib.environments.recipe import Recipe
from lib.environments.requirements_file import read_requirements
from lib.environments.store import EnvironmentStore
from lib.sandbox.runtimes import base_python

DEADLINE_SECONDS = 60


class Recorded:
    """A customer that remembers what it was told."""

    def __init__(self, *, keeps_log: bool = True) -> None:
        self.keeps_log = keeps_log
        self.lines: list[str] = []
        self.wants_out = threading.Event()
        self.was_told = threading.Event()

    def gives_up(self) -> bool:
        return self.wants_out.is_set()

    def tell(self, lines: Sequence[str]) -> None:
        self.lines += lines
        self.was_told.set()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Place:
    """One data folder."""

    def __init__(
        self,
        root: Path,
        variables: dict[str, str],
        *,
        isolation: str = "best_effort",
        max_total_bytes: int = 1 << 30,
        **workshop: Any,
    ) -> None:
        self.root = root
        self.folder = root / "environments"
        settings = InstallerSettings(variables)
        self.store = EnvironmentStore(self.folder, max_total_bytes=max_total_bytes)
        self.installers = find_installers(settings, base_python())
        self.environments = Environments(
            self.store,
            installers=self.installers,
            workshop=Workshop(
                python=base_python(),
                isolation=isolation,
                hidden=(str(root),),
                mask=settings.mask,
                **workshop,
            ),
        )

    def install(self, *recipes: Recipe, customer: Recorded | None = None) -> Environment:
        """Install and let go at once."""
        with self.environments.prepare(recipes, customer or Recorded()) as found:
            return found

    def names(self) -> set[str]:
        """Return what is in the folder, lock files and ids left out."""
        if not self.folder.exists():
            return set()
        return {
            path.name
            for path in self.folder.iterdir()
            if path.suffix != ".lock" and path.name != ".private"
        }

    def locks(self) -> set[str]:
        return {path.name for path in self.folder.glob("*.lock")}


def requirements(*lines: str, source_builds: bool = False) -> Recipe:
    found = read_requirements("\n".join(lines).encode(), source_builds=source_builds)
    assert found is not None
    return found


def package(text: str, **files: str) -> Recipe:
    lock = {"package-lock.json": files["lock"].encode()} if "lock" in files else {}
    found = read_package({"package.json": text.encode(), **lock})
    assert found is not None
    return found


def run_python(environment: Environment, code: str) -> str:
    """Run code as a worker would find the packages; return what it printed."""
    return subprocess.run(
        [str(base_python()), "-c", code],
        env={"PATH": f"{':'.join(environment.programs)}:{os.defpath}", **environment.variables},
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    ).stdout.strip()
