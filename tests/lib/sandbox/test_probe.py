"""What the probe concludes from what it tried."""

from __future__ import annotations

import subprocess

import pytest

from lib.sandbox.probe import NONE, Facts, conclude
from lib.sandbox.runtimes import base_python
from lib.sandbox.zygote_process import ENGINE_ROOT

WORKS = ""
NO = "EPERM: no"
NAMESPACES = ("network namespace", "ipc namespace", "pid namespace", "mount namespace")


def facts(**changes: str) -> Facts:
    """Everything works, but for `changes`; blanks in names are written as `_`."""
    names = (*NAMESPACES, "proc", "new root", "uid", "no_new_privs", "Landlock", "seccomp")
    found = {**dict.fromkeys((*names, "reach"), WORKS), "user namespace": "not needed: root"}
    abi = changes.pop("abi", "7")
    renamed = {name.replace("_namespace", " namespace"): why for name, why in changes.items()}
    renamed = {name.replace("new_root", "new root"): why for name, why in renamed.items()}
    return {**found, f"Landlock ABI {abi}": WORKS, **renamed}


CONTAINER = {
    **dict.fromkeys([name.replace(" ", "_") for name in NAMESPACES], NO),
    "proc": NO,
    "new_root": NO,
}


def test_everything_works_as_root() -> None:
    found = conclude(facts(), groups=None)
    assert found.files == "mount namespace + Landlock"
    assert found.network == "network namespace + seccomp"
    assert found.processes == "pid namespace"
    assert found.privileges == "no_new_privs + uid"
    assert found.limits == "rlimits"
    assert found.is_whole


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"seccomp": NO}, {"network"}),
        ({"no_new_privs": NO}, {"network", "privileges"}),
        ({"new_root": NO, "proc": NO, "Landlock": NO, "abi": "0"}, {"files", "processes"}),
        ({**CONTAINER}, set()),
        ({**CONTAINER, "abi": "2"}, {"files"}),  # files could be truncated
        ({**CONTAINER, "seccomp": NO}, {"files", "network", "processes"}),
        # Signals to processes of the same user would get through.
        ({**CONTAINER, "uid": "not root", "abi": "5"}, {"processes"}),
        ({**CONTAINER, "reach": "/root is closed", "abi": "5"}, {"processes"}),
    ],
)
def test_what_is_lost_with_a_mechanism(changes: dict[str, str], lost: set[str]) -> None:
    found = conclude(facts(**changes), groups=None)
    names = ("files", "network", "processes", "privileges", "limits")
    assert {name for name in names if getattr(found, name) == NONE} == lost
    assert found.is_whole == (not lost)


def test_nothing_known_holds_nothing() -> None:
    found = conclude({"probe": "OSError: no"}, groups=None)
    assert (found.files, found.network, found.processes, found.privileges) == (NONE,) * 4
    assert found.layers.namespaces_of_init == found.layers.namespaces_of_worker == 0


def test_a_user_namespace_that_gives_nothing_is_not_made() -> None:
    found = conclude(facts(user_namespace=WORKS, uid="not root", **CONTAINER), groups=None)
    assert not found.layers.user_namespace


def test_without_a_network_of_its_own_a_worker_has_no_sockets() -> None:
    found = conclude(facts(**CONTAINER), groups=None)
    assert not found.layers.network
    assert found.network == "seccomp"


def test_probing_leaves_nothing_behind_and_never_raises() -> None:
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from lib.sandbox.probe import probe\n"
        "def state():\n"
        "    status = open('/proc/self/status').read()\n"
        "    kept = ('Uid', 'NoNewPrivs', 'Seccomp:', 'CapEff')\n"
        "    return ([l for l in status.splitlines() if l.startswith(kept)],\n"
        "            os.listdir('/proc/self/fd'), open('/proc/self/mountinfo').read())\n"
        "before = state()\n"
        "probe(); probe(['/no/such/path'])\n"
        "assert state() == before\n"
        "print(open('/proc/self/task/%d/children' % os.getpid()).read() or 'none')\n"
    )
    done = subprocess.run(
        [str(base_python()), "-I", "-c", script, str(ENGINE_ROOT)],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "none\n"
