"""Every shape of commit that the workspace makes, judged by stock git."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from lib.clock import ManualClock
from lib.ids import Ids
from lib.manifest.loader import load_manifest
from lib.storage.memory.shares import MemoryShareStore
from lib.workspace.export import export
from lib.workspace.import_ import WorkspaceImport
from lib.workspace.issues import IssueChange, Issues, NewIssue
from lib.workspace.sharing import Sharing
from lib.workspace.worker_source import SourceFile, WorkerSource, Writer
from lib.workspace.workspace import Workspace
from lib.workspace.zip_reader import ZipLimits, read_zip
from tests.lib.workspace.place import ANNA, Place, write

ADMIN = Writer(ANNA, is_admin=True)
MANIFEST = SourceFile(
    "worker.yml",
    b'schema_version: "0.3"\nname: notes\ntitle: Notes\ndescription: x\nversion: 1.0.0\n'
    b"entrypoint: run.py\n",
)
BY: dict[str, Any] = {"author": ANNA, "by": "anna"}


class Shape(NamedTuple):
    """One kind of commit, and the paths that it is to touch by git's own account."""

    subject: str
    make: Callable[[], object]
    touched: set[str]


@pytest.fixture
def shapes(place: Place, workspace: Workspace) -> list[Shape]:
    clock = ManualClock()
    issues = Issues(workspace, clock=clock, ids=Ids(clock))
    source = WorkerSource(workspace, load_manifest=load_manifest)
    sharing = Sharing(
        shares=MemoryShareStore(), workspace=workspace, load_manifest=load_manifest, clock=clock
    )
    notes = [MANIFEST, SourceFile("run.py", b"print(1)\n", is_executable=True)]
    commits: dict[str, str | None] = {}

    def put(*files: SourceFile) -> None:
        source.replace("notes", [*notes, *files], writer=ADMIN)
        commits.setdefault("first", workspace.tip())

    def by_hand() -> None:
        write(place.root / "contexts/by-hand/\u00fc.md", b"hand\n")
        (place.root / "workers/hello/run.py").chmod(0o755)
        (place.root / "workers/notes/more.txt").unlink()
        workspace.reload(ANNA)

    def take_in() -> None:
        with export(workspace, load_manifest).file as file:
            files = read_zip(file.read(), ZipLimits())
        kept = [each for each in files if each.path.startswith("workers/notes/")]
        WorkspaceImport(kept, load_manifest=load_manifest).commit(workspace, ANNA, {})

    first, second = ".floom/issues/ISSUE-0001.md", ".floom/issues/ISSUE-0001.comments.ndjson"
    worker = {"workers/notes/worker.yml", "workers/notes/run.py"}
    copy = {path.replace("notes", "notes-2") for path in worker} | {".floom/quarantine/notes-2"}
    third = {path.replace("notes", "notes-3") for path in worker} | {".floom/quarantine/notes-3"}
    return [
        Shape(
            "issues: create ISSUE-0001 first",
            lambda: issues.create(NewIssue(title="first"), **BY),
            {first, ".floom/issues/.next"},
        ),
        Shape(
            "issues: update ISSUE-0001",
            lambda: issues.update("ISSUE-0001", IssueChange(status="closed"), **BY),
            {first},
        ),
        Shape(
            "issues: comment on ISSUE-0001",
            lambda: issues.comment("ISSUE-0001", "said", **BY),
            {second},
        ),
        Shape("worker: update notes", put, worker),
        Shape(
            "worker: update notes",
            lambda: put(SourceFile("more.txt", b"\0\xff")),
            {"workers/notes/more.txt"},
        ),
        Shape(
            "workspace: reload 2 workers",
            by_hand,
            {"contexts/by-hand/\u00fc.md", "workers/hello/run.py", "workers/notes/more.txt"},
        ),
        Shape(
            "worker: import notes-2 from share",
            lambda: sharing.copy(sharing.share("notes", by="anna").token, ANNA),
            copy,
        ),
        Shape("workspace: import", take_in, third),
        Shape("worker: delete notes", lambda: source.delete("notes", writer=ADMIN), worker),
        Shape(
            "worker: roll back notes to",
            lambda: source.roll_back("notes", commits["first"] or "", writer=ADMIN),
            worker,
        ),
    ]


def test_git_reads_each_as_it_was_meant(
    place: Place, workspace: Workspace, shapes: list[Shape]
) -> None:
    """With a person's commit, pushed from a clone, between any two of them."""
    clone = place.clone()
    for number, shape in enumerate(shapes):
        shape.make()
        commit = place.git("rev-parse", "main").strip()
        assert place.git("show", "-s", "--format=%s", commit).startswith(shape.subject)
        touched = place.git("show", "-z", "--name-only", "--format=", commit)
        assert {*touched.strip("\0").split("\0")} == shape.touched, shape.subject
        assert place.git("show", "--stat", commit)
        place.git("pull", "-q", "--no-edit", "origin", "main", cwd=clone)
        pushed = place.push_commit(f"contexts/person/{number}", b"pushed\n", clone=clone)
        assert workspace.refresh() == pushed
    place.fsck()
    log = place.git("log", "--stat", "--format=%H %an %cn %s", "main")
    assert log.count(" Floom ") >= len(shapes)
    fresh = place.clone()
    assert (
        {
            str(path.relative_to(fresh)): path.read_bytes()
            for path in fresh.rglob("*")
            if path.is_file() and ".git" not in path.relative_to(fresh).parts
        }
        == place.in_git()
        == place.on_disk()
    )
