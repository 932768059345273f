"""Other words for the same thing, replaced by ours with a warning."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from lib.manifest.data import Map, Seq
from lib.manifest.lift import find_map
from lib.manifest.report import Report

_RUNTIMES: Final = (
    (re.compile(r"python[-_]?3?[.]?\d{0,2}\Z", re.ASCII), "python"),
    (re.compile(r"node(?:js)?[-_]?\d{0,2}\Z", re.ASCII), "node"),
    (re.compile(r"(?:sh|shell)\Z"), "bash"),
    (re.compile(r"none\Z"), "skill"),
)
_RUNNERS: Final = {"e2b": "sandbox", "local": "sandbox"}
_MODES: Final = {"script": "pure-script", "skill": "agent"}
_TRIGGER_TYPES: Final = {"cron": "schedule", "scheduled": "schedule"}
_VALUE_TYPES: Final = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "object": "json",
    "array": "json",
    "enum": "select",
}
_CONNECTION_KEYS: Final = {"toolkit": "app", "tools": "allowed_tools"}
_CONTEXT_KEYS: Final = {"writable": "writeable"}
_TRIGGER_KEYS: Final = {"schedule": "cron", "tz": "timezone", "time_zone": "timezone"}
_VALUE_KEYS: Final = {"choices": "options"}


def replace_aliases(document: Map, report: Report) -> None:
    """Replace every alias of `document`, in place."""
    exec_ = find_map(document, ("exec",))
    if exec_ is not None:
        _replace_exec(document, exec_, report)
        for key in ("inputs", "outputs"):
            for spec in _maps(exec_, key):
                _replace_value(spec, report)
    for trigger in (*_maps(document, "triggers"), *_single(document, "trigger")):
        _replace_trigger(trigger, report)
    for connection in _maps(document, "connections"):
        _rename(connection, _CONNECTION_KEYS, report)
        for wrapped in _single(connection, "composio"):
            _rename(wrapped, _CONNECTION_KEYS, report)
    for context in _maps(document, "contexts"):
        _rename(context, _CONTEXT_KEYS, report)


def canonical_runtime(written: str) -> str:
    """Return our word for a runtime such as `python312`; others unchanged."""
    if written in {"python", "node", "bash", "skill"}:
        return written
    return next((name for pattern, name in _RUNTIMES if pattern.match(written)), written)


def _replace_exec(document: Map, exec_: Map, report: Report) -> None:
    runtime = exec_.get("runtime")
    if isinstance(runtime, str):
        _set(exec_, "runtime", canonical_runtime(runtime), report)
    _replace(exec_, "runner", _RUNNERS, report)
    _replace(exec_, "mode", _MODES, report)
    if exec_.get("mode") == "hybrid":
        _set(exec_, "mode", _meaning_of_hybrid(document, exec_), report)


def _meaning_of_hybrid(document: Map, exec_: Map) -> str:
    """A hybrid is an agent with scripts, unless its entry is a script."""
    entry = exec_.get("entry") or document.get("entrypoint")
    is_script = isinstance(entry, str) and PurePosixPath(entry).suffix in {".py", ".js", ".sh"}
    return "pure-script" if is_script else "agent"


def _replace_value(spec: Map, report: Report) -> None:
    _rename(spec, _VALUE_KEYS, report)
    _replace(spec, "type", _VALUE_TYPES, report)
    if spec.get("type") == "file":
        _, place = spec.take("type")
        report.warning(place, "alias", f"`{place.path}`: write `kind: file`.")
        if "kind" not in spec:
            spec.put("kind", "file", place)


def _replace_trigger(trigger: Map, report: Report) -> None:
    _rename(trigger, _TRIGGER_KEYS, report)
    _replace(trigger, "type", _TRIGGER_TYPES, report)
    implied = "schedule" if "cron" in trigger else "composio" if "event" in trigger else None
    if "type" not in trigger and implied:
        place = trigger.place_of("type")
        report.warning(place, "alias", f"`{place.path}` is missing; write `type: {implied}`.")
        trigger.put("type", implied, place)


def _replace(parent: Map, key: str, words: Mapping[str, str], report: Report) -> None:
    written = parent.get(key)
    if isinstance(written, str) and written in words:
        _set(parent, key, words[written], report)


def _set(parent: Map, key: str, word: str, report: Report) -> None:
    if parent[key] == word:
        return
    place = parent.places[key]
    report.warning(
        place, "alias", f'`{place.path}`: write "{word}"; "{parent[key]}" is an older word for it.'
    )
    parent[key] = word


def _rename(parent: Map, names: Mapping[str, str], report: Report) -> None:
    for old in [key for key in parent if key in names]:
        new = names[old]
        if new in parent:
            continue  # reported as an unknown key
        value, place = parent.take(old)
        report.warning(place, "alias", f"`{place.path}` is called `{new}` here.")
        parent.put(new, value, place)


def _maps(parent: Map, key: str) -> Iterator[Map]:
    items: Any = parent.get(key)
    return (item for item in items if isinstance(item, Map)) if isinstance(items, Seq) else iter(())


def _single(parent: Map, key: str) -> tuple[Map, ...]:
    member = parent.get(key)
    return (member,) if isinstance(member, Map) else ()
