"""The zygote's loop where the kernel refuses it something: nobody is lost, and it ends."""

from __future__ import annotations

from tests.lib.sandbox import isolated

PREAMBLE = """
import os, resource, select, signal, socket, time
from lib.sandbox import privileges, process_tree
from lib.sandbox.zygote import Zygote

if os.geteuid() == 0:  # which the kernel refuses nothing
    privileges.become(65534, 65534)
    privileges.set_dumpable(dumpable=True)
listener = socket.socket(socket.AF_UNIX)
listener.bind("")  # an abstract name, of the kernel's choice
listener.listen()
listener.setblocking(False)
lifeline, lifeline_end = os.pipe()

def be_zygote():
    os.close(lifeline_end)
    wake, wake_end = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    zygote = Zygote(os.dup(listener.fileno()), lifeline, wake, spares=1, sweep=lambda: None)
    intake = zygote.serve()
    while intake is not None and (connection := intake.wait()) is not None:
        connection.sendall(b"served")
        connection.recv(1)  # until the caller has gone
        connection.close()
    os._exit(0)

def connect():
    caller = socket.socket(socket.AF_UNIX)
    caller.connect(listener.getsockname())
    return caller

def held():
    return len(os.listdir(f"/proc/{zygote}/fd"))

def until(holds):
    while not holds():  # whoever started this has a deadline
        time.sleep(0.01)

def limit(soft):
    resource.prlimit(zygote, resource.RLIMIT_NOFILE, (soft, hard))

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
zygote = os.fork()
if zygote == 0:
    be_zygote()
first = connect()
print(first.recv(6).decode())
"""


def output_of(script: str) -> str:
    return isolated.output_of(PREAMBLE + script)


def test_a_caller_who_cannot_be_passed_on_waits() -> None:
    """As when workers of the zygote's own user have too many descriptors on their way."""
    script = """
first.close()
until(lambda: held() == 9)  # three streams, listeners twice, lifeline, wake-up pipe, one line
limit(32)
ours, theirs = socket.socketpair()
socket.send_fds(ours, [b"x"], [lifeline] * 100)
before, second = held(), connect()
until(lambda: held() > before or select.select([second], [], [], 0)[0])
ours.close(), theirs.close()
print(second.recv(6).decode())
second.close()
os.close(lifeline_end)
print(os.waitpid(zygote, 0)[1])
"""
    assert output_of(script) == "served\nserved\n0"


def test_a_zygote_that_has_no_descriptor_left_goes_on_when_it_has() -> None:
    script = """
until(lambda: held() == 10 and len(process_tree.children(zygote)) == 2)
limit(9)  # and one of its lines will be free: half of what the next supervisor takes
for supervisor in process_tree.children(zygote):
    os.kill(supervisor, signal.SIGKILL)
until(lambda: not process_tree.children(zygote))
second = connect()
limit(soft)
print(second.recv(6).decode())
second.close()
os.close(lifeline_end)
print(os.waitpid(zygote, 0)[1])
"""
    assert output_of(script) == "served\nserved\n0"
