"""The shape before 0.3, which names no `schema_version`.

```yaml
id: lead-scorer
name: Lead scorer            # the title
runtime: {type: python, entrypoint: run.py, limits: {timeout_seconds: 60}}
inputs: [{name: who, type: text}]
outputs: [{name: table, type: csv, columns: [name, score]}]
```

Converted as a whole, with one warning; nothing that it says is lost.
"""

from __future__ import annotations

from typing import Any, Final

from lib.manifest.data import Map, Seq
from lib.manifest.lift import ensure_map, find_map
from lib.manifest.report import Place, Report

VERSION: Final = "0.1.0"
# Outputs of these types were always files.
_FILES: Final = {
    "csv": (".csv", "text/csv"),
    "markdown": (".md", "text/markdown"),
    "json": (".json", "application/json"),
    "file": (".bin", "application/octet-stream"),
}
_EXEC_KEYS: Final = ("inputs", "outputs", "secrets")
_RUNTIME_KEYS: Final = {
    "type": ("exec", "runtime"),
    "entrypoint": ("exec", "entry"),
    "command": ("exec", "command"),
    "mode": ("exec", "mode"),
    "runner": ("exec", "runner"),
    "model": ("model",),
    "system_prompt": ("system_prompt",),
    "limits": ("limits",),
}


def is_legacy(document: Map) -> bool:
    """Return whether a document is of the older shape.

    One that has `exec` or `title` is a 0.3 manifest which forgot to say so.
    """
    return not {"schema_version", "exec", "title"} & document.keys()


def convert(document: Map, report: Report) -> None:
    """Turn a legacy document into the shape of 0.3, in place."""
    report.warning(
        document.place,
        "legacy",
        'This manifest has no `schema_version`; it is read in the older shape. Write it as "0.3".',
    )
    document.put("schema_version", "0.3", document.place)
    _rename(document, "name", "title")
    _rename(document, "id", "name")
    _fill(document, "version", VERSION)
    if isinstance(document.get("title"), str):
        _fill(document, "description", document["title"])
    _convert_runtime(document)
    _move_to_exec(document)


def convert_outputs(document: Map) -> None:
    """Make files of the outputs that always were files, in place."""
    exec_ = find_map(document, ("exec",))
    outputs = exec_.get("outputs") if exec_ is not None else None
    for output in outputs if isinstance(outputs, Seq) else ():
        if isinstance(output, Map):
            _convert_output(output)


def _rename(document: Map, old: str, new: str) -> None:
    if old in document and new not in document:
        value, place = document.take(old)
        document.put(new, value, place)


def _fill(document: Map, key: str, value: str) -> None:
    if document.get(key) is None:
        document.put(key, value, document.place_of(key))


def _convert_runtime(document: Map) -> None:
    if "runtime" not in document:
        return
    runtime, place = document.take("runtime")
    if not isinstance(runtime, Map):
        _put(document, ("exec", "runtime"), runtime, place)
        return
    for key in list(runtime):
        _put(document, _RUNTIME_KEYS.get(key, ("exec", key)), runtime[key], runtime.places[key])


def _put(document: Map, path: tuple[str, ...], value: Any, place: Place) -> None:
    parent = ensure_map(document, path[:-1])
    if parent is not None and path[-1] not in parent:
        parent.put(path[-1], value, place)


def _move_to_exec(document: Map) -> None:
    for key in _EXEC_KEYS:
        if key in document:
            value, place = document.take(key)
            _put(document, ("exec", key), value, place)


def _convert_output(output: Map) -> None:
    kind, name = output.get("type"), output.get("name")
    if not isinstance(kind, str) or kind not in _FILES or not isinstance(name, str):
        return
    suffix, media_type = _FILES[kind]
    place = output.places["type"]
    defaults = {"kind": "file", "path": f"out/{name}{suffix}", "media_type": media_type}
    for key, value in defaults.items():
        if key not in output:
            output.put(key, value, place)
