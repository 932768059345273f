"""package.json and its lock: names and version ranges, from the server's registry.

npm takes a dependency from a folder, a git repository or any address as well,
runs scripts, and follows the addresses of a lock file. None of that is wanted
of a file that whoever may edit a worker can write: such a dependency is refused
by name, and the installer gets files written anew from what was understood. A
lock's addresses are left out, so that every package comes from the server's own
registry; its hashes are kept, and npm compares them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lib.environments.recipe import InstallError, Recipe, decode

NAME: Final = "package.json"
LOCKS: Final = ("npm-shrinkwrap.json", "package-lock.json")  # npm prefers the first
LOCK_NAME: Final = "package-lock.json"

_PACKAGE: Final = r"(?:@[A-Za-z0-9~._-]+/)?[A-Za-z0-9~_-][A-Za-z0-9~._-]*"
_NAME: Final = re.compile(rf"{_PACKAGE}\Z")
_RANGE: Final = re.compile(rf"(?:npm:{_PACKAGE}(?:@|\Z))?[0-9A-Za-z.^~<>=|*+ -]*\Z")
_OVERRIDE: Final = re.compile(rf"(?:\$)?(?:{_PACKAGE})\Z")
_PLACE: Final = re.compile(rf"node_modules/{_PACKAGE}(?:/node_modules/{_PACKAGE})*\Z")
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*\Z")

_INSTALLED: Final = ("dependencies", "optionalDependencies", "peerDependencies")
_SECTIONS: Final = (*_INSTALLED, "devDependencies")  # those last must agree with a lock
_LOCK_VERSIONS: Final = (2, 3)
_KEPT_OF_LOCK: Final = (
    *_SECTIONS, "name", "version", "integrity", "peerDependenciesMeta", "bin", "engines", "os",
    "cpu", "libc", "dev", "optional", "devOptional", "peer", "hasInstallScript", "inBundle",
)  # fmt: skip


def read_package(files: Mapping[str, bytes]) -> Recipe | None:
    """Return what a package.json asks for, None where that is nothing.

    Args:
        files: The worker's package.json and, if it has one, its lock file.

    Raises:
        InstallError: a file is not understood, or a dependency is refused.
    """
    package = _load(NAME, files[NAME])
    kept = {section: _ranges(package, section) for section in _SECTIONS if package.get(section)}
    if not any(section in kept for section in _INSTALLED):
        return None
    if package.get("workspaces"):
        raise InstallError(f"{NAME} has `workspaces`, which are not supported")
    if "overrides" in package:
        _check_overrides(package["overrides"])
        kept["overrides"] = package["overrides"]
    wanted = {NAME: _text({"private": True, **kept})}
    lock = next((name for name in LOCKS if name in files), None)
    if lock is not None:
        wanted[LOCK_NAME] = _text(_clean_lock(lock, _load(lock, files[lock])))
    return Recipe(kind="node", source=NAME, files=wanted, is_pinned=lock is not None)


def _load(name: str, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(decode(name, data))
    except (ValueError, RecursionError) as error:
        raise InstallError(f"{name} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InstallError(f"{name} is not a JSON object")
    return value


def _ranges(package: dict[str, Any], section: str) -> dict[str, str]:
    ranges = package[section]
    if not isinstance(ranges, dict):
        raise InstallError(f"{NAME}: `{section}` is not a map of names to versions")
    for name, wanted in ranges.items():
        _check_range(section, name, wanted)
    return ranges


def _check_range(section: str, name: str, wanted: object) -> None:
    if not _NAME.match(name):
        raise InstallError(f"{NAME}: `{section}` has {name[:80]!r}, which is no package's name")
    if not isinstance(wanted, str) or not _RANGE.match(wanted):
        raise InstallError(
            f"{NAME}: {section}.{name} is {str(wanted)[:80]!r}; only versions are supported, "
            "because packages come from the server's registry only"
        )


def _check_overrides(value: object) -> None:
    for key, wanted in _leaves(value):
        name = key.rpartition("@")[0] or key
        is_reference = isinstance(wanted, str) and wanted.startswith("$")
        if is_reference and _OVERRIDE.match(str(wanted)):
            continue
        _check_range("overrides", name if key != "." else "self", wanted)


def _leaves(value: object, depth: int = 0) -> Iterator[tuple[str, object]]:
    if not isinstance(value, dict) or depth > 32:
        raise InstallError(f"{NAME}: `overrides` is not a map of names to versions")
    for key, below in value.items():
        if isinstance(below, dict):
            yield from _leaves(below, depth + 1)
        else:
            yield key, below


def _clean_lock(name: str, lock: dict[str, Any]) -> dict[str, Any]:
    version, packages = lock.get("lockfileVersion"), lock.get("packages")
    if version not in _LOCK_VERSIONS or not isinstance(packages, dict):
        raise InstallError(f"{name} is of an old form; npm 7 or newer writes one that works")
    cleaned = {place: _clean_entry(name, place, entry) for place, entry in packages.items()}
    return {"lockfileVersion": version, "requires": True, "packages": cleaned}


def _clean_entry(lock: str, place: str, entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise InstallError(f"{lock}: {place[:80]!r} is no map")
    kept = {key: entry[key] for key in _KEPT_OF_LOCK if key in entry}
    if place == "":
        for section in _SECTIONS:
            if section in kept:
                _ranges(kept, section)
        return kept
    resolved = str(entry.get("resolved", "https:"))
    is_of_registry = resolved.startswith(("https:", "http:")) and not entry.get("link")
    if (
        not _PLACE.match(place)
        or not is_of_registry
        or not _VERSION.match(str(entry.get("version", "")))
    ):
        raise InstallError(
            f"{lock}: {place[:80]!r} does not come from a registry, as every package must"
        )
    return kept


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, indent=1)
