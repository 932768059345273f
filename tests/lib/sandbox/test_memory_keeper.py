"""The keeper of a memory: it spares the program a wait, and else is as if it were not there."""

from __future__ import annotations

from tests.lib.sandbox import isolated

PREAMBLE = """
import os
from lib.sandbox import syscalls
from lib.sandbox.memory_keeper import Keeper

ASK_DUMPABLE = 3

def execute(*command):
    pid = os.fork()
    if pid == 0:
        Keeper().fork()
        os.execv(command[0], command)
    return pid

def ends():
    return dict(os.waitpid(-1, 0) for _ in range(2))
"""


def output_of(script: str) -> str:
    return isolated.output_of(PREAMBLE + script)


def test_it_is_a_sibling_of_the_program_and_ends_by_itself() -> None:
    script = """
pid = execute("/bin/sh", "-c", "exit 7")
found = ends()
print(os.waitstatus_to_exitcode(found.pop(pid)), list(found.values()))
"""
    assert output_of(script) == "7 [0]"


def test_the_program_has_no_child() -> None:
    program = "import os\\ntry: os.wait()\\nexcept ChildProcessError: print('alone')"
    script = f"""
execute(sys.executable, "-I", "-c", "{program}")
ends()
"""
    assert output_of(script) == "alone"


def test_nobody_looks_into_it_but_the_program_is_as_any() -> None:
    program = "import ctypes; print(ctypes.CDLL(None).prctl(3))"
    script = f"""
pid = os.fork()
if pid == 0:
    Keeper().fork()
    print(syscalls.prctl(ASK_DUMPABLE), flush=True)
    os._exit(0)
ends()
execute(sys.executable, "-I", "-c", "{program}")
ends()
"""
    assert output_of(script) == "0\n1"
