"""Installers: what uv and npm are started with."""

from __future__ import annotations

import functools
import json
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from lib.environments.environment import (
    PACKAGES,
    Environment,
    node_environment,
    python_environment,
)
from lib.environments.installer_settings import InstallerSettings, local_paths
from lib.environments.recipe import InstallError, Kind, Recipe
from lib.environments.requirements_file import NAME as REQUIREMENTS
from lib.sandbox.runtimes import runtime_folders

SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
VERSION_SECONDS: Final = 30


@dataclass(frozen=True)
class Step:
    """An installer's call, in a build's folder.

    Attributes:
        files: To be written first, by path relative to the folder.
        environment: All variables; may hold an index's password.
        runtimes: Paths of interpreters.
        readable: Further paths that it reads besides the system's.
        hosts: `host:port` that it may reach wherever they are.
        proxies: The network's own way out; may hold a password.
    """

    command: tuple[str, ...]
    files: Mapping[str, str]
    environment: Mapping[str, str] = field(repr=False)
    runtimes: tuple[str, ...]
    readable: tuple[str, ...]
    hosts: tuple[str, ...]
    proxies: Mapping[str, str] = field(repr=False)


class Installer(Protocol):
    """Knows one kind of package."""

    @property
    def tools(self) -> Mapping[str, str]:
        """Versions that an environment depends on. Raises InstallError: a tool is missing."""
        ...

    def step(self, recipe: Recipe, folder: Path) -> Step:
        """Return how to install into `<folder>/packages`. Raises InstallError."""
        ...

    def environment(self, folder: Path) -> Environment:
        """Return how a process finds what was installed in a folder."""
        ...


class PythonInstaller:
    """Installs with uv, for the base interpreter.

    Args:
        python: The base interpreter's real file.
        uv: None: this server does not have it.
    """

    def __init__(self, *, python: Path, uv: Path | None, settings: InstallerSettings) -> None:
        self._python = python
        self._uv = uv
        self._settings = settings

    @functools.cached_property
    def tools(self) -> Mapping[str, str]:
        """See the port."""
        return {
            "installer": _version(self._require_uv(), "--version"),
            "python": platform.python_version(),
            "implementation": sys.implementation.cache_tag or sys.implementation.name,
            "interpreter": str(self._python),  # in the first line of each console script
            "platform": _platform(),
        }

    def step(self, recipe: Recipe, folder: Path) -> Step:
        """See the port."""
        if recipe.source_builds and self._settings.python_has_credentials:
            raise InstallError(
                "exec.source_builds is not possible with an index that needs a password: "
                "the code that builds a package could read it"
            )
        variables = self._settings.python
        uv = self._require_uv()
        return Step(
            command=(str(uv), *self._arguments(recipe, folder)),
            files={REQUIREMENTS: recipe.files[REQUIREMENTS]},
            environment={
                "UV_SYSTEM_CERTS": "1",  # uv's own do not know a company's proxy
                **variables,
                **_basic_variables(folder, self._python.parent),
            },
            runtimes=runtime_folders([self._python]),
            readable=(str(uv), *local_paths(variables)),
            hosts=self._settings.python_hosts,
            proxies=self._settings.proxies,
        )

    def environment(self, folder: Path) -> Environment:
        """See the port."""
        return python_environment(folder)

    def _arguments(self, recipe: Recipe, folder: Path) -> list[str]:
        arguments = [
            "pip", "install", "--no-config", "--no-progress", "--color=never",
            "--no-python-downloads", "--keyring-provider=disabled",
            f"--python={self._python}", f"--prefix={folder / PACKAGES}",
            f"--cache-dir={folder / 'cache'}",
            # The cache goes with the build's folder: nobody shares it, so a
            # package's build cannot leave anything in it for somebody else.
            "--link-mode=copy", "--compile-bytecode",
            f"--requirement={folder / REQUIREMENTS}",
        ]  # fmt: skip
        arguments += [] if recipe.source_builds else ["--only-binary=:all:"]
        arguments += ["--no-index"] if self._settings.has_no_index else []
        arguments += ["--require-hashes"] if recipe.is_pinned else []
        return arguments + (["--prerelease=allow"] if recipe.prereleases else [])

    def _require_uv(self) -> Path:
        if self._uv is None:
            raise InstallError(
                "This server has no uv, which installs requirements.txt; "
                "`make install` puts it into .venv, and one on PATH does as well"
            )
        return self._uv


class NodeInstaller:
    """Installs with npm; scripts of packages are never run.

    Args:
        node: None: this host does not have it; as with `npm`.
        npm: npm's program, a JavaScript file.
    """

    def __init__(self, *, node: Path | None, npm: Path | None, settings: InstallerSettings) -> None:
        self._node = node
        self._npm = npm
        self._settings = settings

    @functools.cached_property
    def tools(self) -> Mapping[str, str]:
        """See the port."""
        node, npm = self._require()
        package = json.loads((npm.parent.parent / "package.json").read_text(encoding="utf-8"))
        return {
            "installer": f"npm {package['version']}",
            "node": _version(node, "--version"),
            "platform": _platform(),
        }

    def step(self, recipe: Recipe, folder: Path) -> Step:
        """See the port."""
        node, npm = self._require()
        verb = "ci" if recipe.is_pinned else "install"
        variables = self._settings.node
        return Step(
            command=(str(node), str(npm), verb, *self._arguments(folder)),
            files={f"{PACKAGES}/{name}": text for name, text in recipe.files.items()},
            environment={**variables, **_basic_variables(folder, node.parent)},
            runtimes=runtime_folders([node]),
            readable=(str(npm.parent.parent), *local_paths(variables)),
            hosts=self._settings.node_hosts,
            proxies=self._settings.proxies,
        )

    def environment(self, folder: Path) -> Environment:
        """See the port."""
        return node_environment(folder)

    def _arguments(self, folder: Path) -> list[str]:
        return [
            "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--omit=dev",
            "--no-progress", "--loglevel=error", "--color=false", "--logs-max=0",
            # Also what a package asks for comes from the registry.
            "--allow-git=none", "--allow-file=none", "--allow-directory=none",
            f"--prefix={folder / PACKAGES}", f"--cache={folder / 'cache'}",
        ]  # fmt: skip

    def _require(self) -> tuple[Path, Path]:
        if self._node is None or self._npm is None:
            missing = "Node" if self._node is None else "npm"
            raise InstallError(
                f"This host has no {missing}, which installs package.json; install it and "
                "restart the server"
            )
        return self._node, self._npm


def find_installers(settings: InstallerSettings, python: Path) -> dict[Kind, Installer]:
    """Look for the tools, beside the server's interpreter and on its search path.

    Args:
        settings: What the operator set for them.
        python: The base interpreter's real file.
    """
    return {
        "python": PythonInstaller(python=python, uv=find_uv(), settings=settings),
        "node": NodeInstaller(node=_find("node"), npm=_find_npm(), settings=settings),
    }


def find_uv() -> Path | None:
    """Return uv: the server's own, whose version is pinned, else the host's."""
    beside = Path(sys.executable).parent / "uv"
    return beside.absolute() if beside.is_file() else _find("uv")


def _find_npm() -> Path | None:
    npm = _find("npm")
    if npm is None or npm.suffix == ".js":
        return npm
    # A distribution's shell script: the program lies beside it.
    program = npm.parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
    return program if program.is_file() else None


def _find(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found).resolve() if found else None


def _version(program: Path, argument: str) -> str:
    """Return what a program says of itself. Raises InstallError."""
    try:
        done = subprocess.run(
            [str(program), argument], env={}, capture_output=True, check=True, text=True,
            stdin=subprocess.DEVNULL, timeout=VERSION_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise InstallError(f"{program.name} does not start on this host: {error}") from error
    return done.stdout.strip()


def _platform() -> str:
    return " ".join([sysconfig.get_platform(), *platform.libc_ver()]).strip()


def _basic_variables(folder: Path, programs: Path) -> dict[str, str]:
    """Return what every installer gets; no home folder, so nobody's settings or passwords."""
    return {
        "PATH": f"{programs}:{SYSTEM_PATH}",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }
