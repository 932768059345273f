"""What a supervisor gets from a confinement besides the isolation itself.

Each test is a small supervisor of its own: the fork must come from a process
with one thread, and a test's process may have more.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.sandbox.runtimes import base_python
from lib.sandbox.zygote_process import ENGINE_ROOT

DEADLINE_SECONDS = 30
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the host's mounts")

PREAMBLE = """
import os, select, signal, socket, sys, time
from dataclasses import replace
sys.path.insert(0, sys.argv[1])
from lib.sandbox import identity, loopback, process_tree
from lib.sandbox.confinement import HOME, ConfinementError, Enclosure, Tenant
from lib.sandbox.host_view import HostView
from lib.sandbox.init_process import InitProcess, Order
from lib.sandbox.probe import probe
from lib.sandbox.rlimits import Ceilings

folder, python = sys.argv[2:4]
work = folder + "/data/run/work"
found = probe()
if not found.layers.root:
    print("lacks", found.facts)
    sys.exit()
UID = 500_555 if found.layers.uid else None
ENCLOSURE = Enclosure(
    layers=found.layers,
    view=HostView.find([] if python.startswith("/usr/") else [os.path.dirname(os.path.dirname(python))]),
    stage=folder + "/data/stage",
    home=work,
)
TENANT = Tenant(work=work, ceilings=Ceilings(1 << 29, 1 << 29, tasks=32), uid=UID)
if UID:
    identity.give(work, UID, UID)

def start(worker, *arguments, enclosure=ENCLOSURE, tenant=TENANT, channel=None, listeners=None,
          ports=(7100, 7101)):
    # It is given the channel, if there is one, and its arguments.
    init = InitProcess.fork(enclosure)
    if isinstance(init, Order):
        os.dup2(init.stdout, 1)
        try:
            wanted = loopback.WantedListeners(ports, init.listeners) if init.listeners else None
            shell = enclosure.build(uid=tenant.uid, listeners=wanted)
            given = () if init.channel is None else (init.channel,)
            enclosure.admit(replace(tenant, keep=given), shell)
            worker(*given, *arguments)
            os._exit(0)
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(1)
    order = Order(os.dup(1), os.dup(1), os.dup(1), channel, listeners, tenant.uid, None)
    order.send(init.line)
    order.close()
    return init

def end(init):
    return init.ended().exit_code
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="floom-confinement-", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "data" / "run" / "work").mkdir(parents=True)
        (path / "data" / "stage").mkdir()
        (path / "data" / "secret").write_text("secret")
        (path / "data" / "environments" / "one").mkdir(parents=True)
        (path / "data" / "environments" / "one" / "module.py").write_text("")
        yield path


def supervise(folder: Path, script: str) -> str:
    done = subprocess.run(
        [str(base_python()), "-I", "-c", PREAMBLE + script, str(ENGINE_ROOT), str(folder),
         str(base_python())],
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        env={},
    )  # fmt: skip
    if done.stdout.startswith("lacks"):
        pytest.skip(f"no namespaces here: {done.stdout}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_worker_reaches_a_listener_that_the_supervisor_holds(folder: Path) -> None:
    script = """
ours, theirs = socket.socketpair()
def worker():
    with socket.create_connection(("127.0.0.1", 7101)) as connection:
        print(connection.recv(5).decode(), flush=True)
init = start(worker, listeners=theirs.detach())
api, proxy = loopback.receive_listeners(ours, 2)
proxy.accept()[0].sendall(b"hello")
print(api.getsockname(), end(init))
"""
    assert supervise(folder, script) == "hello\n('127.0.0.1', 7100) 0\n"


def test_a_supervisor_learns_that_no_listener_comes(folder: Path) -> None:
    script = """
ours, theirs = socket.socketpair()
init = start(lambda: None, listeners=theirs.detach(), ports=(70000,))
try:
    loopback.receive_listeners(ours, 1)
except EOFError:
    print("none", end(init))
"""
    assert supervise(folder, script).endswith("none 1\n")


def test_sigterm_reaches_every_process_of_the_run(folder: Path) -> None:
    script = """
read_end, write_end = os.pipe()
def worker(write_end):
    said = []
    signal.signal(signal.SIGTERM, lambda *_: said.append(os.write(write_end, b"t")))
    child = os.fork()
    if child == 0:
        os.setsid()
    os.write(write_end, b"r")
    while not said:
        time.sleep(0.01)
    if child:
        os.waitpid(child, 0)
init = start(worker, channel=write_end)
for _ in range(2):
    assert os.read(read_end, 1) == b"r"
process_tree.signal_all(process_tree.descendants(init.pid), signal.SIGTERM)
print(os.read(read_end, 1), os.read(read_end, 1), end(init), os.read(read_end, 1))
"""
    assert supervise(folder, script) == "b't' b't' 0 b''\n"


def test_the_worker_dies_with_its_supervisor(folder: Path) -> None:
    script = """
read_end, write_end = os.pipe()
supervisor = os.fork()
if supervisor == 0:
    def worker(write_end):
        os.write(write_end, b"r")
        time.sleep(60)
    end(start(worker, channel=write_end))
os.close(write_end)
assert os.read(read_end, 1) == b"r"
os.kill(supervisor, signal.SIGKILL)
print(os.read(read_end, 1))  # the end comes when nobody has the other end
"""
    assert supervise(folder, script) == "b''\n"


def test_only_kept_descriptors_stay_open(folder: Path) -> None:
    script = """
read_end, write_end = os.pipe()
for number in range(5):
    os.dup2(os.open(folder, os.O_RDONLY), 20 + 3 * number)
def worker(kept):
    opened = [n for n in range(3, 100) if os.path.exists(f"/proc/self/fd/{n}")]
    print(opened == [kept], flush=True)
print(end(start(worker, channel=write_end)))
"""
    assert supervise(folder, script) == "True\n0\n"


def test_hidden_folders_are_empty_but_for_what_is_the_run_s(folder: Path) -> None:
    script = """
view = HostView.find([*ENCLOSURE.view.readable, folder])
enclosure = replace(ENCLOSURE, view=view, hidden=(folder + "/data",))
tenant = replace(TENANT, readable=(folder + "/data/environments/one",))
def worker():
    print(sorted(os.listdir(folder + "/data")), os.getcwd() == work, flush=True)
    print(os.listdir(folder + "/data/environments/one"), os.listdir(work), flush=True)
print(end(start(worker, enclosure=enclosure, tenant=tenant)))
"""
    expected = "['environments', 'run'] True\n['module.py'] []\n0\n"
    assert supervise(folder, script) == expected


def test_without_mounts_a_readable_folder_is_shown_without_what_is_hidden_in_it(
    folder: Path,
) -> None:
    script = """
os.makedirs(folder + "/public/deep")
open(folder + "/public/deep/file", "w").close()
os.symlink(folder + "/data/secret", folder + "/public/link")
view = HostView.find([*ENCLOSURE.view.readable, folder])
layers = replace(ENCLOSURE.layers, root=False, proc=False, user_namespace=False,
    network=False, ipc=False, pids=False, uid=False)
enclosure = replace(ENCLOSURE, view=view, layers=layers, hidden=(folder + "/data",))
def tell(action, *arguments):
    try:
        print(action(*arguments), flush=True)
    except PermissionError:
        print("denied", flush=True)
def worker():
    tell(os.listdir, folder + "/public/deep")
    for path in ("/data", "/data/secret", "/public/link"):
        tell(os.open, folder + path, os.O_RDONLY)
    tell(os.listdir, folder + "/data/run/work")
if layers.landlock:
    print(end(start(worker, enclosure=enclosure)))
else:
    print("lacks Landlock")
"""
    assert supervise(folder, script) == "['file']\ndenied\ndenied\ndenied\n[]\n0\n"


def test_the_folder_can_be_shown_at_another_path(folder: Path) -> None:
    script = """
def worker():
    open("mine", "w").close()
    print(os.getcwd(), open("/etc/passwd").read().split(":")[5], flush=True)
print(end(start(worker, enclosure=replace(ENCLOSURE, home="/work"))), os.listdir(work))
"""
    assert supervise(folder, script) == "/work /work\n0 ['mine']\n"


def test_what_is_built_before_the_run_shows_folders_made_since(folder: Path) -> None:
    script = """
ours, theirs = socket.socketpair()
init = InitProcess.fork(ENCLOSURE)
if isinstance(init, Order):
    os.dup2(init.stdout, 1)
    shell = ENCLOSURE.build(uid=TENANT.uid)
    channel = socket.socket(fileno=init.channel)
    channel.sendall(b"b")
    late = channel.recv(999).decode()
    ENCLOSURE.admit(replace(TENANT, work=late), shell)
    print(os.listdir("."), flush=True)
    os._exit(0)
order = Order(os.dup(1), os.dup(1), os.dup(1), theirs.detach(), None, TENANT.uid, None)
order.send(init.line)
order.close()
ours.recv(1)
late = folder + "/data/late"
os.mkdir(late)
open(late + "/here", "w").close()
if UID:
    os.chown(late, UID, UID)
ours.sendall(late.encode())
print(end(init))
"""
    assert supervise(folder, script) == "['here']\n0\n"


def test_a_layer_that_cannot_be_applied_is_named(folder: Path) -> None:
    script = """
print(end(start(lambda: None, tenant=replace(TENANT, readable=("/no/such/folder",)))))
"""
    output = supervise(folder, script)
    assert output.startswith("ConfinementError folder: ")
    assert output.endswith("No such file or directory\n1\n")


def test_nothing_of_the_run_is_left_on_the_host_s_mounts(folder: Path) -> None:
    script = """
before = open("/proc/self/mountinfo").read()
end(start(lambda: None))
print(open("/proc/self/mountinfo").read() == before)
"""
    assert supervise(folder, script) == "True\n"


HOST = """
import functools
from lib.sandbox import syscalls
print = functools.partial(print, flush=True)
BIND, RECURSIVE, PRIVATE, SHARED = 0x1000, 0x4000, 0x4_0000, 0x10_0000

def mount(source, target, kind, flags):
    syscalls.call("mount", source.encode(), target.encode(), kind, flags, None)

def be_a_host(propagation):
    syscalls.call("unshare", 0x2_0000)  # or the real one would be it
    mount("none", "/", None, RECURSIVE | propagation)
"""


@needs_root
def test_where_a_host_shares_its_mounts_neither_side_sees_those_of_the_other(folder: Path) -> None:
    """As systemd's hosts do; what is shown may lie below what is shown."""
    script = """
be_a_host(SHARED)
ours, theirs = socket.socketpair()
libs = folder + "/data/environments"
os.mkdir(work + "/late")
os.mkdir(libs + "/home")
def worker(channel):
    channel = socket.socket(fileno=channel)
    shared = [line for line in open("/proc/self/mountinfo") if "shared:" in line or "master:" in line]
    channel.sendall(b"r")
    channel.recv(1)
    print(shared, os.listdir("late"), os.listdir(libs + "/one"))
before = open("/proc/self/mountinfo").read()
tenant = replace(TENANT, readable=(libs, libs + "/one"))
init = start(worker, enclosure=replace(ENCLOSURE, home=libs + "/home"), tenant=tenant,
             channel=theirs.detach())
ours.recv(1)
print(open("/proc/self/mountinfo").read() == before)
for place in (work + "/late", libs + "/one"):
    mount("late", place, b"tmpfs", 0)
    open(place + "/during", "w").close()
ours.sendall(b"g")
print(end(init))
"""
    assert supervise(folder, HOST + script) == "True\n[] [] ['module.py']\n0\n"


@needs_root
def test_a_server_below_another_root_has_its_workers_in_theirs(folder: Path) -> None:
    """A namespace has a root of its own, which is not that of such a server."""
    script = """
be_a_host(PRIVATE)
jail = folder + "/jail"
os.mkdir(jail)
mount("/", jail, None, BIND | RECURSIVE)
os.chroot(jail)
os.chdir("/")
print(probe().layers == found.layers, os.path.exists(HOME))
def worker():
    print(os.getcwd() == HOME, os.path.samefile("..", "/"), os.path.exists(folder))
bare = replace(ENCLOSURE, layers=replace(found.layers, landlock=0), home=HOME)
print(end(start(worker, enclosure=bare)), os.path.exists(HOME))
"""
    assert supervise(folder, HOST + script) == "True False\nTrue True False\n0 False\n"


@needs_root
def test_a_host_that_does_not_let_namespaces_be_entered_has_none_for_files(folder: Path) -> None:
    script = """
import ctypes, struct
CHROOT = 18
header = struct.pack("=Ii", 0x2008_0522, 0)
held = ctypes.create_string_buffer(24)
ctypes.CDLL(None).capget(header, held)
sets = [each & ~(1 << CHROOT) for each in struct.unpack("=6I", held.raw)[:3]]
syscalls.call("capset", header, struct.pack("=6I", *sets, *struct.unpack("=6I", held.raw)[3:]))
again = probe()
print(again.facts["new root"].partition(": ")[0], again.layers.root, "mount" in again.files)
"""
    assert supervise(folder, HOST + script) == "EPERM False False\n"


ORDERED = """
from lib.sandbox import descriptors, wire
from lib.sandbox.child import Child
from lib.sandbox.worker_process import WorkerProcess

class NoGateway:
    def take_child_end(self):
        return None

def order():
    init = InitProcess.fork(replace(ENCLOSURE, home="/work"))
    if isinstance(init, Order):
        WorkerProcess(replace(ENCLOSURE, home="/work"), init).start()
    return init, Child.order(init, NoGateway(), uid=UID, group=None)

def launch(*command):
    limits = wire.ProcessLimits(9.0, 1 << 29, 32, 1 << 29, 1 << 20)
    return wire.LaunchRequest("run_1", 1, os.path.dirname(work), command, {}, limits)

def printed(child):
    os.set_blocking(child.stdout, True)
    return os.read(child.stdout, 999).decode().strip()
"""


def test_the_mounts_of_a_worker_that_has_ended_are_held_until_they_are_let_go_of(
    folder: Path,
) -> None:
    """Which is done once its end is told: until then their own end would be waited for."""
    script = """
init, child = order()
child.brief(launch("/bin/sh", "-c", "readlink /proc/self/ns/mnt"))
child.let_go()
child.check()
print(end(init), end=" ")
own = printed(child)
word, (mounts,) = descriptors.receive(child._channel, 9, 1)
print(own == f"mnt:[{os.fstat(mounts).st_ino}]", own == os.readlink("/proc/self/ns/mnt"))
"""
    assert supervise(folder, ORDERED + script) == "0 True False\n"


def test_a_worker_that_waits_sees_nothing_of_the_host(folder: Path) -> None:
    script = """
init, child = order()
select.select([child._channel], [], [])
(waiting,) = set(process_tree.descendants(os.getpid())) - {init.pid}
mounts = [line.split() for line in open(f"/proc/{waiting}/mountinfo")]
(root,) = [line for line in mounts if line[4] == "/"]
print(root[root.index("-") + 1], any(folder in line[3] for line in mounts))
child.close()
print(end(init))
"""
    assert supervise(folder, ORDERED + script) == "tmpfs False\n0\n"


def test_a_worker_that_nobody_launches_ends_well(folder: Path) -> None:
    script = """
init, child = order()
select.select([child._channel], [], [])  # what nobody reads makes the other end's a reset
child.close()
print(end(init))
"""
    assert supervise(folder, ORDERED + script) == "0\n"
