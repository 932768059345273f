"""Changes of a worker's folder, judged by stock git."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import Invalid
from lib.manifest.loader import load_manifest
from lib.workspace.deny_list import is_denied
from lib.workspace.errors import InvalidPath, WorkspaceConflict
from lib.workspace.git_paths import MAX_DEPTH, refusal
from lib.workspace.worker_source import (
    MAX_BYTES,
    MAX_FILES,
    CapabilityRequiresAdmin,
    Expected,
    SecretPath,
    SourceFile,
    VersionNotFound,
    WorkerConflict,
    WorkerNotFound,
    WorkerSource,
    Writer,
)
from lib.workspace.workspace import Delete, Edit, Put, Workspace
from tests.contract.threads import together
from tests.lib.workspace.place import ANNA, Place, put, write

HEAD = (
    'schema_version: "0.3"\nname: notes\ntitle: Notes\ndescription: Takes notes.\n'
    "version: 1.0.0\nentrypoint: run.py\n"
)
MANIFEST = SourceFile("worker.yml", HEAD.encode())
RUN = SourceFile("run.py", b"print(1)\n")
ADMIN = Writer(ANNA, is_admin=True)
MEMBER = Writer(ANNA, is_admin=False)
WITH_SECRET = SourceFile("worker.yml", (HEAD + "exec: {secrets: [API_KEY]}\n").encode())


@pytest.fixture
def source(workspace: Workspace) -> WorkerSource:
    return WorkerSource(workspace, load_manifest=load_manifest)


def files_of(source: WorkerSource, worker_id: str = "notes") -> list[SourceFile]:
    return sorted(source.read(worker_id).files, key=lambda file: file.path)


def pointers(error: Invalid) -> list[str]:
    return [each.pointer for each in error.errors]


def test_all_files_are_one_commit_and_nothing_else_is(
    place: Place, workspace: Workspace, source: WorkerSource
) -> None:
    before = place.in_git()

    assert source.replace("notes", [MANIFEST, RUN], writer=MEMBER)

    assert place.in_git() == {
        **before,
        "workers/notes/worker.yml": MANIFEST.data,
        "workers/notes/run.py": RUN.data,
    }
    assert place.in_git() == place.on_disk()
    assert place.git("log", "-1", "--format=%s|%an|%ae|%cn").strip() == (
        "worker: update notes|Anna|anna@example.org|Floom"
    )
    place.fsck()


def test_what_is_not_sent_is_gone(place: Place, source: WorkerSource) -> None:
    source.replace("notes", [MANIFEST, RUN, SourceFile("a/b/c.txt", b"")], writer=MEMBER)

    assert not source.replace(
        "notes", [MANIFEST, SourceFile("run.py", b"print(2)\n", True)], writer=MEMBER
    )

    assert files_of(source) == [SourceFile("run.py", b"print(2)\n", True), MANIFEST]
    assert not (place.root / "workers/notes/a").exists()
    assert "100755" in place.git("ls-tree", "main", "workers/notes/run.py")
    assert (place.root / "workers/notes/run.py").stat().st_mode & 0o100


def test_the_same_files_again_are_no_commit(place: Place, source: WorkerSource) -> None:
    source.replace("notes", [MANIFEST, RUN], writer=MEMBER)
    count = len(place.subjects())

    source.replace("notes", [RUN, MANIFEST], writer=MEMBER)
    assert len(place.subjects()) == count


@pytest.mark.parametrize(
    ("files", "pointer"),
    [
        ([RUN], "/files"),
        ([MANIFEST, RUN, SourceFile("../x", b"")], "/files/2/path"),
        ([MANIFEST, RUN, SourceFile("/x", b"")], "/files/2/path"),
        ([MANIFEST, RUN, SourceFile("a//b", b"")], "/files/2/path"),
        ([MANIFEST, RUN, SourceFile(".git/config", b"")], "/files/2/path"),
        ([MANIFEST, RUN, SourceFile("a\\b", b"")], "/files/2/path"),
        ([MANIFEST, RUN, SourceFile("a\0b", b"")], "/files/2/path"),
        ([MANIFEST, RUN, SourceFile("", b"")], "/files/2/path"),
        ([MANIFEST, RUN, RUN], "/files/2/path"),
        ([SourceFile("worker.yml", b"name: [")], "/files/0/content"),
        ([RUN, SourceFile("worker.yml", HEAD.encode() + b"nonsense: 1\n")], "/files/1/content"),
        ([MANIFEST], "/files/0/content"),  # its entry is missing
        ([MANIFEST, RUN] * (MAX_FILES // 2 + 1), "/files"),
        ([MANIFEST, SourceFile("run.py", bytes(29 * 2**20))], "/files"),
    ],
)
def test_what_does_not_hold_is_refused_by_pointer(
    place: Place, source: WorkerSource, files: Sequence[SourceFile], pointer: str
) -> None:
    before = place.subjects()

    with pytest.raises(Invalid) as refused:
        source.replace("notes", files, writer=ADMIN)

    assert pointer in pointers(refused.value)
    assert place.subjects() == before


def test_a_file_below_a_file_is_refused(source: WorkerSource) -> None:
    with pytest.raises(InvalidPath):
        source.replace(
            "notes", [MANIFEST, RUN, SourceFile("a", b""), SourceFile("a/b", b"")], writer=ADMIN
        )


@pytest.mark.parametrize("name", [".env", "x/credentials.json", "a.pem", "node_modules/x.js"])
def test_names_of_the_deny_list_are_refused(source: WorkerSource, name: str) -> None:
    with pytest.raises(SecretPath) as refused:
        source.replace("notes", [MANIFEST, RUN, SourceFile(name, b"")], writer=ADMIN)
    assert pointers(refused.value) == ["/files/2/path"]
    source.replace("notes", [MANIFEST, RUN, SourceFile(".env.example", b"")], writer=ADMIN)


def test_a_change_for_another_version_is_a_conflict(source: WorkerSource) -> None:
    with pytest.raises(WorkerConflict):
        source.replace("notes", [MANIFEST, RUN], writer=ADMIN, expected=Expected("a" * 40))
    source.replace("notes", [MANIFEST, RUN], writer=ADMIN, expected=Expected(None))
    with pytest.raises(WorkerConflict):
        source.replace("notes", [MANIFEST, RUN], writer=ADMIN, expected=Expected(None))
    sha = source.read("notes").sha
    other = SourceFile("run.py", b"print(2)\n")
    source.replace("notes", [MANIFEST, other], writer=ADMIN, expected=Expected(sha))
    with pytest.raises(WorkerConflict, match=sha):
        source.replace("notes", [MANIFEST, RUN], writer=ADMIN, expected=Expected(sha))
    assert files_of(source) == [other, MANIFEST]


def test_of_many_that_build_on_one_version_one_is_saved(place: Place, source: WorkerSource) -> None:
    source.replace("notes", [MANIFEST, RUN], writer=ADMIN)
    expected = Expected(source.read("notes").sha)

    def save(number: int) -> bool:
        files = [MANIFEST, SourceFile("run.py", b"print(%d)\n" % (number + 2))]
        try:
            source.replace("notes", files, writer=ADMIN, expected=expected)
        except WorkerConflict:
            return False
        return True

    assert together(save).count(True) == 1
    assert len(place.git("log", "--format=%s", "main", "--", "workers/notes").splitlines()) == 2


def test_an_unreloaded_edit_is_never_written_over(place: Place, source: WorkerSource) -> None:
    source.replace("notes", [MANIFEST, RUN, SourceFile("b.txt", b"")], writer=ADMIN)
    for name in ("run.py", "b.txt"):
        write(place.root / "workers/notes" / name, b"an edit\n")

    for attempt in (
        lambda: source.replace("notes", [MANIFEST, SourceFile("run.py", b"2")], writer=ADMIN),
        lambda: source.delete("notes", writer=ADMIN),
    ):
        with pytest.raises(WorkspaceConflict, match=r"workers/notes/b\.txt, workers/notes/run\.py"):
            attempt()
    assert place.on_disk()["workers/notes/run.py"] == b"an edit\n"
    assert place.in_git()["workers/notes/run.py"] == RUN.data


class TestCapabilities:
    def test_a_member_changes_what_reaches_for_nothing(self, source: WorkerSource) -> None:
        source.replace("notes", [MANIFEST, RUN], writer=MEMBER)
        source.delete("notes", writer=MEMBER)

    def test_a_member_can_neither_add_nor_use_nor_drop_a_reach(
        self, place: Place, workspace: Workspace, source: WorkerSource
    ) -> None:
        source.replace("notes", [MANIFEST, RUN], writer=MEMBER)
        plain = workspace.tip()
        assert plain is not None
        with pytest.raises(CapabilityRequiresAdmin, match=r"exec\.secrets"):
            source.replace("notes", [WITH_SECRET, RUN], writer=MEMBER)
        source.replace("notes", [WITH_SECRET, RUN], writer=ADMIN)
        tip = place.subjects()

        for files in ([MANIFEST, RUN], [WITH_SECRET, SourceFile("run.py", b"leak()\n")]):
            with pytest.raises(CapabilityRequiresAdmin):
                source.replace("notes", files, writer=MEMBER)
        with pytest.raises(CapabilityRequiresAdmin):
            source.delete("notes", writer=MEMBER)
        with pytest.raises(CapabilityRequiresAdmin):
            source.roll_back("notes", plain, writer=MEMBER)
        assert place.subjects() == tip

    def test_a_member_cannot_go_back_to_a_reach(
        self, workspace: Workspace, source: WorkerSource
    ) -> None:
        source.replace("notes", [WITH_SECRET, RUN], writer=ADMIN)
        reaching = workspace.tip()
        assert reaching is not None
        source.delete("notes", writer=ADMIN)

        with pytest.raises(CapabilityRequiresAdmin):
            source.roll_back("notes", reaching, writer=MEMBER)


class TestRollback:
    def test_it_is_exactly_the_former_tree(
        self, place: Place, workspace: Workspace, source: WorkerSource
    ) -> None:
        source.replace("notes", [MANIFEST, RUN], writer=MEMBER)
        first, sha = workspace.tip(), source.read("notes").sha
        assert first is not None
        source.replace(
            "notes", [MANIFEST, SourceFile("run.py", b"2"), SourceFile("new", b"")], writer=MEMBER
        )

        source.roll_back("notes", first, writer=MEMBER)

        assert source.read("notes").sha == sha
        assert place.in_git() == place.on_disk()
        assert place.subjects()[0] == f"worker: roll back notes to {first[:7]}"
        count = len(place.subjects())
        source.roll_back("notes", first, writer=MEMBER)
        assert len(place.subjects()) == count
        place.fsck()

    def test_it_brings_a_deleted_worker_back(
        self, place: Place, workspace: Workspace, source: WorkerSource
    ) -> None:
        source.replace("notes", [MANIFEST, RUN], writer=MEMBER)
        first = workspace.tip()
        assert first is not None
        source.delete("notes", writer=MEMBER)
        deleted = workspace.tip()
        assert deleted is not None
        with pytest.raises(VersionNotFound):
            source.roll_back("notes", deleted, writer=MEMBER)

        source.roll_back("notes", first, writer=MEMBER)
        assert files_of(source) == [RUN, MANIFEST]

    def test_unknown_commits_and_other_objects_are_not_found(
        self, workspace: Workspace, source: WorkerSource
    ) -> None:
        tree = workspace.view().id
        for commit in ("a" * 40, tree):
            with pytest.raises(VersionNotFound):
                source.roll_back("hello", commit, writer=ADMIN)

    def test_a_version_with_a_denied_name_is_refused(
        self, place: Place, workspace: Workspace, source: WorkerSource
    ) -> None:
        pushed = place.push_commit("workers/hello/.env", b"TOKEN=1\n")
        workspace.refresh()
        with pytest.raises(SecretPath):
            source.roll_back("hello", pushed, writer=ADMIN)

    def test_a_deleted_worker_that_was_in_quarantine_is_in_it_again(
        self, place: Place, workspace: Workspace, source: WorkerSource
    ) -> None:
        imported = put(workspace, Put(".floom/quarantine/hello", b"")).commit or ""
        source.delete("hello", writer=ADMIN)
        source.roll_back("hello", imported, writer=MEMBER)
        assert ".floom/quarantine/hello" in place.in_git()

    def test_a_worker_that_was_let_out_of_quarantine_stays_out(
        self, place: Place, workspace: Workspace, source: WorkerSource
    ) -> None:
        imported = put(workspace, Put(".floom/quarantine/hello", b"")).commit or ""
        changed: list[Edit] = [Delete(".floom/quarantine/hello"), Put("workers/hello/a", b"")]
        workspace.commit(lambda _: changed, "let out", ANNA)
        source.roll_back("hello", imported, writer=MEMBER)
        assert ".floom/quarantine/hello" not in place.in_git()


class TestDelete:
    def test_the_folder_and_its_quarantine_go_in_one_commit(
        self, place: Place, workspace: Workspace, source: WorkerSource
    ) -> None:
        put(workspace, Put(".floom/quarantine/hello", b""))
        before = len(place.subjects())

        source.delete("hello", writer=ADMIN)

        assert place.subjects()[0] == "worker: delete hello"
        assert len(place.subjects()) == before + 1
        assert [path for path in place.in_git() if "hello" in path] == []
        assert not (place.root / "workers/hello").exists()

    def test_an_unknown_worker_is_not_found(self, source: WorkerSource) -> None:
        with pytest.raises(WorkerNotFound):
            source.delete("none", writer=ADMIN)
        with pytest.raises(WorkerNotFound):
            source.read("none")


def test_what_was_pushed_may_be_too_large_to_be_read(
    workspace: Workspace, source: WorkerSource
) -> None:
    put(workspace, Put("workers/hello/data", bytes(MAX_BYTES)))
    with pytest.raises(WorkerConflict, match="28 MiB"):
        source.read("hello")


def test_links_are_named_and_not_followed(place: Place, source: WorkerSource) -> None:
    clone = place.clone()
    (clone / "workers/hello/link").symlink_to("/etc/passwd")
    place.git("add", "-A", cwd=clone)
    place.git("commit", "-qm", "link", cwd=clone)
    place.git("push", "-q", "origin", "HEAD:main", cwd=clone)

    read = source.read("hello")
    assert read.others == ("link",)
    assert [file.path for file in read.files] == ["run.py", "worker.yml"]


SEGMENT = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\0", exclude_categories=["Cs", "Cc"]),
    min_size=1,
    max_size=12,
).filter(lambda name: refusal(name) is None and is_denied(name) is None)
DEEPEST = MAX_DEPTH - len(("workers", "notes"))  # folders inside the worker's own
PATH = st.one_of(
    st.lists(SEGMENT, min_size=1, max_size=6).map("/".join),
    st.builds(lambda depth, name: "d/" * depth + name, st.integers(7, DEEPEST), SEGMENT),
)
CONTENT = st.one_of(st.just(b""), st.binary(max_size=60), st.just(bytes(range(256))))
FILES = st.dictionaries(PATH, st.tuples(CONTENT, st.booleans()), max_size=5)


def is_clashing(paths: Sequence[str]) -> bool:
    return any(other.startswith(path + "/") for path in paths for other in paths)


@settings(max_examples=25, deadline=None)
@given(versions=st.lists(FILES, min_size=1, max_size=4), back_to=st.integers(0, 3))
def test_any_files_survive_put_rollback_and_get(
    tmp_path_factory: pytest.TempPathFactory,
    versions: list[dict[str, tuple[bytes, bool]]],
    back_to: int,
) -> None:
    base = tmp_path_factory.mktemp("source")
    place = Place(base)
    place.make_seed()
    workspace = place.open()
    source = WorkerSource(workspace, load_manifest=load_manifest)
    written = []
    for version in versions:
        own = {path: given for path, given in version.items() if path != "run.py"}
        files = [
            MANIFEST,
            RUN,
            *(SourceFile(path, data, mode) for path, (data, mode) in own.items()),
        ]
        paths = [file.path for file in files]
        if is_clashing(paths) or len({*paths}) < len(paths):
            continue
        source.replace("notes", files, writer=MEMBER)
        written.append((workspace.tip(), sorted(files, key=lambda file: file.path)))
    for commit, files in written[back_to:] + written[:1]:
        assert commit is not None
        source.roll_back("notes", commit, writer=MEMBER)
        assert files_of(source) == files
    assert place.in_git() == place.on_disk()
    place.fsck()
    workspace.close()
    shutil.rmtree(base)
