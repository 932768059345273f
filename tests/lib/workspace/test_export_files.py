"""What of a tree is exported, what is left out, and what an import makes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from lib.manifest.loader import load_manifest
from lib.workspace.export import SUMMARY, export
from lib.workspace.export_files import MAX_SHOWN, LeftOut, select
from lib.workspace.git_paths import shown
from lib.workspace.import_ import ImportReport, WorkspaceImport
from lib.workspace.issues import names
from lib.workspace.tree_edits import Put
from lib.workspace.tree_objects import EXECUTABLE, FILE, FOLDER, GITLINK, SYMLINK, TreeEntry
from lib.workspace.tree_view import TreeView
from lib.workspace.workspace import Workspace
from lib.workspace.zip_reader import ZipLimits, read_zip
from tests.lib.workspace.place import ANNA

Files = dict[bytes, tuple[int, bytes]]  # mode and content by path, in git's bytes


@dataclass
class MemorySource:
    """Objects of one tree."""

    trees: dict[str, dict[bytes, TreeEntry]] = field(default_factory=lambda: {"": {}})
    blobs: dict[str, bytes] = field(default_factory=dict)

    def put(self, path: bytes, mode: int, data: bytes) -> None:
        """Add a file, unless a file is where it needs a folder, or the reverse."""
        *above, name = path.split(b"/")
        here = ""
        for segment in above:
            below = f"{here}/{segment.hex()}"
            entry = self.trees[here].setdefault(segment, TreeEntry(FOLDER, below))
            if not entry.is_folder:
                return
            self.trees.setdefault(below, {})
            here = below
        if name not in self.trees[here]:
            self.blobs[path.hex()] = data
            self.trees[here][name] = TreeEntry(mode, path.hex())

    def read(self, sha: str, _kind: str) -> bytes:
        return self.blobs[sha]

    def tree(self, sha: str) -> dict[bytes, TreeEntry]:
        return self.trees[sha]


class MemoryWorkspace:
    """As much of a workspace as an export and an import need."""

    def __init__(self, files: Files) -> None:
        self.source = MemorySource()
        for path, (mode, data) in files.items():
            self.source.put(path, mode, data)

    def refresh(self) -> None:
        return None

    def view(self, _commit: str | None = None) -> TreeView:
        return TreeView(cast("Any", self.source), "")

    def commit(self, change: Any, *_: Any, trailers: Any) -> None:
        for edit in change(self.view()):
            assert isinstance(edit, Put)
            self.source.put(edit.path.encode(), edit.mode, edit.data)


def tree(*paths: str, mode: int = FILE) -> TreeView:
    return MemoryWorkspace({path.encode(): (mode, b"") for path in paths}).view()


def exported(files: Files) -> tuple[bytes, dict[str, Any]]:
    """Return the zip, and what its summary says."""
    made = export(cast("Workspace", MemoryWorkspace(files)), load_manifest)
    with made.file as file:
        data = file.read()
    (summary,) = (file.data for file in read_zip(data, ZipLimits()) if file.path == SUMMARY)
    return data, json.loads(summary)


def test_links_and_submodules_are_left_out() -> None:
    for mode, reason in ((SYMLINK, "is a symbolic link"), (GITLINK, "is a submodule")):
        for path in ("workers/a/x", "contexts/a/x", "workspace.md", ".floom/issues/ISSUE-0001.md"):
            chosen = select(tree(path, mode=mode))
            assert chosen.files == ()
            assert chosen.left_out == (LeftOut(path, reason),)


def test_what_must_not_leave_is_left_out_with_its_reason() -> None:
    chosen = select(
        tree(
            "workers/a/.env", "workers/a/node_modules/x", "workers/x", "contexts/a\\b/c",
            ".floom/issues/notes.md", ".floom/issues/ISSUE-0009.comments.ndjson",
            ".floom/issues/ISSUE-0150.md", ".floom/issues/1/ISSUE-0150.md", ".floom/issues/.next",
            ".floom/quarantine/a", "README.md",
        )
    )  # fmt: skip
    assert [file.source for file in chosen.files] == [".floom/issues/1/ISSUE-0150.md"]
    assert {each.path: each.reason for each in chosen.left_out} == {
        "workers/a/.env": "may hold a secret",
        "workers/a/node_modules/x": "is a cache or a database",
        "workers/x": "is part of no worker and no context",
        "contexts/a\\b/c": "holds a backslash",
        ".floom/issues/notes.md": "is not read as an issue or its comments",
        ".floom/issues/ISSUE-0009.comments.ndjson": "is not read as an issue or its comments",
        ".floom/issues/ISSUE-0150.md": "is not read as an issue or its comments",
    }
    folder = select(tree("workspace.md/a/b"))
    assert [each.path for each in folder.left_out] == ["workspace.md/a/b"]


def test_of_names_that_differ_by_case_the_small_one_stays() -> None:
    chosen = select(
        tree("workers/a/Worker.yml", "workers/a/worker.yml", "workers/A/run.py",
             "contexts/a/\u00e9", "contexts/a/e\u0301")
    )  # fmt: skip
    assert [file.path for file in chosen.files if file.path.startswith("workers")] == [
        "workers/a/worker.yml"
    ]
    assert {each.path: each.reason for each in chosen.left_out[1:]} == {
        "workers/A/run.py": "differs from workers/a by case only",
        "workers/a/Worker.yml": "differs from workers/a/worker.yml by case only",
    }
    assert len(chosen.left_out) == 3


def test_odd_bytes_and_long_paths_are_shown_bounded() -> None:
    path = b"contexts/a/\xff" + b"/long" * 999
    (left,) = select(MemoryWorkspace({path: (FILE, b"")}).view()).left_out
    assert left.path.startswith("contexts/a/\\xff/long")
    assert len(left.path) == MAX_SHOWN


def test_the_summary_names_a_hundred_and_counts_all() -> None:
    summary = exported({b"workers/a/%d.key" % n: (FILE, b"") for n in range(150)})[1]
    assert len(summary["left_out"]) == 100
    assert summary["counts"]["left_out"] == 150


def test_a_workspace_of_many_issues_can_be_imported() -> None:
    issue = (FILE, b"---\ntitle: x\n---\n")
    numbers = range(1, 5_100)
    data, _ = exported({names.document_path(number).encode(): issue for number in numbers})
    incoming = WorkspaceImport(read_zip(data, ZipLimits()), load_manifest=load_manifest)
    assert len(incoming.preview(MemoryWorkspace({}).view()).issues) == len(numbers)


MANIFEST = b'schema_version: "0.3"\nname: %s\ntitle: x\ndescription: x\nversion: 1.0.0\n'
UNITS = [
    *(b"workers/" + name for name in (b"a", b"A", b"b-1", b"B-1", b"reload", b"Bad Name", b"\xff")),
    *(b"contexts/" + name for name in (b"x", b"X", b"bad name", b".x")),
]
NAMES = [
    *(b"worker.yml", b"Worker.yml", b"run.py", b"RUN.py", b".env", b"node_modules", b"a", b"A"),
    *("\u00e9".encode(), "e\u0301".encode(), b"\xff", b"a\\b", b"C:", b"a\nb", b"git~1"),
]
INSIDE = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2).map(b"/".join)
IN_UNITS = st.tuples(st.sampled_from(UNITS), INSIDE).map(b"/".join)
OTHERS = st.sampled_from(
    [b"workspace.md", b"workspace.md/a/b", b"workers/x", b"README.md", b"contexts"]
    + [b".floom/issues/" + folder + name
       for folder in (b"", b"1/", b"2/")
       for name in (b"ISSUE-0001.md", b"ISSUE-0150.md", b"ISSUE-0150.comments.ndjson",
                    b"ISSUE-0001.comments.ndjson", b"issue-0001.md", b"notes.md", b".next")]
)  # fmt: skip
COMMENT = b'{"id": "1", "body": "b", "created_by": "c", "created_at": "2026-01-01T00:00:00Z"}\n'
CONTENTS = {
    "nothing": b"", "text": b"text", "issue": b"---\ntitle: x\n---\n", "comment": COMMENT,
    "number": b"200\n", "bomb": bytes(1_100_000),
}  # fmt: skip
MODES = st.sampled_from([FILE, FILE, FILE, EXECUTABLE, SYMLINK, GITLINK])
TREES = st.dictionaries(
    IN_UNITS | OTHERS, st.tuples(MODES, st.sampled_from([*CONTENTS])), max_size=14
)


@settings(deadline=None, max_examples=60)
@given(drawn=TREES, are_workers_sound=st.booleans())
def test_out_and_in_gives_the_same_or_says_what_it_left_out(
    drawn: dict[bytes, tuple[int, str]], are_workers_sound: bool
) -> None:
    files = {path: (mode, CONTENTS[content]) for path, (mode, content) in drawn.items()}
    if are_workers_sound:
        sound = {unit + b"/worker.yml": (FILE, MANIFEST % unit[8:]) for unit in UNITS[:4]}
        files = {**sound, **{unit + b"/run.py": (FILE, b"") for unit in UNITS[:4]}, **files}
    here, there = MemoryWorkspace(files), MemoryWorkspace({})
    data, summary = exported(files)
    assert summary["counts"]["left_out"] <= 100

    incoming = WorkspaceImport(read_zip(data, ZipLimits()), load_manifest=load_manifest)
    report = incoming.commit(cast("Workspace", there), ANNA, {})

    told = {each["path"] for each in summary["left_out"]}
    for path, entry in files_of(here.view()):
        if shown(path) not in told and not is_skipped(path, report):
            assert content(there.view(), path) == content(here.view(), path), path
            is_issue = path.startswith(names.FOLDER)
            assert is_issue or there.view().find(path).mode == entry.mode  # type: ignore[union-attr]
    assert names.number_after(there.view()) >= names.number_after(here.view())


def files_of(view: TreeView) -> list[tuple[str, TreeEntry]]:
    """All files of parts that an export is about."""
    tops = ("workers", "contexts", "workspace.md", names.FOLDER)
    found = [each for top in tops for each in view.walk(top)]
    return [each for each in found if each[0] != names.COUNTER]


def content(view: TreeView, path: str) -> bytes | None:
    """Content of a file; issues may lie in another folder."""
    number = names.document_number(path.rpartition("/")[2])
    of_log = names.comments_number(path.rpartition("/")[2])
    if path.startswith(names.FOLDER) and (number or of_log):
        document = names.find_document(view, cast("int", number or of_log))
        if document is None:
            return None
        path = document if number else names.comments_path(document)
    return view.find_bytes(path)


def is_skipped(path: str, report: ImportReport) -> bool:
    """Whether an import's report names a file, or the worker or context that it is of."""
    top, _, below = path.partition("/")
    unit, name = below.partition("/")[0], path.rpartition("/")[2]
    kinds = {"workers": "worker", "contexts": "context"}
    about = {(kinds.get(top, ""), unit), ("file", path), ("workspace_md", path)}
    if top == ".floom":
        about = {("issue", name.removesuffix(".md")), ("comments", name)}
    return not about.isdisjoint((each.type, each.id) for each in report.skipped)


def test_the_property_would_see_a_file_that_vanished() -> None:
    report = ImportReport()
    report.skip("context", "x", "exists")
    assert is_skipped("contexts/x/a", report)
    assert not is_skipped("contexts/y/a", report)
    assert content(tree(".floom/issues/1/ISSUE-0150.md"), ".floom/issues/ISSUE-0150.md") == b""
