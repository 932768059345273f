"""Init, as far as it can be had without a pid namespace; with one, the attacks and runs show it."""

from __future__ import annotations

from tests.lib.sandbox import isolated
from tests.lib.sandbox.conftest import only_root_sees_descriptors

PREAMBLE = """
import os, signal, time
from lib.sandbox import privileges, process_tree
from lib.sandbox.confinement import Enclosure, Layers
from lib.sandbox.host_view import HostView
from lib.sandbox.init_process import InitProcess, Order

def enclosure(**layers):
    return Enclosure(Layers(no_new_privs=False, **layers), HostView.find(), "/nowhere")

def ask(init):
    failure, failure_end = os.pipe()
    channel = os.open(os.devnull, os.O_RDWR)
    order = Order(os.dup(1), os.dup(2), failure_end, channel, None, None, None)
    order.send(init.line)
    order.close()
    return failure

def reason(failure):
    with os.fdopen(failure) as file:
        return file.read()
"""


def output_of(script: str) -> str:
    return isolated.output_of(PREAMBLE + script)


def test_workers_come_one_after_the_other_and_each_is_told_of_alone() -> None:
    script = """
init = InitProcess.fork(enclosure())
if isinstance(init, Order):
    sum(range(5_000_000))
    os._exit(7)
for _ in range(2):
    ask(init)
    ended = init.ended()
    print(ended.exit_code, 0 < ended.cpu_ms < 5_000)
twice = [init.ended() for _ in map(ask, [init, init])]
print([each.cpu_ms < 2 * ended.cpu_ms + 100 for each in twice])
"""
    assert output_of(script) == "7 True\n7 True\n[True, True]"


def test_what_a_worker_left_is_gone_when_its_end_is_told() -> None:
    script = """
read_end, write_end = os.pipe()
os.set_inheritable(write_end, True)
init = InitProcess.fork(enclosure())
if isinstance(init, Order):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
ask(init)
print(init.ended().exit_code, process_tree.descendants(os.getpid()) == [init.pid])
"""
    assert output_of(script) == "137 True"


def test_a_worker_holds_its_own_descriptors_and_no_other() -> None:
    script = """
for number in range(5):
    os.dup2(os.open("/", os.O_RDONLY), 40 + 3 * number)
init = InitProcess.fork(enclosure())
if isinstance(init, Order):
    mine = {init.stdout, init.stderr, init.failure, init.channel}
    there = {n for n in range(3, 200) if os.path.exists(f"/proc/self/fd/{n}")}
    print(there == mine, any(map(os.get_inheritable, mine)), flush=True)
    os._exit(0)
for _ in range(2):
    ask(init)
    init.ended()
"""
    assert output_of(script) == "True False\nTrue False"


@only_root_sees_descriptors
def test_init_holds_its_streams_and_its_line_only() -> None:
    script = """
init = InitProcess.fork(enclosure())
if isinstance(init, Order):
    os._exit(0)
for _ in range(2):
    ask(init)
    init.ended()
print(len(os.listdir(f"/proc/{init.pid}/fd")))
"""
    assert output_of(script) == "4"


def test_a_refused_namespace_is_told_and_the_next_order_is_heard() -> None:
    script = """
if os.geteuid() == 0:  # which the kernel refuses nothing
    privileges.become(65534, 65534)
init = InitProcess.fork(enclosure(network=True))
if isinstance(init, Order):
    os._exit(0)
for _ in range(2):
    print(reason(ask(init)), init.ended().exit_code)
"""
    refusal = "cnamespaces: [Errno 1] clone: Operation not permitted 127"
    assert output_of(script).splitlines() == [refusal] * 2


def test_init_ends_with_its_supervisor_and_its_worker_with_it() -> None:
    script = """
read_end, write_end = os.pipe()
process_tree.adopt_orphans()
supervisor = os.fork()
if supervisor == 0:
    init = InitProcess.fork(enclosure())
    if isinstance(init, Order):
        time.sleep(60)
    ask(init)
    os.write(write_end, b"%d" % init.pid)
    time.sleep(60)
init = int(os.read(read_end, 20))
worker = None
while not (worker := process_tree.children(init)):
    time.sleep(0.01)
os.kill(supervisor, signal.SIGKILL)
ended = {os.wait()[0] for _ in range(2)}
process_tree.end_below(os.getpid())
print(ended == {supervisor, init})
"""
    assert output_of(script) == "True"


def test_a_killed_init_is_told_apart_from_an_ended_worker() -> None:
    script = """
process_tree.adopt_orphans()  # as a supervisor does
init = InitProcess.fork(enclosure())
if isinstance(init, Order):
    time.sleep(60)
ask(init)
while len(process_tree.descendants(os.getpid())) < 2:
    time.sleep(0.001)
os.kill(init.pid, signal.SIGKILL)
print(init.ended())
process_tree.end_below(os.getpid())
"""
    assert output_of(script) == "None"
