"""Process trees: seen whole, and ended whole, whatever a process does to hide."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.sandbox.process_tree import (
    children,
    descendants,
    proportional_bytes,
    resident_bytes,
    signal_all,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

ROOT = Path(__file__).resolve().parents[3]
GONE = 2**22 + 1  # above the kernel's highest pid
HEAD = """
import json, os, signal, sys
from lib.sandbox import process_tree
process_tree.adopt_orphans()

def spawn(work):
    ready, ready_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(ready_end, b"x")
            signal.pause()
        finally:
            os._exit(0)
    os.close(ready_end)
    os.read(ready, 1)
    return pid

def nothing():
    pass
"""


def said_by(program: str) -> object:
    """Run a program that is a subreaper, and return what it prints as JSON."""
    ended = subprocess.run(
        [sys.executable, "-c", HEAD + program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(ended.stdout)


def test_a_process_that_is_gone_has_no_children_and_no_memory() -> None:
    assert children(GONE) == []
    assert descendants(GONE) == []
    assert resident_bytes([GONE]) == 0
    assert proportional_bytes([GONE]) == 0
    signal_all([GONE], __import__("signal").SIGTERM)


def test_memory_is_about_what_the_kernel_says() -> None:
    own = os.getpid()
    assert 1_000_000 < proportional_bytes([own]) <= resident_bytes([own])
    assert resident_bytes([own, own]) > 1.5 * resident_bytes([own])


def test_shared_pages_count_once_for_a_tree() -> None:
    counted = said_by("""
ballast = b"x" * 50_000_000
pids = [spawn(nothing) for _ in range(4)]
print(json.dumps([process_tree.resident_bytes(pids), process_tree.proportional_bytes(pids)]))
process_tree.end_below(os.getpid())
""")
    assert isinstance(counted, list)
    resident, proportional = counted
    assert resident > 200_000_000
    assert proportional < 100_000_000


WITHOUT_FIRST_THREAD = """
import ctypes, threading, time
from lib.sandbox.folder_size import nameless_bytes
from lib.sandbox.syscalls import machine

def hold():
    first = f"/proc/{os.getpid()}/statm"
    while open(first).read().split()[0] != "0":
        time.sleep(0.01)
    kept.append(bytearray(b"x") * (64 << 20))
    os.write(ready_end, b"x")
    signal.pause()

kept = []
file = os.memfd_create("x")
os.write(file, bytes(1 << 20))
ready, ready_end = os.pipe()
pid = os.fork()
if pid == 0:
    threading.Thread(target=hold).start()
    ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[machine()], 0)  # exit, of this thread
os.read(ready, 1)
memory = (process_tree.resident_bytes([pid]), process_tree.proportional_bytes([pid]))
print(json.dumps([*(each >> 20 for each in memory), nameless_bytes([pid]) >> 20]))
os.kill(pid, signal.SIGKILL)
"""


def test_a_process_whose_first_thread_has_ended_holds_what_it_holds() -> None:
    said = said_by(WITHOUT_FIRST_THREAD)
    assert isinstance(said, list)
    resident, proportional, nameless = said
    assert resident >= 64
    assert proportional >= 64
    assert nameless == 1


def test_a_tree_is_seen_whole_parents_first() -> None:
    seen = said_by("""
def family():
    spawn(lambda: spawn(nothing))
top = spawn(family)
found = process_tree.descendants(os.getpid())
parents = [os.getpid(), *found]
in_order = all(
    int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1]) in parents[: 1 + number]
    for number, pid in enumerate(found)
)
print(json.dumps([len(found), found[0] == top, in_order]))
process_tree.end_below(os.getpid())
""")
    assert seen == [3, True, True]


def test_children_of_any_thread_are_seen() -> None:
    seen = said_by("""
import threading
pids = []
thread = threading.Thread(target=lambda: (pids.append(spawn(nothing)), done.wait()))
done = threading.Event()
thread.start()
while not pids:
    pass
print(json.dumps(process_tree.children(os.getpid()) == pids))
done.set()
thread.join()
process_tree.end_below(os.getpid())
""")
    assert seen is True


def test_nothing_is_left_of_a_tree_that_hides_in_sessions_and_orphans() -> None:
    left = said_by("""
def hide():
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:  # a daemon: its parent goes on, its session is another
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.pause()
for _ in range(3):
    spawn(hide)
process_tree.end_below(os.getpid())
print(json.dumps(process_tree.descendants(os.getpid())))
""")
    assert left == []


def test_who_is_spared_lives_with_all_of_its_own() -> None:
    result = said_by("""
spared = spawn(lambda: spawn(nothing))
doomed = spawn(lambda: spawn(nothing))
process_tree.end_below(os.getpid(), spare=frozenset({spared}))
left = process_tree.descendants(os.getpid())
print(json.dumps([left[0] == spared, doomed in left, len(left)]))
process_tree.end_below(os.getpid())
""")
    assert result == [True, False, 2]


def test_a_tree_that_forks_faster_than_it_is_killed_runs_dry() -> None:
    left = said_by("""
def breed():
    if os.fork() == 0:
        while True:
            try:
                if os.fork():
                    os._exit(0)
            except OSError:
                pass
spawn(breed)
process_tree.end_below(os.getpid())
print(json.dumps(process_tree.descendants(os.getpid())))
""")
    assert left == []


def test_orphans_are_reaped_and_the_spared_one_keeps_its_status() -> None:
    result = said_by("""
spared = os.fork()
if spared == 0:
    signal.pause()
for _ in range(3):
    if os.fork() == 0:
        os._exit(0)
while len([pid for pid in process_tree.children(os.getpid())]) > 1:
    process_tree.reap_orphans(spared)
os.kill(spared, signal.SIGKILL)
os.waitid(os.P_PID, spared, os.WEXITED | os.WNOWAIT)
process_tree.reap_orphans(spared)
_, status = os.waitpid(spared, 0)
print(json.dumps(os.waitstatus_to_exitcode(status)))
""")
    assert result == -9


def test_reaping_without_children_is_fine() -> None:
    assert said_by("process_tree.reap_orphans(0)\nprint(1)") == 1
