"""Runs the figures: `python -m bench [--save] [NAME ...]`.

Every script in this folder is a figure: its `main` measures and returns a
table. `--save` writes the tables into RESULTS.md, each with the command, the
date and the machine.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from bench.kit.machine import facts

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "RESULTS.md"
HEAD = (
    "# Results\n\nThe last saved run of each figure; `python -m bench --save` writes this file.\n"
)


def main() -> int:
    """Run what was asked for; return 1 when a figure could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}")
    parser.add_argument("--save", action="store_true", help="write RESULTS.md")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(names()):
        parser.error(f"no figure is called {', '.join(sorted(unknown))}")
    failed = [name for name in asked.names or names() if not _show(name, save=asked.save)]
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def names() -> list[str]:
    """Return the figures there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def _show(name: str, *, save: bool) -> bool:
    """Measure one figure and print it; a failure must not hide the others."""
    print(f"## {name}\n", flush=True)
    begun = time.monotonic()
    try:
        found = importlib.import_module(f"bench.{name}").main()
    except Exception as error:  # noqa: BLE001 - whatever it is, the next figure can be measured
        print(f"{type(error).__name__}: {error}\n", flush=True)
        return False
    print(f"{found}\n\n({time.monotonic() - begun:.0f} s)\n", flush=True)
    if save:
        _save(name, found)
    return True


def _save(name: str, found: str) -> None:
    """Put a figure's section in place of its last one, sections sorted by name."""
    old = RESULTS.read_text() if RESULTS.exists() else HEAD
    head, *sections = old.split("\n## ")
    kept = {section.partition("\n")[0].strip(): section for section in sections}
    body = found if found.startswith("|") else f"```\n{found}\n```"
    kept[name] = f"{name}\n\n`python -m bench {name}` on {facts()}\n\n{body}\n"
    RESULTS.write_text("\n## ".join([head, *(kept[each] for each in sorted(kept))]))


if __name__ == "__main__":
    sys.exit(main())
