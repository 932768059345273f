"""A process that makes issues and comments: `python -m tests.lib.workspace.issues.writer`.

Arguments: base folder, name, number of issues (0: until killed). Prints the id of
each issue, and `ID said` for each comment, once it is acknowledged.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from lib.clock import SystemClock
from lib.ids import Ids
from lib.workspace.issues import Issues, NewIssue
from lib.workspace.workspace import Author
from tests.lib.workspace.place import Place
from tests.lib.workspace.writer import say


def main() -> None:
    place, name, count = Place(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    clock = SystemClock()
    workspace = place.open(clock=clock)
    issues = Issues(workspace, clock=clock, ids=Ids(clock))
    author = Author(name, f"{name}@example.org")
    say("ready")
    sys.stdin.readline()
    for number in range(count) if count else itertools.count():
        made = issues.create(NewIssue(title=f"{name} {number}"), author=author, by=name)
        say(made.id)
        issues.comment(made.id, f"{name} says", author=author, by=name)
        say(f"{made.id} said")
    workspace.close()


if __name__ == "__main__":
    main()
