"""The folder of environments: whole or absent, leased, evicted, shared by processes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib.environments.recipe import InstallCancelled
from lib.environments.store import EnvironmentStore
from lib.sandbox import process_tree
from tests.lib.environments.index import Index
from tests.lib.environments.place import (
    DEADLINE_SECONDS,
    Place,
    Recorded,
    requirements,
    run_python,
)

KIB = 1024


def put(store: EnvironmentStore, key: str, size: int = 64 * KIB) -> None:
    with store.held_alone(key, never):
        folder = store.begin(key)
        (folder / "packages" / "data").write_bytes(os.urandom(size))
        store.publish(key, folder, {})


def never(_: float) -> bool:
    return False


def at_once(_: float) -> bool:
    return True


def used(store: EnvironmentStore, key: str, at: float) -> None:
    os.utime(store.path / key / "environment.json", (at, at))


def test_an_environment_is_there_once_it_is_published(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path)
    assert store.find("a") is None
    put(store, "a")
    with store.find("a") as lease:  # type: ignore[union-attr]
        assert (lease.folder / "packages" / "data").is_file()
    facts = json.loads((tmp_path / "a" / "environment.json").read_text())
    assert facts["bytes"] >= 64 * KIB


def test_a_lock_is_waited_for_until_somebody_gives_up(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path)
    with (
        store.held_alone("a", never),
        pytest.raises(InstallCancelled),
        store.held_alone("a", at_once),
    ):
        pass


def test_what_nobody_used_for_longest_goes_first(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path, max_total_bytes=160 * KIB)
    for number, key in enumerate("abc"):
        put(store, key)
        used(store, key, 1000 + number)
    used(store, "a", 2000)
    store.evict(held="c")
    assert [key for key in "abc" if store.has(key)] == ["a", "c"]
    assert not (tmp_path / "b.lock").exists()


def test_what_is_in_use_stays_however_large_all_is(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path, max_total_bytes=1)
    put(store, "a")
    put(store, "b")
    lease = store.find("a")
    assert lease is not None
    store.evict(held="b")
    assert store.has("a")
    lease.release()
    store.evict(held="b")
    assert not store.has("a")
    assert store.has("b")


def test_a_lease_of_another_process_counts(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path, max_total_bytes=1)
    put(store, "a")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from lib.environments.store import EnvironmentStore\n"
        "lease = EnvironmentStore(Path(sys.argv[2])).find('a'); print('leased', flush=True); input()"
    )
    root = str(Path(__file__).resolve().parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", code, root, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"leased\n"
        store.evict(held="x")
        assert store.has("a")
        other.kill()
    store.evict(held="x")
    assert not store.has("a")


def test_leftovers_of_killed_builds_go_and_live_builds_stay(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path)
    with store.held_alone("dead", never):
        dead = store.begin("dead")
    with store.held_alone("alive", never):
        alive = store.begin("alive")
        with store.held_alone("new", never):
            store.begin("new")
        assert alive.exists()
    assert not dead.exists()
    assert not (tmp_path / "dead.lock").exists()


def test_an_eviction_that_was_killed_leaves_no_half_environment(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path)
    put(store, "a")
    (tmp_path / "a").rename(tmp_path / ".build-a-0123")  # as far as it came
    assert store.find("a") is None
    put(store, "a")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "a.lock"}


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"bytes": "x"}'])
def test_a_damaged_marker_does_not_stop_eviction(tmp_path: Path, marker: str) -> None:
    store = EnvironmentStore(tmp_path, max_total_bytes=1)
    put(store, "a")
    put(store, "b")
    (tmp_path / "a" / "environment.json").write_text(marker)
    used(store, "a", 1)
    store.evict(held="b")
    assert store.has("b")


INSTALL = (
    "import json, sys; sys.path.insert(0, sys.argv[1])\n"
    "from pathlib import Path; from tests.lib.environments.place import Place, Recorded, requirements\n"
    "customer = Recorded()\n"
    "Place(Path(sys.argv[2]), json.loads(sys.argv[3])).install(requirements('plain==1.0'), customer=customer)\n"
    "print(customer.text)"
)


def installing(root: Path, index: Index) -> subprocess.Popen[str]:
    """Start a process of its own that installs `plain==1.0`."""
    source = str(Path(__file__).resolve().parents[3])
    arguments = [source, str(root), json.dumps(index.variables)]
    return subprocess.Popen(
        [sys.executable, "-c", INSTALL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_on_one_folder_build_once(tmp_path: Path, index: Index) -> None:
    index.is_open.clear()
    processes = [installing(tmp_path, index) for _ in range(2)]
    assert index.is_asked.wait(DEADLINE_SECONDS)
    index.is_open.set()
    said = [process.communicate(timeout=DEADLINE_SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert sum(path.startswith("/simple/plain") for path in index.asked) == 1
    assert sum("+ plain==1.0" in out for out, _ in said) == 1


def test_a_server_that_is_killed_in_the_middle_leaves_nothing_that_hurts(
    tmp_path: Path, index: Index
) -> None:
    index.is_open.clear()
    process = installing(tmp_path, index)
    assert index.is_asked.wait(DEADLINE_SECONDS)
    started = [os.pidfd_open(pid) for pid in process_tree.descendants(process.pid)]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=DEADLINE_SECONDS)
    index.is_open.set()
    place = Place(tmp_path, index.variables)
    found = place.install(requirements("plain==1.0"))
    assert run_python(found, "import plain; print(plain.VERSION)") == "1.0"
    assert len(place.names()) == 1
    for descriptor in started:
        ended, _, _ = select.select([descriptor], [], [], DEADLINE_SECONDS)
        assert ended, "a process of the killed build lives on"
        os.close(descriptor)


def test_an_evicted_environment_is_built_again(tmp_path: Path, index: Index) -> None:
    place = Place(tmp_path, index.variables, max_total_bytes=1)
    place.install(requirements("plain==1.0"))
    place.install(requirements("plain==2.0"))
    assert len(place.names()) == 1
    customer = Recorded()
    place.install(requirements("plain==1.0"), customer=customer)
    assert "+ plain==1.0" in customer.text


def test_environments_in_use_are_kept_while_others_are_built(tmp_path: Path, index: Index) -> None:
    place = Place(tmp_path, index.variables, max_total_bytes=1)
    with place.environments.prepare([requirements("plain==1.0")], Recorded()) as found:
        place.install(requirements("plain==2.0"))
        assert run_python(found, "import plain; print(plain.VERSION)") == "1.0"
