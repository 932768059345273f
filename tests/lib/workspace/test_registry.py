from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from lib.clock import ManualClock
from lib.manifest.loader import LoadedManifest, load_manifest
from lib.workspace.errors import ObjectNotFound
from lib.workspace.registry import Registry
from lib.workspace.workspace import Delete, Workspace
from tests.lib.workspace.place import ANNA, Place, put

GOOD = b"schema_version: '0.3'\nname: a\ntitle: A\nexec:\n  entry: run.py\n"


class Loader:
    """The real loader, and a list of what it was asked for."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.files: dict[str, tuple[str, ...]] = {}

    def __call__(
        self, source: bytes, *, worker_id: str, file_names: tuple[str, ...]
    ) -> LoadedManifest:
        self.loaded.append(worker_id)
        self.files[worker_id] = file_names
        if source == b"explode":
            raise RecursionError
        return load_manifest(source, worker_id=worker_id, file_names=file_names)


def test_only_what_changed_is_parsed_again(workspace: Workspace) -> None:
    loader = Loader()
    registry = Registry(workspace, load_manifest=loader)
    put(workspace, ("workers/a/worker.yml", GOOD), ("workers/a/run.py", b""))
    first = registry.current()
    assert sorted(first.workers) == ["a", "hello"]
    assert registry.current() is first
    put(workspace, ("workers/a/run.py", b"changed"))
    put(workspace, ("contexts/x/y", b"1"))
    second = registry.current()
    assert second.commit == workspace.tip()
    assert loader.loaded == ["a", "hello", "a"]
    assert second.workers["hello"] is not None
    assert second.workers["hello"].loaded is first.workers["hello"].loaded
    assert first.workers["a"].sha != second.workers["a"].sha


def test_a_worker_is_as_its_folder_says(place: Place, workspace: Workspace) -> None:
    loader = Loader()
    put(workspace, ("workers/a/worker.yml", GOOD), ("workers/a/lib/x.py", b"12345"))
    worker = Registry(workspace, load_manifest=loader).current().workers["a"]
    assert worker.sha == place.git("rev-parse", "main:workers/a").strip()
    assert [(file.path, file.size) for file in worker.files] == [
        ("lib/x.py", 5),
        ("worker.yml", len(GOOD)),
    ]
    assert set(loader.files["a"]) == {"lib/x.py", "worker.yml"}
    assert worker.loaded.title == "A"


def test_broken_workers_are_listed_and_hide_nobody(workspace: Workspace) -> None:
    put(
        workspace,
        ("workers/a/worker.yml", GOOD),
        ("workers/no-manifest/run.py", b""),
        ("workers/Not A Slug/worker.yml", GOOD),
        ("workers/broken/worker.yml", b"{{{"),
        ("workers/explodes/worker.yml", b"explode"),
        ("workers/README.md", b"not a worker"),
    )
    workers = Registry(workspace, load_manifest=Loader()).current().workers
    errors = {
        name: [problem.code for problem in each.loaded.errors] for name, each in workers.items()
    }
    assert errors["no-manifest"] == ["no_manifest"]
    assert errors["Not A Slug"] == ["bad_worker_id"]
    assert errors["broken"]
    assert errors["explodes"] == ["unreadable"]
    assert "README.md" not in workers
    assert {"a", "hello"} < set(workers)


def test_a_removed_worker_is_gone_and_can_still_be_read_at_its_tree(workspace: Workspace) -> None:
    registry = Registry(workspace, load_manifest=Loader())
    put(workspace, ("workers/a/worker.yml", GOOD))
    sha = registry.current().workers["a"].sha
    workspace.commit(lambda _: [Delete("workers/a")], "worker: delete a", ANNA)
    assert "a" not in registry.current().workers
    frozen = registry.worker_at("a", sha)
    assert (frozen.sha, frozen.loaded.title) == (sha, "A")
    assert registry.loaded_at("a", sha) is frozen.loaded
    for read in (registry.worker_at, registry.loaded_at):
        with pytest.raises(ObjectNotFound):
            read("a", "1" * 40)


def test_a_manifest_is_read_without_a_look_at_the_tip(workspace: Workspace) -> None:
    registry = Registry(workspace, load_manifest=Loader())
    put(workspace, ("workers/a/worker.yml", GOOD))
    first = registry.current().workers["a"]
    put(workspace, ("workers/a/worker.yml", GOOD + b"# changed\n"))
    assert registry.loaded_at("a", first.sha) is first.loaded
    second = registry.current().workers["a"]
    assert registry.loaded_at("a", second.sha) is second.loaded
    assert registry.loaded_at("a", first.sha).title == first.loaded.title


def test_an_old_tree_is_parsed_once(workspace: Workspace) -> None:
    loader = Loader()
    registry = Registry(workspace, load_manifest=loader)
    put(workspace, ("workers/a/worker.yml", GOOD))
    sha = registry.current().workers["a"].sha
    put(workspace, ("workers/a/worker.yml", GOOD + b"# changed\n"))
    again = Registry(workspace, load_manifest=loader)
    loader.loaded.clear()
    again.worker_at("a", sha)
    again.worker_at("a", sha)
    assert loader.loaded.count("a") == 2  # the tip's and this one


def test_quarantine_is_a_file_beside_the_worker(workspace: Workspace) -> None:
    registry = Registry(workspace, load_manifest=Loader())
    put(workspace, ("workers/a/worker.yml", GOOD), (".floom/quarantine/a", b""))
    assert registry.current().workers["a"].quarantined
    assert not registry.current().workers["hello"].quarantined
    workspace.commit(lambda _: [Delete(".floom/quarantine/a")], "worker: enable a", ANNA)
    assert not registry.current().workers["a"].quarantined


def test_the_time_of_the_last_change_is_the_same_warm_and_cold(place: Place) -> None:
    clock = ManualClock()
    workspace = place.open(clock=clock)
    warm = Registry(workspace, load_manifest=Loader())
    times = {}
    for name in ("a", "b", "a", "c"):
        times[name] = clock.advance(minutes=1)
        put(workspace, (f"workers/{name}/worker.yml", GOOD + str(clock.now()).encode()))
        warm.current()
    clock.advance(minutes=1)
    put(workspace, ("contexts/x/y", b"1"))
    cold = Registry(workspace, load_manifest=Loader())
    for registry in (warm, cold):
        found = {name: worker.updated_at for name, worker in registry.current().workers.items()}
        assert found.pop("hello") == workspace.commit_info(_root(workspace)).committed_at
        assert found == times
    assert times["a"] - times["b"] == timedelta(minutes=1)
    workspace.close()


def test_threads_see_whole_snapshots_while_commits_go_on(workspace: Workspace) -> None:
    registry = Registry(workspace, load_manifest=Loader())
    put(workspace, *[(f"workers/w{n}/worker.yml", GOOD) for n in range(5)])
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            contents = {
                workspace.tree(worker.sha).read("worker.yml")
                for name, worker in registry.current().workers.items()
                if name.startswith("w")
            }
            seen.append(len(contents))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(12):
        put(workspace, *[(f"workers/w{n}/worker.yml", GOOD + b"# %d\n" % number) for n in range(5)])
    stop.set()
    for thread in threads:
        thread.join()
    assert set(seen) == {1}


def _root(workspace: Workspace) -> str:
    return list(workspace.history())[-1][0]
