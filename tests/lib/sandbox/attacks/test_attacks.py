"""A hostile worker in each situation a server may be in, and what holds it.

The table says what an attack gets where that is not "nothing". Below it, each
layer has an attack for which it is the last guard: with the layer it is denied,
without it allowed. So the attacks are real, and the suite can fail.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.sandbox import landlock
from lib.sandbox.runtimes import base_python
from tests.lib.sandbox.attacks import attempts
from tests.lib.sandbox.attacks.stage import (
    ALLOWED_BEFORE,
    NEEDED_ABI,
    SITUATIONS,
    SYSTEM_PYTHON,
    Situation,
    Stage,
    is_open_to_all,
    lacking,
    landlock_abi,
    lost,
)

# What is allowed, and why that is no harm.
ALLOWED: dict[Situation, set[str]] = {
    "root": {"listen_on_host"},  # on a loopback of its own
    "user": {"listen_on_host"},
    "docker": set(),
    # The kernel counts processes by user, and here that is the server's too:
    # the supervisor counts instead.
    "docker_user": {"exhaust_processes"},
}
# What cannot work without namespaces, said in docs/isolation.md.
FAILS: dict[Situation, set[str]] = {
    "root": set(),
    "user": set(),
    "docker": {"be_somebody", "use_process_pool", "serve_on_own_loopback"},
    "docker_user": {"be_somebody", "use_process_pool", "serve_on_own_loopback"},
}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    # Not below pytest's own folder, which is closed to other users.
    root = Path(tempfile.mkdtemp(prefix="floom-stage-", dir="/tmp"))
    built = Stage(root)
    yield built
    built.clear()
    shutil.rmtree(root)


@pytest.fixture
def situation(request: pytest.FixtureRequest) -> Situation:
    wanted: Situation = request.param
    skip_where_lacking(wanted)
    return wanted


def skip_where_lacking(wanted: Situation) -> None:
    if reason := lacking(wanted):
        pytest.skip(f"{wanted}: {reason}")


everywhere = pytest.mark.parametrize("situation", SITUATIONS, indirect=True)


@everywhere
def test_every_attack_is_denied(stage: Stage, situation: Situation) -> None:
    ended = stage.let_loose(situation)
    assert not ended.error
    assert ended.verdicts.keys() == attempts.ATTEMPTS.keys()
    allowed = {name for name, verdict in ended.verdicts.items() if verdict == "allowed"}
    expected = ALLOWED[situation] | lost(ALLOWED_BEFORE[situation])
    assert allowed == expected, [ended.detail(name) for name in allowed]


@everywhere
def test_honest_work_goes_on(stage: Stage, situation: Situation) -> None:
    ended = stage.let_loose(situation, script="abilities.py")
    assert not ended.error
    fails = {name for name, verdict in ended.verdicts.items() if verdict == "fails"}
    assert len(ended.verdicts) >= 19
    assert fails == FAILS[situation], [ended.detail(name) for name in fails]


@everywhere
def test_probe_finds_all_five_properties_held(stage: Stage, situation: Situation) -> None:
    ended = stage.let_loose(situation, "read_host_shadow")
    missing = {name for name, mechanism in ended.probe.items() if mechanism == "none"}
    assert missing == lost(NEEDED_ABI[situation]), ended.facts


def test_probe_names_what_a_container_refused(stage: Stage) -> None:
    skip_where_lacking("docker")
    ended = stage.let_loose("docker", "read_host_shadow")
    assert ended.facts["mount namespace"].startswith("EPERM")
    is_held = landlock_abi() >= landlock.TRUNCATE_ABI
    assert ended.probe["files"] == ("Landlock + seccomp" if is_held else "none")
    assert ended.probe["privileges"] == "no_new_privs + uid"


WITHOUT_MOUNTS: dict[str, object] = {"root": False, "proc": False}
BARE: dict[str, object] = {
    "user_namespace": False, "network": False, "ipc": False, "pids": False, "root": False,
    "proc": False, "landlock": 0, "seccomp": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "situation", "others", "attack"),
    [
        # Everything else that could hold the attack is off on both sides.
        ("landlock", "docker", {}, "read_file_of_other_run"),
        ("landlock", "docker", {}, "list_system_folders"),
        ("landlock", "docker", {}, "see_other_processes"),
        ("landlock", "docker_user", {}, "signal_server"),
        ("landlock", "docker_user", {}, "stop_init"),
        ("landlock", "docker_user", {}, "stop_init_by_its_name_on_a_pipe"),
        ("root", "root", {"landlock": 0}, "read_file_of_other_run"),
        ("root", "root", {"landlock": 0}, "read_leftover_in_shared_memory"),
        ("seccomp", "root", {}, "open_vsock"),
        ("seccomp", "root", {}, "open_udp_socket"),
        ("seccomp", "user", {}, "enter_user_namespace"),
        ("seccomp", "docker_user", {}, "change_mode_of_state_database"),
        ("seccomp", "docker_user", {}, "change_times_of_state_database"),
        ("seccomp", "docker_user", {}, "change_times_of_state_database_by_old_calls"),
        ("seccomp", "docker_user", {}, "change_times_by_address_that_looks_null"),
        ("seccomp", "docker_user", {}, "watch_state_database"),
        ("seccomp", "docker_user", {}, "limit_server"),
        ("seccomp", "docker_user", {}, "slow_server_down_with_its_user"),
        ("seccomp", "docker_user", {}, "slow_server_s_disk_with_its_user"),
        ("seccomp", "user", {}, "limit_init"),
        ("seccomp", "root", {}, "leave_set_uid_file_by_mode"),
        ("seccomp", "user", {}, "leave_set_uid_file_by_descriptor"),
        ("seccomp", "docker", {}, "leave_set_uid_file_by_creating"),
        ("seccomp", "user", {}, "leave_set_uid_file_without_name"),
        ("seccomp", "docker_user", {}, "leave_set_uid_file_by_node"),
        ("seccomp", "root", {}, "leave_set_gid_folder"),
        ("seccomp", "docker_user", {}, "hide_memory_in_files"),
        ("uid", "root", {}, "exhaust_processes"),
        ("uid", "docker", {"landlock": 0, "seccomp": False}, "signal_server"),
        ("pids", "user", {"landlock": 0, "seccomp": False, **WITHOUT_MOUNTS}, "signal_server"),
        ("network", "root", {"landlock": 0, "seccomp": False}, "connect_to_host"),
        ("network", "root", {"landlock": 0, "seccomp": False}, "connect_abstract_socket"),
        ("ipc", "root", {"seccomp": False}, "attach_host_shared_memory"),
        ("no_new_privs", "docker", BARE, "run_set_uid_program"),
    ],
    indirect=["situation"],
)
def test_each_layer_is_the_last_guard_somewhere(
    stage: Stage, layer: str, situation: Situation, others: dict[str, object], attack: str
) -> None:
    if attack in lost(ALLOWED_BEFORE[situation]):
        pytest.skip(f"allowed by Landlock ABI {landlock_abi()}")
    others = {name: value for name, value in others.items() if name != layer}
    off: object = 0 if layer == "landlock" else False
    extra = {"proc": False} if layer == "root" else {}
    # Without mounts an interpreter below somebody's home could not be started.
    python = SYSTEM_PYTHON.resolve() if SYSTEM_PYTHON.exists() else base_python()
    off_layers = {**others, **extra, layer: off}
    without = stage.let_loose(situation, attack, layers=off_layers, python=python)
    held = stage.let_loose(situation, attack, layers=others, python=python)
    assert (without.error, held.error) == ("", "")
    if "the kernel has none" in without.detail(attack):
        pytest.skip(without.detail(attack))
    assert held.verdicts[attack] == "denied", held.detail(attack)
    assert without.verdicts[attack] == "allowed", without.detail(attack)


@everywhere
def test_a_program_that_is_not_there_is_said_so(stage: Stage, situation: Situation) -> None:
    ended = stage.let_loose(situation, command=["/usr/bin/no-such-program"])
    assert "No such file or directory" in ended.error


@everywhere
@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -KILL $$", 128 + 9)])
def test_the_worker_s_end_is_known_outside(
    stage: Stage, situation: Situation, script: str, code: int
) -> None:
    ended = stage.let_loose(situation, command=["/bin/bash", "-c", script])
    reported = 128 - ended.code if ended.code < 0 else ended.code
    assert reported == code


@everywhere
def test_no_daemon_outlives_the_worker(stage: Stage, situation: Situation) -> None:
    daemon = "(setsid sleep 60 & ) ; setsid --fork sleep 60; exit 0"
    ended = stage.let_loose(situation, command=["/bin/bash", "-c", daemon])
    assert (ended.error, ended.code, ended.left) == ("", 0, 0)


@everywhere
def test_only_the_declared_environment_is_seen(stage: Stage, situation: Situation) -> None:
    ended = stage.let_loose(situation, command=["/usr/bin/env"], environment={"DECLARED": "yes"})
    names = {line.partition("=")[0] for line in ended.output.splitlines()}
    assert names == {"PATH", "HOME", "DECLARED"}


def test_an_interpreter_in_a_closed_folder_keeps_the_uid(stage: Stage) -> None:
    skip_where_lacking("docker")
    if is_open_to_all(base_python()):
        pytest.skip(f"{base_python()} is open to all")
    ended = stage.let_loose("docker", "hold_capabilities", python=base_python())
    assert ended.layers["uid"] is False
    assert ended.verdicts == {"hold_capabilities": "denied"}
    assert ended.probe["privileges"] == "no_new_privs"
