"""The workspace worked on by hand: files copied, git pushed, servers killed.

Whatever is done, at the end the repository is whole (`git fsck --strict`) and
the folder on disk is what main holds.
"""

from __future__ import annotations

import select
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import ROOT, ServerProcess

RELOAD = b"POST /workers/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
HEAD = 'schema_version: "0.3"\nname: {0}\ntitle: {0}\ndescription: By hand.\nversion: 1.0.0\n'


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of this test's own, for one that stops it or repacks its repository."""
    with ServerProcess(tmp_path / "var") as running:
        yield running
    assert_whole(running)


@pytest.fixture(scope="module")
def seed(shared_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a new workspace holds, git's own folder left out."""
    folder = tmp_path_factory.mktemp("seed") / "workspace"
    return shutil.copytree(
        shared_server.workspace, folder, ignore=lambda *_: {".git"}, symlinks=True
    )


@pytest.fixture
def server(shared_server: ServerProcess, seed: Path) -> Iterator[ServerProcess]:
    """The module's server, its workspace as it was seeded."""
    seed_again(shared_server, seed)
    yield shared_server
    assert_whole(shared_server)


def seed_again(server: ServerProcess, seed: Path) -> None:
    for path in server.workspace.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(seed, server.workspace, dirs_exist_ok=True, symlinks=True)
    server.reload(force=True)
    assert folder_is_main(server)


def assert_whole(server: ServerProcess) -> None:
    fsck = git(server.workspace, "fsck", "--strict", "--no-dangling")
    assert fsck == "", fsck


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody with a name and no configuration; return what it says."""
    ended = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.com",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.com",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def clone(server: ServerProcess, folder: Path) -> Path:
    git(folder.parent, "clone", "--quiet", str(server.workspace), str(folder))
    return folder


def in_main(server: ServerProcess) -> dict[str, bytes]:
    """Return the files that main holds, by path."""
    names = git(server.workspace, "ls-tree", "-r", "--name-only", "-z", "main").split("\0")
    return {name: show(server, name) for name in names if name}


def show(server: ServerProcess, path: str) -> bytes:
    return subprocess.run(
        ["git", "cat-file", "blob", f"main:{path}"],
        cwd=server.workspace,
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout


def on_disk(server: ServerProcess) -> dict[str, bytes]:
    """Return the files in the folder, those of git itself left out."""
    return {
        str(path.relative_to(server.workspace)): path.read_bytes()
        for path in server.workspace.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(server.workspace).parts
    }


def folder_is_main(server: ServerProcess) -> bool:
    return on_disk(server) == in_main(server)


def worker_ids(server: ServerProcess) -> set[str]:
    answer = server.client.get("/workers", params={"limit": 200})
    assert answer.status_code == 200
    return {worker["id"] for worker in answer.json()}


def worker(server: ServerProcess, worker_id: str) -> dict[str, Any]:
    answer = server.client.get(f"/workers/{worker_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def printed(server: ServerProcess, worker_id: str) -> list[str]:
    """Run a worker and return its log."""
    run = server.run(worker_id)
    assert run["status"] == "completed", run["error"]
    return [line["message"] for line in server.get(run["id"])["logs"]]


def manifest_path(server: ServerProcess, worker_id: str) -> Path:
    return server.workspace / "workers" / worker_id / "worker.yml"


def test_folder_that_is_copied_edited_and_deleted_follows(server: ServerProcess) -> None:
    target = server.workspace / "workers" / "copied"
    shutil.copytree(ROOT / "workers" / "hello-worker", target)
    assert "copied" not in worker_ids(server)  # nothing is taken over unasked
    reloaded = server.reload()
    assert reloaded["changed"] == ["copied"]
    assert reloaded["removed"] == []
    assert reloaded["commit"] == git(server.workspace, "rev-parse", "main").strip()
    assert server.run("copied", who="Ada")["status"] == "completed"

    (target / "run.py").write_text("print('edited by hand')\n")
    assert server.reload()["changed"] == ["copied"]
    assert worker(server, "copied")["sha"] != worker(server, "hello-worker")["sha"]

    assert server.reload()["commit"] is None  # nothing new, no commit

    shutil.rmtree(target)
    assert "copied" in worker_ids(server)
    assert server.reload()["removed"] == ["copied"]
    assert "copied" not in worker_ids(server)
    assert server.client.post("/workers/copied/runs", json={}).status_code == 404
    assert folder_is_main(server)


def test_modes_odd_names_and_binary_files_are_kept(server: ServerProcess) -> None:
    server.add_worker("odd", "", run_py="import os\nprint(os.access('tool', os.X_OK))\n")
    folder = server.workspace / "workers" / "odd"
    (folder / "tool").write_bytes(bytes(range(256)))
    (folder / "tool").chmod(0o755)
    (folder / "sub" / "dir").mkdir(parents=True)
    (folder / "sub" / "dir" / "größe 100%.txt").write_text("ü")
    (folder / "empty").touch()
    (folder / ".env").write_text("TOKEN=treasure")
    (folder / "link").symlink_to("/etc/passwd")
    reloaded = server.reload()
    skipped = {each["path"] for each in reloaded["skipped"]}
    assert skipped == {"workers/odd/.env", "workers/odd/link"}
    assert printed(server, "odd") == ["True"]
    assert b"treasure" not in b"".join(in_main(server).values())
    kept = on_disk(server)
    assert kept["workers/odd/.env"] == b"TOKEN=treasure"  # left out, and left alone
    assert kept["workers/odd/sub/dir/größe 100%.txt"] == "ü".encode()


def test_pushed_commit_counts_at_the_next_request_and_is_written_out(
    server: ServerProcess, tmp_path: Path
) -> None:
    checkout = clone(server, tmp_path / "checkout")
    folder = checkout / "workers" / "pushed"
    folder.mkdir()
    (folder / "worker.yml").write_text(HEAD.format("pushed"))
    (folder / "run.py").write_text("print('pushed')\n")
    shutil.rmtree(checkout / "workers" / "fail-gracefully")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "Add a worker, remove another")
    git(checkout, "push", "--quiet", "origin", "HEAD:main")
    ids = worker_ids(server)
    assert "pushed" in ids
    assert "fail-gracefully" not in ids
    assert (server.workspace / "workers" / "pushed" / "run.py").read_text() == "print('pushed')\n"
    assert not (server.workspace / "workers" / "fail-gracefully").exists()
    assert printed(server, "pushed") == ["pushed"]
    assert server.reload()["commit"] is None
    assert folder_is_main(server)


def test_reload_goes_on_top_of_a_push_and_can_be_pulled(
    server: ServerProcess, tmp_path: Path
) -> None:
    checkout = clone(server, tmp_path / "checkout")
    (checkout / "workspace.md").write_text("# Ours\n")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "Describe the workspace")
    git(checkout, "push", "--quiet", "origin", "HEAD:main")
    server.add_worker("local", "", run_py="print('local')")
    assert server.reload()["changed"] == ["local"]
    git(checkout, "pull", "--quiet", "--ff-only", "origin", "main")
    assert (checkout / "workers" / "local" / "run.py").read_text() == "print('local')"
    subjects = git(checkout, "log", "--format=%s").splitlines()
    assert subjects[:2] == ["workspace: reload 1 worker", "Describe the workspace"]
    assert folder_is_main(server)


def test_push_on_top_of_an_old_commit_is_refused_by_git(
    server: ServerProcess, tmp_path: Path
) -> None:
    checkout = clone(server, tmp_path / "checkout")
    server.add_worker("first", "", run_py="print(1)")
    server.reload()
    (checkout / "workspace.md").write_text("late\n")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "Late")
    with pytest.raises(AssertionError, match="rejected"):
        git(checkout, "push", "--quiet", "origin", "HEAD:main")
    assert "first" in worker_ids(server)


def test_both_sides_of_one_file_are_a_conflict_and_nothing_is_lost(
    server: ServerProcess, tmp_path: Path
) -> None:
    checkout = clone(server, tmp_path / "checkout")
    path = Path("workers") / "hello-worker" / "run.py"
    (server.workspace / path).write_text("print('edited on disk')\n")
    (checkout / path).write_text("print('pushed')\n")
    git(checkout, "commit", "--quiet", "--all", "--message", "Push")
    git(checkout, "push", "--quiet", "origin", "HEAD:main")
    answer = server.client.post("/workers/reload", json={})
    assert answer.status_code == 409
    assert answer.json()["error_code"] == "workspace_conflict"
    assert str(path) in answer.json()["detail"]
    assert (server.workspace / path).read_text() == "print('edited on disk')\n"
    assert show(server, str(path)) == b"print('pushed')\n"
    # As the message says: move the edit aside, restore the file, edit again.
    (server.workspace / path).write_bytes(show(server, str(path)))
    assert server.reload()["commit"] is None
    (server.workspace / path).write_text("print('edited on disk')\n")
    assert server.reload()["changed"] == ["hello-worker"]
    assert folder_is_main(server)


def test_emptied_folder_deletes_nothing_at_a_start(own_server: ServerProcess) -> None:
    before = worker_ids(own_server)
    tip = git(own_server.workspace, "rev-parse", "main")
    own_server.stop()
    shutil.rmtree(own_server.workspace / "workers")
    (own_server.workspace / "workers").mkdir()
    own_server.start()
    assert worker_ids(own_server) == before
    assert git(own_server.workspace, "rev-parse", "main") == tip
    assert own_server.run("hello-worker", who="Ada")["status"] == "completed"
    refused = own_server.client.post("/workers/reload", json={})
    assert refused.status_code == 409
    assert "force" in refused.json()["detail"]
    assert worker_ids(own_server) == before
    assert set(own_server.reload(force=True)["removed"]) == before
    assert worker_ids(own_server) == set()


def test_what_was_added_while_the_server_was_down_is_there_after_its_start(
    own_server: ServerProcess,
) -> None:
    own_server.stop()
    own_server.add_worker("overnight", "", run_py="print('overnight')")
    shutil.rmtree(own_server.workspace / "workers" / "text-report")
    own_server.start()
    assert printed(own_server, "overnight") == ["overnight"]
    assert "text-report" in worker_ids(own_server)  # a deletion needs a reload
    assert own_server.reload()["removed"] == ["text-report"]
    assert folder_is_main(own_server)


def kill_after_answers(server: ServerProcess, kills: int) -> None:
    for number in range(kills):
        server.add_worker(f"made-{number}", "", run_py=f"print({number})")
        if number:
            shutil.rmtree(server.workspace / "workers" / f"made-{number - 1}")
        commit = server.reload()["commit"]
        server.kill()
        server.start()
        assert git(server.workspace, "rev-parse", "main").strip() == commit
        assert folder_is_main(server)
        assert printed(server, f"made-{number}") == [str(number)]
        assert server.reload()["commit"] is None


def test_kill_9_right_after_the_answer_loses_nothing(own_server: ServerProcess) -> None:
    kill_after_answers(own_server, kills=2)


@pytest.mark.soak
def test_kill_9_right_after_twenty_answers_loses_nothing(own_server: ServerProcess) -> None:
    kill_after_answers(own_server, kills=20)


def kill_while_reloading(server: ServerProcess, moments: Iterable[float]) -> None:
    """Kill a server in the middle of reloads, so many seconds after each began."""
    names = {f"many-{number}" for number in range(60)}
    for attempt, seconds in enumerate(moments):
        for name in names:
            server.add_worker(name, "", run_py=f"print({attempt})")
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(RELOAD)
            select.select([connection], [], [], seconds)
            server.kill()
        server.start()
        assert names <= worker_ids(server)  # a start takes over what is there
        assert folder_is_main(server)
        assert printed(server, "many-7") == [str(attempt)]


def test_kill_9_while_it_reloads_leaves_all_or_nothing(own_server: ServerProcess) -> None:
    kill_while_reloading(own_server, [0.03, 0.07])  # a reload takes about 0.1 s


@pytest.mark.soak
def test_kill_9_at_any_moment_of_a_reload_leaves_all_or_nothing(
    own_server: ServerProcess,
) -> None:
    kill_while_reloading(own_server, [number * 0.005 for number in range(30)])


BROKEN = {
    "tabs": b"exec:\n\tentry: run.py\n",
    "twice": HEAD.format("twice").encode() + b"title: again\ntitle: and again\n",
    "large": HEAD.format("large").encode() + b"# " + b"x" * 10 * 1024 * 1024,
    "latin": HEAD.format("latin").encode() + "tags: [größe]\n".encode("latin-1"),
    "empty": b"",
    "list": b"- a\n- b\n",
    "text": b"just text",
    "bomb": b"a: &a [x, x]\n" + b"".join(
        b"%c: &%c [*%c, *%c]\n" % (n, n, n - 1, n - 1) for n in range(ord("b"), ord("z"))
    ),
    "deep": b"a: " + b"[" * 5_000,
    "object": b"!!python/object/apply:os.system ['true']\n",
    "zero": b"name: a\x00b\n",
    "unclosed": b'title: "never\n',
    "version": HEAD.format("version").encode() + b'schema_version: "9.9"\n',
    "cron": HEAD.format("cron").encode() + b"trigger: {type: schedule, cron: 99 99 * * *}\n",
}  # fmt: skip


def test_broken_manifests_are_listed_with_their_errors_and_hide_nothing(
    server: ServerProcess,
) -> None:
    before = worker_ids(server)
    for name, source in BROKEN.items():
        manifest_path(server, name).parent.mkdir()
        manifest_path(server, name).write_bytes(source)
        (manifest_path(server, name).parent / "run.py").write_text("print('ran')\n")
    (server.workspace / "workers" / "no-manifest").mkdir()
    (server.workspace / "workers" / "no-manifest" / "run.py").touch()
    reloaded = server.reload()
    broken = {*BROKEN, "no-manifest"}
    assert {error["worker_id"] for error in reloaded["errors"]} == broken
    assert reloaded["workers_loaded"] == len(before)
    assert worker_ids(server) == before | broken
    for name in broken:
        shown = worker(server, name)
        assert shown["status"] == "error", name
        assert shown["errors"][0]["message"], name
        assert all(each["path"] == f"workers/{name}/worker.yml" for each in shown["errors"]), name
        refused = server.client.post(f"/workers/{name}/runs", json={})
        assert refused.status_code == 409, name
        assert refused.json()["error_code"] == "worker_broken"
    assert next(e for e in reloaded["errors"] if e["worker_id"] == "tabs")["line"] == 2
    assert server.run("hello-worker", who="Ada")["status"] == "completed"
    listed = server.client.get("/workers", params={"status": "error", "limit": 200}).json()
    assert {each["id"] for each in listed} == broken
    attention = server.client.get("/system/overview").json()["needs_attention"]
    assert broken <= {each["worker_id"] for each in attention if each["kind"] == "manifest_error"}

    manifest_path(server, "tabs").write_text(HEAD.format("tabs"))
    assert server.reload()["changed"] == ["tabs"]
    assert printed(server, "tabs") == ["ran"]


@pytest.mark.parametrize("name", ["Upper", "sp ace", "größe", "-a", "a.b", "a" * 65, "con"])
def test_folder_whose_name_is_no_slug_is_listed_or_named(server: ServerProcess, name: str) -> None:
    before = worker_ids(server)
    folder = server.workspace / "workers" / name
    folder.mkdir()
    (folder / "worker.yml").write_text(HEAD.format("some-name"))
    (folder / "run.py").touch()
    reloaded = server.reload()
    told = {each["worker_id"] for each in reloaded["errors"]} | {
        each["path"].split("/")[1] for each in reloaded["skipped"]
    }
    assert name in told | worker_ids(server)
    assert before <= worker_ids(server)


def test_git_objects_are_packed_by_the_ordinary_tools(own_server: ServerProcess) -> None:
    """Somebody tidies up while the own_server runs."""
    for number in range(3):
        own_server.add_worker("tidied", "", run_py=f"print({number})")
        own_server.reload()
        git(own_server.workspace, "repack", "-a", "-d", "--quiet")
        git(own_server.workspace, "pack-refs", "--all")
        assert printed(own_server, "tidied") == [str(number)]
    git(own_server.workspace, "gc", "--quiet", "--prune=now")
    assert printed(own_server, "tidied") == ["2"]
    own_server.add_worker("tidied", "", run_py="print('after')")
    assert own_server.reload()["changed"] == ["tidied"]
    assert printed(own_server, "tidied") == ["after"]
    assert folder_is_main(own_server)
