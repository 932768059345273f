"""Issues: made, commented on and listed, beside the git command on the same repository.

Run with `python -m bench issues`. Everything is on disk when a call returns, as
it is when `git commit` does (with core.fsync=all).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.kit.table import table
from lib.clock import SystemClock
from lib.ids import Ids
from lib.workspace.issues import IssueQuery, Issues, NewIssue
from lib.workspace.issues.document import Document, encode
from lib.workspace.issues.names import COUNTER, document_path, issue_id
from lib.workspace.workspace import Author, Edit, Put, Workspace

SIZES: Final = (10, 1_000, 10_000)
ROUNDS: Final = 60
AUTHOR: Final = Author("Bench", "bench@floom.local")
ALL: Final = IssueQuery()
BODY: Final = "Totals are off by one cent where an invoice has more than one tax rate.\n" * 4


def main() -> str:
    """Return a table of the figures."""
    rows: list[list[str]] = []
    first: dict[str, float] = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory(dir=_disk()) as name:
            for what, seconds in _measured(Path(name), size).items():
                first.setdefault(what, seconds)
                ratio = f"{seconds / first[what]:.2f}x"
                rows.append([what, f"{size:,}", f"{seconds * 1e3:,.2f} ms", ratio])
    rows.sort(key=lambda row: row[0])
    return table(["what", "issues", "median", "of it"], rows)


def _measured(folder: Path, size: int) -> dict[str, float]:
    workspace = _filled(folder, size)
    clock = SystemClock()
    issues = Issues(workspace, clock=clock, ids=Ids(clock))
    new = NewIssue(title="Totals are off", body=BODY, labels=("billing",))
    found = {
        "create an issue": _median(lambda: issues.create(new, author=AUTHOR, by="bench")),
        "create unless one is like it": _median(
            lambda: issues.find_or_create(
                new, is_like=lambda each: "none" in each.labels, author=AUTHOR, by="bench"
            )
        ),
        "comment on one": _median(
            lambda: issues.comment("ISSUE-0005", "So it is.", author=AUTHOR, by="bench")
        ),
        "list all, nothing read yet": _timed(lambda: issues.list(ALL)),
        "list all, after a change": _after_changes(issues),
        "list all, again": _median(lambda: _rendered(issues)),
    }
    workspace.close()
    found["git add + git commit of one"] = _by_git(folder / "ws", folder / "clone")
    return found


def _after_changes(issues: Issues) -> float:
    def once() -> float:
        issues.comment("ISSUE-0006", "And again.", author=AUTHOR, by="bench")
        return _timed(lambda: _rendered(issues))

    return statistics.median(once() for _ in range(9))


def _rendered(issues: Issues) -> str:
    return ",".join([row.json for row in issues.list(ALL).rows])


def _by_git(root: Path, clone: Path) -> float:
    subprocess.run(["git", "clone", "-q", str(root), str(clone)], check=True)
    numbers = iter(range(500_000, 600_000))
    base = ["git", "-C", str(clone), "-c", "core.fsync=all", "-c", "user.name=B"]
    base += ["-c", "user.email=b@floom.local"]

    def once() -> None:
        path = clone / document_path(next(numbers))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(BODY)
        subprocess.run([*base, "add", str(path)], check=True)
        subprocess.run([*base, "commit", "-qm", "issues: create"], check=True)

    return _median(once, rounds=15)


def _filled(folder: Path, size: int) -> Workspace:
    workspace = Workspace.open(
        folder / "ws",
        state_dir=folder / "data",
        engine_root=Path(__file__).resolve().parents[1],
        seed=None,
        clock=SystemClock(),
    )
    edits: list[Edit] = [_issue(number) for number in range(1, size + 1)]
    edits.append(Put(COUNTER, b"%d\n" % (size + 1)))
    workspace.commit(lambda _: edits, "issues: import", AUTHOR)
    return workspace


def _issue(number: int) -> Put:
    document = Document(
        id=issue_id(number),
        title=f"Number {number}: {json.dumps('quoted')}",
        body=BODY,
        labels=("billing", "imported"),
        created_by="anna",
        created_at=SystemClock().now(),
    )
    return Put(document_path(number), encode(document))


def _median(call: Callable[[], object], *, rounds: int = ROUNDS) -> float:
    """Return seconds of a call, the median of some."""
    return statistics.median(_timed(call) for _ in range(rounds))


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _disk() -> Path:
    """Return a folder on the real disk: `/tmp` may be memory."""
    folder = Path(__file__).resolve().parents[1] / "var"
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    print(main())
