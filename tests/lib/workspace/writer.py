"""A process that commits, for tests of several: `python -m tests.lib.workspace.writer`.

Arguments: base folder, name, number of commits (0: until killed). Prints the
number of each commit once it is acknowledged.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from pathlib import Path

from lib.clock import SystemClock
from lib.workspace.workspace import Author, Edit, Put, TreeView
from tests.lib.workspace.place import Place

COUNTER = "contexts/shared/counter"


def main() -> None:
    place, name, count = Place(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    workspace = place.open(clock=SystemClock())
    say("ready")
    sys.stdin.readline()
    for number in range(count) if count else itertools.count():

        def change(tree: TreeView, number: int = number) -> Iterable[Edit]:
            taken = int(tree.find_bytes(COUNTER) or b"0") + 1
            return [
                Put(COUNTER, b"%d" % taken),
                Put(f"contexts/{name}/{number}", b"%d" % taken),
            ]

        workspace.commit(change, f"context: {name} {number}", Author(name, f"{name}@example.org"))
        say(str(number))
    workspace.close()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
