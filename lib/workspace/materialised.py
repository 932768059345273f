"""`<data>/materialised`: what the folder on disk was last brought to.

The difference between the disk and this tree is what people did; the difference
between this tree and the tip is what commits did. So a crash between ref and
disk can never look like somebody's edit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lib.workspace.durable import replace_file
from lib.workspace.tree_objects import EMPTY_TREE, TreeEntry

_VERSION: Final = 1
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Materialised:
    """The state of the folder.

    Attributes:
        tree: The tree that was written out.
        held: Paths that were not written because somebody's edit was there;
            for each, the entry that the edit was made on, None for no file.
        checked: The tree up to which the files were seen on disk after a boot.
            Files written since are not forced to disk: after a power cut they
            may be the old ones, or empty.
        boot: Which boot wrote this; "" where the host does not say.
    """

    tree: str = EMPTY_TREE
    held: Mapping[str, TreeEntry | None] = field(default_factory=dict)
    checked: str = EMPTY_TREE
    boot: str = ""


def load(path: Path) -> Materialised | None:
    """Return the state, or None where no readable file is.

    Raises:
        OSError: there is a file, but it cannot be read.
    """
    try:
        data = json.loads(path.read_bytes())
        if data["version"] != _VERSION:
            return None
        held = {str(name): _entry(value) for name, value in data["held"].items()}
        return Materialised(str(data["tree"]), held, str(data["checked"]), str(data["boot"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def save(path: Path, state: Materialised) -> None:
    """Replace the file; atomic, on disk when it returns."""
    held = {name: entry and [entry.mode, entry.id] for name, entry in state.held.items()}
    data: dict[str, Any] = {
        "version": _VERSION,
        "tree": state.tree,
        "held": held,
        "checked": state.checked,
        "boot": state.boot,
    }
    replace_file(path, json.dumps(data).encode())


def boot_id() -> str:
    """Return what names the present boot of the host; "" where that is unknown."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _entry(value: list[Any] | None) -> TreeEntry | None:
    return None if value is None else TreeEntry(int(value[0]), str(value[1]))
