"""Writes the generated documents: `generate.py`; `--check` only compares.

`docs/openapi.json` comes from the handlers' operations, `docs/worker.schema.json`
from the manifest's models. Exit 1 when `--check` finds one stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def render_openapi() -> str:
    """Return the OpenAPI document as text."""
    from handlers import docs

    return json.dumps(docs.document(), indent=2, ensure_ascii=False) + "\n"


def render_worker_schema() -> str:
    """Return the JSON Schema of worker manifests as text."""
    from lib.manifest import schema

    return schema.render()


RENDERERS: Final[Mapping[str, Callable[[], str]]] = {
    "docs/openapi.json": render_openapi,
    "docs/worker.schema.json": render_worker_schema,
}


def generate(root: Path, renderers: Mapping[str, Callable[[], str]]) -> None:
    """Write every document under `root`."""
    for name, render in renderers.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(), encoding="utf-8")


def stale(root: Path, renderers: Mapping[str, Callable[[], str]]) -> list[str]:
    """Return the names of the documents that differ from what would be written."""
    return [name for name, render in renderers.items() if _text(root / name) != render()]


def main(
    arguments: list[str] | None = None,
    root: Path = ROOT,
    renderers: Mapping[str, Callable[[], str]] = RENDERERS,
) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description="Write the generated documents.")
    parser.add_argument("--check", action="store_true", help="only say whether they are current")
    if not parser.parse_args(arguments).check:
        generate(root, renderers)
        return 0
    found = stale(root, renderers)
    if found:
        print(f"stale: {', '.join(found)}; run `make generate`", file=sys.stderr)
    return 1 if found else 0


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
