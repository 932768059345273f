from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.workspace.deny_list import gitignore
from lib.workspace.errors import ObjectNotFound, WorkspaceUnavailable
from lib.workspace.git_paths import refusal
from lib.workspace.seed import is_seed
from lib.workspace.tree_objects import EXECUTABLE
from lib.workspace.workspace import Author, Delete, Put, Workspace
from tests.lib.workspace.place import ANNA, Place, put, write


def test_a_new_workspace_holds_the_shipped_workers(place: Place, workspace: Workspace) -> None:
    assert place.on_disk() == {
        ".gitignore": gitignore(),
        "workers/hello/run.py": b"print('hello')\n",
        "workers/hello/worker.yml": b"name: hello\n",
    }
    assert place.in_git() == place.on_disk()
    assert place.git("config", "core.bare").strip() == "true"
    assert place.git("symbolic-ref", "HEAD").strip() == "refs/heads/main"
    place.fsck()


def test_the_seed_is_the_same_commit_everywhere(tmp_path: Path) -> None:
    tips = set()
    for name in ("one", "two"):
        place = Place(tmp_path / name)
        place.base.mkdir()
        place.make_seed()
        write(place.seed / "hello/.env", b"KEY=1")
        workspace = place.open()
        tips.add(workspace.tip())
        assert "workers/hello/.env" not in place.in_git()
        assert is_seed(workspace.commit_info(workspace.tip() or ""))
        workspace.close()
    assert len(tips) == 1
    assert b"floom-txn" not in subprocess.check_output(
        ["git", "-C", str(place.root), "cat-file", "-p", "main"]
    )


def test_opening_again_changes_nothing(place: Place) -> None:
    first = place.open()
    tip = first.tip()
    first.close()
    first.close()
    second = place.open()
    assert second.tip() == tip
    second.close()


def test_workers_that_were_there_first_are_kept_and_not_mixed_with_shipped(place: Place) -> None:
    write(place.root / "workers/own/worker.yml", b"name: own\n")
    workspace = place.open()
    assert set(place.in_git()) == {".gitignore", "workers/own/worker.yml"}
    workspace.close()


def test_an_empty_repository_that_was_given_is_seeded(place: Place) -> None:
    place.root.mkdir()
    place.git("init", "-q")
    place.git("config", "core.bare", "true")
    workspace = place.open()
    assert "workers/hello/run.py" in place.in_git()
    workspace.close()


def test_a_repository_with_history_is_taken_as_it_is(place: Place) -> None:
    place.root.mkdir()
    place.git("init", "-q")
    write(place.root / "workers/own/worker.yml", b"name: own\n")
    place.git("add", ".")
    place.git("commit", "-qm", "mine")
    place.git("config", "core.bare", "true")
    place.git("gc", "-q")
    workspace = place.open()
    assert place.subjects() == ["mine"]
    put(workspace, ("workers/own/run.py", b"1"))
    assert set(place.in_git()) == {"workers/own/worker.yml", "workers/own/run.py"}
    place.fsck()
    workspace.close()


def test_a_repository_that_is_not_bare_is_refused_with_the_line_that_helps(place: Place) -> None:
    place.root.mkdir()
    place.git("init", "-q")
    with pytest.raises(WorkspaceUnavailable) as refused:
        place.open()
    command = refused.value.detail.split(": ", 1)[1]
    subprocess.run(command, shell=True, check=True)  # noqa: S602
    place.open().close()


def test_a_repository_without_main_is_refused(place: Place) -> None:
    place.root.mkdir()
    place.git("init", "-q", "-b", "trunk")
    place.git("commit", "-q", "--allow-empty", "-m", "x")
    place.git("config", "core.bare", "true")
    with pytest.raises(WorkspaceUnavailable, match="no main"):
        place.open()


def test_a_worktree_or_submodule_is_refused(place: Place) -> None:
    write(place.root / ".git", b"gitdir: /elsewhere\n")
    with pytest.raises(WorkspaceUnavailable, match="worktree or submodule"):
        place.open()


def test_the_engines_own_checkout_is_refused_but_not_a_folder_in_it(place: Place) -> None:
    for name in ("pyproject.toml", "local_server.py", "lib/x", "handlers/x"):
        write(place.root / name, b"")
    with pytest.raises(WorkspaceUnavailable, match="WORKEROS_WORKSPACE_DIR"):
        place.open()
    with pytest.raises(WorkspaceUnavailable, match="WORKEROS_WORKSPACE_DIR"):
        Workspace.open(
            place.engine, state_dir=place.state, engine_root=place.engine, seed=None,
            clock=None,  # type: ignore[arg-type]
        )  # fmt: skip
    inside = Place(place.root / "var")
    inside.base.mkdir()
    inside.make_seed()
    inside.open().close()
    assert not (place.root / ".git").exists()


def test_a_repository_above_is_never_found(place: Place) -> None:
    place.git("init", "-q", cwd=place.base)
    workspace = place.open()
    assert (place.root / ".git/HEAD").exists()
    assert place.git("rev-parse", "--git-dir").strip() == ".git"
    workspace.close()


def test_stock_git_clones_logs_and_shows(place: Place, workspace: Workspace) -> None:
    workspace.commit(
        lambda _: [Put("workspace.md", b"be kind\n")],
        "workspace: update",
        ANNA,
        trailers={"Floom-Request": "ab"},
    )
    clone = place.clone()
    assert (clone / "workspace.md").read_bytes() == b"be kind\n"
    log = place.git("log", "-1", "--format=%an|%ae|%cn|%ce|%s|%(trailers:key=Floom-Request)")
    assert log.strip() == (
        "Anna|anna@example.org|Floom|floom@local|workspace: update|Floom-Request: ab"
    )
    assert place.show("workspace.md") == b"be kind\n"


def test_add_and_commit_in_the_folder_refuse(place: Place, workspace: Workspace) -> None:
    assert "work tree" in place.git_fails("add", ".")


def test_a_pushed_commit_between_two_of_ours_is_kept(place: Place, workspace: Workspace) -> None:
    put(workspace, ("workers/a/worker.yml", b"1"))
    pushed = place.push_commit("workers/b/worker.yml", b"by hand")
    assert workspace.tip() == pushed
    put(workspace, ("workers/c/worker.yml", b"3"))
    assert place.subjects()[:3] == [
        "worker: update x",
        "by hand: workers/b/worker.yml",
        "worker: update x",
    ]
    assert place.on_disk() == place.in_git()
    place.fsck()


def test_a_pushed_commit_reaches_the_folder_at_the_next_refresh(
    place: Place, workspace: Workspace
) -> None:
    clone = place.clone()
    (clone / "workers/hello/run.py").chmod(0o755)
    place.push_commit("workers/hello/run.py", b"pushed", clone=clone)
    assert place.on_disk()["workers/hello/run.py"] == b"print('hello')\n"
    workspace.refresh()
    assert place.on_disk() == place.in_git()
    assert os.access(place.root / "workers/hello/run.py", os.X_OK)


def test_history_cannot_be_pushed_away(place: Place, workspace: Workspace) -> None:
    put(workspace, ("workspace.md", b"1"))
    clone = place.clone()
    place.git("reset", "-q", "--hard", "HEAD~1", cwd=clone)
    assert "non-fast-forward" in place.git_fails("push", "-f", "origin", "main", cwd=clone)
    assert "deletion" in place.git_fails("push", "origin", ":main", cwd=clone)


def test_git_gc_in_the_repository_is_survived(place: Place, workspace: Workspace) -> None:
    for number in range(5):
        put(workspace, (f"contexts/a/{number}", b"%d" % number))
    place.git("gc", "-q", "--prune=now")
    place.git("pack-refs", "--all")
    assert workspace.view().read("contexts/a/3") == b"3"
    put(workspace, ("contexts/a/6", b"6"))
    place.fsck()


NAME = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/\\"),
    min_size=1,
    max_size=20,
)
CONTENT = st.binary(max_size=2_000) | st.just(b"") | st.binary(min_size=5_000, max_size=9_000)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(NAME, st.lists(NAME, max_size=6), CONTENT, st.booleans()), max_size=6))
def test_exact_bytes_in_and_out_under_any_name(
    place: Place, workspace: Workspace, files: list[tuple[str, list[str], bytes, bool]]
) -> None:
    edits = [
        Put(
            "/".join(["contexts", "all", *folders, f"{index}-{name}"]),
            data,
            0o100755 if x else 0o100644,
        )
        for index, (name, folders, data, x) in enumerate(files)
    ]
    edits = [edit for edit in edits if refusal(edit.path) is None]
    result = workspace.commit(lambda _: [Delete("contexts"), *edits], "any", ANNA)
    tree = workspace.tree(result.tree)
    for edit in edits:
        entry = tree.find(edit.path)
        assert entry is not None
        assert (tree.read(edit.path), entry.mode) == (edit.data, edit.mode)
        file = place.root / edit.path
        assert file.read_bytes() == edit.data
        assert os.access(file, os.X_OK) == (edit.mode == EXECUTABLE)


def test_git_reads_what_was_written_under_odd_names(place: Place, workspace: Workspace) -> None:
    files = {
        "contexts/a/日本語 ä.txt": bytes(range(256)) * 40,
        "contexts/a/empty": b"",
        "contexts/" + "/".join("abcdefghij" * 4): b"deep",
        "contexts/a/crlf": b"a\r\nb\n",
        'contexts/a/"quoted" $(x)': b"q",
    }
    put(workspace, *files.items())
    assert files.items() <= place.in_git().items()
    clone = place.clone()
    assert all((clone / path).read_bytes() == data for path, data in files.items())
    place.fsck()


def test_bundles_hold_exact_files_and_links_with_their_modes(
    place: Place, workspace: Workspace
) -> None:
    clone = place.clone()
    (clone / "workers/hello/link").symlink_to("/etc/passwd")
    place.push_commit("workers/hello/extra.bin", b"\0\xff", clone=clone)
    place.git("add", "-A", cwd=clone)
    place.git("commit", "-qm", "link", cwd=clone)
    place.git("push", "-q", "origin", "main", cwd=clone)
    workspace.refresh()
    sha = workspace.view().tree_id("workers/hello") or ""
    assert {file.path: (file.mode, file.data) for file in workspace.bundle(sha)} == {
        "extra.bin": (0o100644, b"\0\xff"),
        "link": (0o120000, b"/etc/passwd"),
        "run.py": (0o100644, b"print('hello')\n"),
        "worker.yml": (0o100644, b"name: hello\n"),
    }
    assert workspace.bundle(sha) is workspace.bundle(sha)
    sizes = {entry.path: entry.size for entry in workspace.list_files(sha)}
    assert sizes == {"extra.bin": 2, "link": 11, "run.py": 15, "worker.yml": 12}
    assert not (place.root / "workers/hello/link").is_symlink()


def test_an_unknown_tree_is_not_found(workspace: Workspace) -> None:
    for sha in ("1" * 40, "x", "", "../../etc"):
        with pytest.raises(ObjectNotFound):
            workspace.bundle(sha)


def test_history_is_newest_first(workspace: Workspace) -> None:
    put(workspace, ("workspace.md", b"1"))
    put(workspace, ("workspace.md", b"2"))
    messages = [info.message for _, info in workspace.history()]
    assert messages == ["worker: update x\n", "worker: update x\n", "workspace: seed\n"]


def test_a_closed_workspace_says_so(place: Place) -> None:
    workspace = place.open()
    workspace.close()
    with pytest.raises(WorkspaceUnavailable, match="closed"):
        put(workspace, ("workspace.md", b"1"))


def test_a_damaged_branch_is_reported_and_not_taken_for_empty(place: Place) -> None:
    place.open().close()
    (place.root / ".git/refs/heads/main").write_text("")
    with pytest.raises(WorkspaceUnavailable, match="no commit id"):
        place.open()
    (place.root / ".git/refs/heads/main").write_text("1" * 40 + "\n")
    with pytest.raises(WorkspaceUnavailable, match="fsck"):
        place.open()


def test_the_author_is_the_callers(place: Place, workspace: Workspace) -> None:
    workspace.commit(lambda _: [Put("workspace.md", b"x")], "a", Author("Zoë", "zoe@example.org"))
    assert place.git("log", "-1", "--format=%an <%ae>").strip() == "Zoë <zoe@example.org>"
