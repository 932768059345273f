"""What a run gets of the environments that its worker asks for."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PACKAGES: Final = "packages"  # in an environment's folder


@dataclass(frozen=True)
class Environment:
    """Installed packages, as a process finds them.

    Attributes:
        programs: Folders for `PATH`, before those of the runtimes.
        variables: To be set in the process.
        links: Symbolic links for the working directory: name and where it points.
        readable: Paths that the process must be able to read, and must not write.
        keys: Names of the environments that all this is from.
    """

    programs: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()
    readable: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


def python_environment(folder: Path) -> Environment:
    """Return how Python finds packages in an environment's folder.

    They are laid out as the interpreter's *user site*, which `site` adds after
    the standard library and before the interpreter's own packages, `.pth` files
    and all: a package can never hide a module of the standard library, as it
    could by PYTHONPATH.
    """
    base = folder / PACKAGES
    return Environment(
        programs=(str(base / "bin"),),
        variables={"PYTHONUSERBASE": str(base)},
        readable=(str(base),),
        keys=(folder.name,),
    )


def node_environment(folder: Path) -> Environment:
    """Return how Node finds packages: it looks for `node_modules` beside the file.

    A link does for `require` and for `import`, which NODE_PATH does not.
    """
    modules = folder / PACKAGES / "node_modules"
    return Environment(
        programs=(str(modules / ".bin"),),
        links=(("node_modules", str(modules)),),
        readable=(str(folder / PACKAGES),),
        keys=(folder.name,),
    )


def combined(environments: Sequence[Environment]) -> Environment:
    """Return several as one."""
    return functools.reduce(_joined, environments, Environment())


def _joined(one: Environment, other: Environment) -> Environment:
    return Environment(
        programs=one.programs + other.programs,
        variables={**one.variables, **other.variables},
        links=one.links + other.links,
        readable=one.readable + other.readable,
        keys=one.keys + other.keys,
    )
