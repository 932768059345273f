"""A workspace and its remote, over each way that git can go."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.clock import ManualClock
from lib.git_address import parse_address
from lib.workspace import pack_merge
from lib.workspace.errors import WorkspaceUnavailable
from lib.workspace.remote.git_command import GitCommand, RemoteFailed
from lib.workspace.remote.memory import Known, Memory
from lib.workspace.remote.origin import RemoteOrigin
from lib.workspace.remote.remote_sync import RemoteState, RemoteSync, Unrelated
from lib.workspace.repository import Repository
from lib.workspace.workspace import Workspace
from tests.lib.workspace.place import Place, put, wait_for, write
from tests.lib.workspace.remote import servers

VARIABLES = {"PATH": os.defpath + ":/usr/local/bin", "HOME": "/nonexistent"}
BRANCH = "floom/default"


@dataclass
class Pair:
    """A workspace on its way, the remote's folder, and a person's clone of it."""

    place: Place
    folder: Path
    address: str
    exit: ExitStack

    def git(self) -> GitCommand:
        git_dir = self.place.root / ".git"
        return GitCommand(
            git_dir, parse_address(self.address), variables=VARIABLES, timeout_seconds=30
        )

    def memory(self) -> Memory:
        path = self.place.root / ".git/floom/remote.json"
        return Memory(path, parse_address(self.address).url)

    def open(self) -> Workspace:
        workspace = Workspace.open(
            self.place.root,
            state_dir=self.place.state,
            engine_root=self.place.engine,
            seed=self.place.seed,
            clock=ManualClock(),
            origin=RemoteOrigin(self.git(), self.memory()),
        )
        self.exit.callback(self.place.fsck)
        self.exit.callback(workspace.close)
        return workspace

    def sync(self, workspace: Workspace, *, poll_seconds: float = 3600) -> RemoteSync:
        sync = RemoteSync(
            workspace=workspace,
            git=self.git(),
            memory=self.memory(),
            branch=BRANCH,
            clock=ManualClock(),
            poll_seconds=poll_seconds,
        )
        self.exit.callback(sync.close)
        return sync

    def head(self, branch: str = "main") -> str:
        return self.place.git("rev-parse", branch, cwd=self.folder).strip()

    def person(self) -> Path:
        """Clone the remote as a person would."""
        target = self.place.base / f"person-{len([*self.place.base.iterdir()])}"
        self.place.git("clone", "-q", str(self.folder), str(target), cwd=self.place.base)
        return target

    def commit(self, clone: Path, name: str, text: str = "x") -> str:
        write(clone / f"contexts/{name}/x.md", text.encode())
        self.place.git("add", "-A", cwd=clone)
        self.place.git("commit", "-qm", f"by hand: {name}", cwd=clone)
        self.place.git("push", "-q", "origin", "HEAD:main", cwd=clone)
        return self.place.git("rev-parse", "HEAD", cwd=clone).strip()


@pytest.fixture(params=["file", "daemon", "http"])
def pair(request: pytest.FixtureRequest, place: Place) -> Iterator[Pair]:
    base = place.base / "served"
    base.mkdir()
    folder = servers.bare(base / "ws.git")
    with ExitStack() as held, ExitStack() as opened:
        match request.param:
            case "file":
                address = f"file://{base}"
            case "daemon":
                address = held.enter_context(servers.daemon(base))
            case _:
                address = held.enter_context(servers.http_backend(base))
        yield Pair(place, folder, f"{address}/ws.git", opened)


@pytest.fixture
def files(place: Place) -> Iterator[Pair]:
    """The same over a folder, for what does not depend on the way."""
    folder = servers.bare(place.base / "ws.git")
    with ExitStack() as opened:
        yield Pair(place, folder, f"file://{folder}", opened)


def test_an_empty_remote_gets_the_seed_and_every_commit(pair: Pair) -> None:
    workspace = pair.open()
    sync = pair.sync(workspace)
    sync.start()
    wait_for(lambda: sync.state().last_pushed_at)
    assert pair.head() == workspace.tip()

    for number in range(3):
        put(workspace, ("contexts/a/n", b"%d" % number))
    wait_for(lambda: pair.head() == workspace.tip())
    wait_for(lambda: sync.state().ahead == 0)
    state = sync.state()
    assert (state.last_error, state.diverged_branch) == (None, None)
    assert servers.PASSWORD not in repr(state)


def test_a_new_workspace_begins_with_what_the_remote_holds(pair: Pair) -> None:
    first = pair.open()
    put(first, ("contexts/a/x", b"1"))
    sync = pair.sync(first)
    sync.step()
    pushed = pair.head()
    pair.exit.close()
    pair.place = Place(pair.place.base / "second")
    pair.place.base.mkdir()
    pair.place.make_seed()
    (pair.place.seed / "hello/run.py").write_text("print('another seed')\n")

    second = pair.open()

    assert second.tip() == pushed
    assert pair.place.on_disk() == pair.place.in_git()
    assert pair.place.on_disk()["workers/hello/run.py"] == b"print('hello')\n"


def test_what_a_person_pushes_there_is_followed(pair: Pair) -> None:
    workspace = pair.open()
    sync = pair.sync(workspace)
    sync.step()

    pushed = pair.commit(pair.person(), "theirs")
    sync.step()

    assert workspace.tip() == pushed
    assert pair.place.on_disk() == pair.place.in_git()
    assert sync.state().ahead == 0
    put(workspace, ("contexts/a/x", b"1"))
    sync.step()
    assert pair.head() == workspace.tip()


def test_both_sides_went_on_and_a_person_merges(pair: Pair) -> None:
    workspace = pair.open()
    sync = pair.sync(workspace)
    sync.step()
    clone = pair.person()
    theirs = pair.commit(clone, "theirs")
    ours = put(workspace, ("contexts/ours/x", b"1")).commit

    sync.step()

    assert (pair.head(), pair.head(BRANCH), workspace.tip()) == (theirs, ours, ours)
    assert (sync.state().diverged_branch, sync.state().ahead) == (BRANCH, 1)
    put(workspace, ("contexts/ours/x", b"2"))
    sync.step()
    assert pair.head(BRANCH) == workspace.tip()

    pair.place.git("fetch", "-q", "origin", cwd=clone)
    pair.place.git("merge", "-q", "-m", "merge", f"origin/{BRANCH}", cwd=clone)
    pair.place.git("push", "-q", "origin", "HEAD:main", cwd=clone)
    sync.step()

    assert workspace.tip() == pair.head()
    assert sync.state().diverged_branch is None
    assert {"contexts/ours/x", "contexts/theirs/x.md"} <= pair.place.on_disk().keys()


def test_a_remote_that_was_rewound_by_force_changes_nothing_here(files: Pair) -> None:
    workspace = files.open()
    sync = files.sync(workspace)
    sync.step()
    clone = files.person()
    files.commit(clone, "one")
    sync.step()
    ours = workspace.tip()
    files.place.git("commit", "-q", "--amend", "-m", "rewritten", cwd=clone)
    files.place.git("push", "-qf", "origin", "HEAD:main", cwd=clone)

    sync.step()

    assert workspace.tip() == ours
    assert files.head(BRANCH) == ours
    assert sync.state().diverged_branch == BRANCH


def test_another_history_is_refused(files: Pair) -> None:
    other = Place(files.place.base / "other")
    other.base.mkdir()
    other.make_seed()
    (other.seed / "hello/run.py").write_text("print('another')\n")
    workspace = other.open()
    put(workspace, ("contexts/a/x", b"1"))
    other.git("push", "-q", str(files.folder), "main")
    workspace.close()
    mine = files.place.open()
    put(mine, ("contexts/mine/x", b"1"))
    before = files.head()
    with pytest.raises(Unrelated, match="another history"):
        files.sync(mine).step()
    assert files.head() == before
    mine.close()


def test_a_fresh_start_needs_the_remote(files: Pair) -> None:
    files.address = f"file://{files.place.base}/none.git"
    with pytest.raises(WorkspaceUnavailable, match="WORKEROS_GIT_REMOTE cannot be read"):
        files.open()
    servers.bare(files.place.base / "none.git")
    workspace = files.open()
    assert files.place.subjects() == ["workspace: seed"]
    assert workspace.tip()


def test_a_remote_that_is_down_holds_nothing_up_and_is_caught_up_with(files: Pair) -> None:
    workspace = files.open()
    sync = files.sync(workspace)
    sync.step()
    away = files.folder.rename(files.folder.with_name("away.git"))
    sync.start()
    put(workspace, ("contexts/a/x", b"1"))
    wait_for(lambda: sync.state().last_error)
    put(workspace, ("contexts/a/x", b"2"))
    assert not files.folder.exists()

    away.rename(files.folder)
    wait_for(lambda: files.head() == workspace.tip())
    wait_for(lambda: sync.state().last_error is None)


def test_a_push_that_is_refused_is_told(files: Pair) -> None:
    hook = files.folder / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'the branch is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    workspace = files.open()
    with pytest.raises(RemoteFailed, match="the branch is protected"):
        files.sync(workspace).step()


def test_a_wrong_password_is_told_and_not_shown(pair: Pair) -> None:
    if not pair.address.startswith("http"):
        return
    pair.address = pair.address.replace(servers.PASSWORD, "wrong-" + servers.PASSWORD)
    with pytest.raises(RemoteFailed) as failed:
        pair.git().list_heads()
    assert servers.PASSWORD not in str(failed.value)
    assert "127.0.0.1" in str(failed.value)


def test_a_stop_does_not_wait_for_a_remote_that_hangs(files: Pair) -> None:
    workspace = files.open()
    with servers.silent() as address:
        files.address = f"{address}/ws.git"
        sync = files.sync(workspace)
        sync.start()
        closed = threading.Thread(target=sync.close)
        closed.start()
        closed.join(servers.DEADLINE_SECONDS)
        assert not closed.is_alive()
        assert not any(thread.name == "git-remote" for thread in threading.enumerate())


def test_a_hostile_object_is_not_taken(files: Pair) -> None:
    """What a push to us would be refused for: here a tree with a file named .git."""
    workspace = files.open()
    sync = files.sync(workspace)
    sync.step()
    clone = files.person()
    blob = files.place.git("hash-object", "-w", "workers/hello/run.py", cwd=clone).strip()
    path = str(hostile_tree(clone, blob))
    made = files.place.git("hash-object", "-t", "tree", "--literally", "-w", path, cwd=clone)
    commit = files.place.git(
        "commit-tree", "-p", "HEAD", "-m", "x", made.strip(), cwd=clone
    ).strip()
    files.place.git("push", "-q", "origin", f"{commit}:main", cwd=clone)
    before = workspace.tip()

    with pytest.raises(RemoteFailed):
        sync.step()
    assert workspace.tip() == before


def hostile_tree(clone: Path, blob: str) -> Path:
    path = clone.parent / "hostile-tree"
    path.write_bytes(b"100644 .git\0" + bytes.fromhex(blob))
    return path


def test_the_state_has_no_secret() -> None:
    assert "p" * 9 not in repr(RemoteState(parse_address(f"https://a:{'p' * 9}@x.org/y").url))


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_no_list_of_processes_shows_credentials(files: Pair) -> None:
    """Git gives its helper for https the URL as an argument: it must hold none."""
    workspace = files.open()
    with servers.silent() as address:
        host = address.removeprefix("git://")
        files.address = f"http://{servers.USER}:{servers.PASSWORD}@{host}/ws.git"
        sync = files.sync(workspace)
        sync.start()
        wait_for(
            lambda: any("git-remote-http" in each and host in each for each in command_lines())
        )
        shown = [each for each in command_lines() if host in each]
        sync.close()
    assert shown
    assert not any(servers.PASSWORD in each for each in shown)


def test_a_remote_without_main_is_not_taken_for_an_empty_one(files: Pair) -> None:
    other = files.place.base / "master"
    files.place.git("init", "-q", "-b", "master", str(other), cwd=files.place.base)
    write(other / "a", b"1")
    files.place.git("add", "a", cwd=other)
    files.place.git("commit", "-qm", "theirs", cwd=other)
    files.place.git("push", "-q", str(files.folder), "master", cwd=other)
    with pytest.raises(WorkspaceUnavailable, match=r"branches \(master\), but no main"):
        files.open()
    assert files.place.git("for-each-ref") == ""


def test_a_remote_that_was_shortened_by_force_is_not_written_over(files: Pair) -> None:
    """Somebody took commits away there, perhaps for a reason: they are not brought back."""
    workspace = files.open()
    sync = files.sync(workspace)
    sync.step()
    put(workspace, ("contexts/a/x", b"1"))
    sync.step()
    clone = files.person()
    files.place.git("reset", "-q", "--hard", "HEAD~1", cwd=clone)
    files.place.git("push", "-qf", "origin", "HEAD:main", cwd=clone)
    shortened = files.head()

    for _ in range(2):
        sync.step()
        assert (files.head(), files.head(BRANCH)) == (shortened, workspace.tip())
        assert sync.state().diverged_branch == BRANCH
    put(workspace, ("contexts/a/x", b"2"))
    sync.step()
    assert (files.head(), files.head(BRANCH)) == (shortened, workspace.tip())

    files.place.git("fetch", "-q", "origin", cwd=clone)
    files.place.git("merge", "-q", "--ff-only", f"origin/{BRANCH}", cwd=clone)
    files.place.git("push", "-q", "origin", "HEAD:main", cwd=clone)
    sync.step()
    assert sync.state().diverged_branch is None
    put(workspace, ("contexts/a/x", b"3"))
    sync.step()
    assert files.head() == workspace.tip()


def test_another_remote_is_a_fresh_start_for_a_seed(files: Pair) -> None:
    """What is known of the remote before says nothing about the one that is set now."""
    first = files.open()
    files.sync(first).step()
    first.close()
    files.folder = servers.bare(files.place.base / "other.git")
    files.address = f"file://{files.folder}"
    theirs = files.commit(filler(files), "theirs")
    assert files.open().tip() == theirs


def test_a_first_start_that_was_cut_short_after_the_fetch_begins_again(files: Pair) -> None:
    theirs = files.commit(filler(files), "theirs")
    repository = Repository.open(files.place.root, engine_root=files.place.engine)
    assert RemoteOrigin(files.git(), files.memory()).find(None) == theirs
    repository.close()
    assert files.open().tip() == theirs


def filler(pair: Pair) -> Path:
    """A clone of the remote while that is still empty."""
    clone = pair.place.base / "filler"
    pair.place.git("clone", "-q", str(pair.folder), str(clone), cwd=pair.place.base)
    return clone


def test_runs_of_the_seed_keep_their_tree_when_the_remote_is_taken_over(files: Pair) -> None:
    alone = files.place.open()
    seed = alone.tip()
    alone.close()
    files.commit(filler(files), "theirs")
    workspace = files.open()
    assert workspace.tip() == files.head()
    files.place.git("gc", "-q", "--prune=now")
    assert files.place.git("cat-file", "-t", f"{seed}:workers/hello").strip() == "tree"


def test_commits_that_wait_are_counted_while_the_remote_is_down(files: Pair) -> None:
    workspace = files.open()
    sync = files.sync(workspace)
    sync.step()
    files.folder.rename(files.folder.with_name("away.git"))
    for number in range(3):
        put(workspace, ("contexts/a/x", b"%d" % number))
    sync.start()
    wait_for(lambda: sync.state().last_error)
    assert sync.state().ahead == 3


def test_nothing_is_pushed_again_while_both_sides_stand(files: Pair) -> None:
    workspace = files.open()
    clock = ManualClock()
    sync = RemoteSync(
        workspace=workspace, git=files.git(), memory=files.memory(), branch=BRANCH, clock=clock
    )
    sync.step()
    files.commit(files.person(), "theirs")
    put(workspace, ("contexts/ours/x", b"1"))
    sync.step()
    pushed = sync.state().last_pushed_at
    assert pushed is not None
    clock.advance(minutes=1)
    sync.step()
    assert sync.state().last_pushed_at == pushed


def test_a_lock_that_a_killed_git_left_does_not_stop_the_fetching(files: Pair) -> None:
    workspace = files.open()
    sync = files.sync(workspace)
    sync.step()
    lock = files.place.root / ".git/refs/floom/remote/main.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    os.utime(lock, (0, 0))
    pushed = files.commit(files.person(), "theirs")
    sync.step()
    assert workspace.tip() == pushed


def test_what_the_remote_says_is_read_to_a_limit(files: Pair) -> None:
    files.open()
    hook = files.folder / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nhead -c 30000000 /dev/zero | tr '\\0' 'x' >&2\nexit 1\n")
    hook.chmod(0o755)
    tracemalloc.start()
    with pytest.raises(RemoteFailed):
        files.git().push("main", "main")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_the_thread_outlives_what_nobody_expected(files: Pair) -> None:
    workspace = files.open()

    class Odd(GitCommand):
        fails = 1

        def list_heads(self) -> dict[str, str]:
            if self.fails:
                self.fails -= 1
                raise ValueError("odd")
            return super().list_heads()

    git = Odd(files.place.root / ".git", parse_address(files.address), variables=VARIABLES)
    sync = RemoteSync(
        workspace=workspace, git=git, memory=files.memory(), branch=BRANCH, clock=ManualClock()
    )
    files.exit.callback(sync.close)
    sync.start()
    wait_for(lambda: sync.state().last_pushed_at)


def test_packs_that_were_fetched_are_merged_with_ours(files: Pair) -> None:
    """They come with deltas; those by offset could not be copied, and packs would pile up."""
    workspace = files.open()
    sync = files.sync(workspace)
    sync.step()
    clone = files.person()
    lines = [f"{number} of many lines\n" for number in range(2000)]
    for number in range(4):
        lines[number] = "changed\n"
        files.commit(clone, "long", "".join(lines))
    sync.step()
    packs = [*(files.place.root / ".git/objects/pack").glob("pack-*.pack")]
    listed = [files.place.git("verify-pack", "-v", str(path)) for path in packs]
    assert any("chain length" in each for each in listed)
    assert all(pack_merge._raw_entries(path) is not None for path in packs)


def test_a_memory_that_is_wrong_stops_nothing(files: Pair) -> None:
    """Its commits are not here: the repository was put back from elsewhere."""
    workspace = files.open()
    files.sync(workspace).step()
    pushed = files.commit(files.person(), "theirs")
    files.memory().keep(Known(parse_address(files.address).url, seen=pushed, synced="b" * 40))
    files.sync(workspace).step()
    assert workspace.tip() == pushed

    files.memory().keep(Known(parse_address(files.address).url, seen="c" * 40, synced="b" * 40))
    put(workspace, ("contexts/a/x", b"1"))
    files.sync(workspace).step()
    assert files.head() == workspace.tip()


def test_a_restart_knows_when_it_last_pushed_and_pushes_nothing_again(files: Pair) -> None:
    workspace = files.open()
    sync = files.sync(workspace)
    sync.step()
    files.commit(files.person(), "theirs")
    put(workspace, ("contexts/ours/x", b"1"))
    sync.step()
    pushed = sync.state().last_pushed_at

    clock = ManualClock()
    clock.advance(days=1)
    later = RemoteSync(
        workspace=workspace, git=files.git(), memory=files.memory(), branch=BRANCH, clock=clock
    )
    assert later.state().last_pushed_at == pushed
    later.step()
    assert (later.state().last_pushed_at, later.state().diverged_branch) == (pushed, BRANCH)
