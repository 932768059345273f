"""Keys in the wrong map: moved to where they belong, with a warning.

A key is moved only where nothing stands at the right place; otherwise the
right place counts and the stray key is ignored, which the warning says.
"""

from __future__ import annotations

from typing import Final

from lib.manifest.data import Map
from lib.manifest.keys import CONTAINERS, Path, home_of
from lib.manifest.report import Report

_IGNORED: Final = ("targets", "memory")  # of earlier versions; nothing reads them


def lift(document: Map, report: Report) -> None:
    """Move every misplaced key of `document`, in place."""
    _drop_ignored(document, report)
    _merge_secrets(document, report)
    _move_resources(document, report)
    for container in CONTAINERS:
        found = find_map(document, container)
        for key in list(found or ()):
            home = home_of(key, container)
            if home is not None:
                _move(document, (container, key), home, report)


def find_map(document: Map, path: Path) -> Map | None:
    """Return the map at `path`, or None if there is none."""
    found: object = document
    for key in path:
        found = found.get(key) if isinstance(found, Map) else None
    return found if isinstance(found, Map) else None


def ensure_map(document: Map, path: Path) -> Map | None:
    """Return the map at `path`, made where absent; None if it is no map."""
    found = document
    for key in path:
        if key not in found:
            place = found.place_of(key)
            found.put(key, Map(place), place)
        member = found[key]
        if not isinstance(member, Map):
            return None
        found = member
    return found


def _drop_ignored(document: Map, report: Report) -> None:
    for key in _IGNORED:
        if key in document:
            _, place = document.take(key)
            report.warning(place, "ignored_key", f"`{key}` means nothing any more; remove it.")


def _merge_secrets(document: Map, report: Report) -> None:
    """Append top-level secrets to those of `exec`, keeping the order."""
    if "secrets" not in document or not isinstance(document["secrets"], list):
        return
    home = ensure_map(document, ("exec",))
    if home is None or not isinstance(home.get("secrets"), list):
        return
    secrets, place = document.take("secrets")
    report.warning(place, "lifted_key", "`secrets` belongs under `exec`; it is added to that list.")
    for item, at in zip(secrets, secrets.places, strict=True):
        home["secrets"].add(item, at)


def _move_resources(document: Map, report: Report) -> None:
    """Let `resources.memory_mb` mean `limits.memory_mb`, which is no mistake."""
    resources = find_map(document, ("resources",))
    if resources is None or "memory_mb" not in resources:
        return
    memory, place = resources.take("memory_mb")
    limits = ensure_map(document, ("limits",))
    if limits is not None and "memory_mb" not in limits:
        limits.put("memory_mb", memory, place)
    elif limits is not None and limits["memory_mb"] != memory:
        report.warning(
            place,
            "contradiction",
            "`resources.memory_mb` differs from `limits.memory_mb`, which counts.",
        )


def _move(document: Map, stray: tuple[Path, str], home: Path, report: Report) -> None:
    container, key = stray
    source = find_map(document, container)
    if source is None:
        return
    target = ensure_map(document, home)
    value, place = source.take(key)
    belongs = f"belongs under `{'.'.join(home)}`" if home else "belongs at the top level"
    if target is None or key in target:
        where = ".".join((*home, key))
        message = f"`{place.path}` {belongs}; `{where}` is set and counts, so this is ignored."
        report.warning(place, "misplaced_key", message)
        return
    report.warning(place, "lifted_key", f"`{place.path}` {belongs}; it is read from here.")
    target.put(key, value, place)
