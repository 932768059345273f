"""Scripts of runs that one supervisor has one after the other: what one leaves, the next looks for."""

LEAVES_ALL_IT_CAN = """
import ctypes, fcntl, os, platform, resource, signal, socket, sys, time
for folder in ("/tmp", "/dev/shm", "/var/tmp", os.environ.get("TMPDIR", "/tmp"), "."):
    try:
        with open(folder + "/left-behind", "w") as file:
            file.write("x")
    except OSError:
        pass
libc = ctypes.CDLL(None, use_errno=True)
libc.shmget(0x5EED, 4096, 0o1666)
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGALRM):
    for pid in (1, os.getppid()):
        try:
            os.kill(pid, number)
        except OSError:
            pass
for target in (0, 1, os.getppid()):
    for change in (
        lambda: resource.prlimit(target, resource.RLIMIT_NOFILE, (99, 99)),
        lambda: os.setpriority(os.PRIO_PROCESS, target, 19),
        lambda: os.sched_setaffinity(target, {0}),
    ):
        try:
            change()
        except OSError:
            pass
os.umask(0)
for number in (0, 1, 2):
    fcntl.fcntl(number, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
fcntl.fcntl(1, 1031, 4096)  # F_SETPIPE_SZ
for name, value in (("oom_score_adj", "1000"), ("coredump_filter", "0"), ("autogroup", "19")):
    try:
        with open("/proc/self/" + name, "w") as file:
            file.write(value)
    except OSError:
        pass
os.nice(5)
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
libc.prctl(29, 12345, 0, 0, 0)  # PR_SET_TIMERSLACK
libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
libc.prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG
try:
    socket.create_server(("127.0.0.1", 7777)).set_inheritable(True)
except OSError:
    pass
ours, theirs = socket.socketpair()
for each in (ours, theirs):  # a circle that nobody holds when this process has ended
    try:
        socket.send_fds(each, [b"x"], [ours.fileno(), theirs.fileno(), 0, 1, 2])
    except OSError:
        pass  # others of the user's have too many under way
for way in range(6):
    if way < 3:
        pid = os.fork()
    else:  # as init's own child, with CLONE_PARENT
        number = {"x86_64": 56, "aarch64": 220}[platform.machine()]
        pid = libc.syscall(number, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os.setsid()
        for each in range(1, 65):
            if each not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
                signal.signal(each, signal.SIG_IGN)
        if way % 3 == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        if way % 3 == 2 and os.fork() == 0:
            os.setsid()
        time.sleep(60)
print("left")
"""
LOOKS_ROUND = """
import ctypes, fcntl, json, os, resource, signal
def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
def there(path):
    return os.path.exists(path + "/left-behind")
def others():
    try:
        names = os.listdir("/proc")
    except PermissionError:
        return []
    return [name for name in names if name.isdigit() and int(name) not in (1, os.getpid())]
def text(name):
    try:
        with open("/proc/self/" + name) as file:
            return file.read()
    except OSError:
        return ""
def lines_with(name, *beginnings):
    return [line for line in text(name).splitlines() if line.startswith(beginnings)]
libc = ctypes.CDLL(None, use_errno=True)
STATUS = ("Umask", "Groups", "Sig", "Shd", "Cap", "NoNewPrivs", "Seccomp", "Cpus", "Mems")
print(json.dumps({
    "files": [f for f in ("/tmp", "/dev/shm", "/var/tmp", ".") if there(f)],
    "segment": libc.shmget(0x5EED, 4096, 0) >= 0,
    "others": others(),
    "umask": os.umask(0o022),
    "pending": sorted(signal.sigpending()),
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "descriptors": [number for number in range(1024) if is_open(number)],
    "limits": [resource.getrlimit(number) for number in range(16)],
    "priority": os.getpriority(os.PRIO_PROCESS, 0),
    "processors": sorted(os.sched_getaffinity(0)),
    "variables": sorted(os.environ),
    "status": lines_with("status", *STATUS),
    "numbers": [text(name) for name in ("oom_score_adj", "coredump_filter", "personality")],
    "mounts": len(text("mountinfo").splitlines()),
    "listener": ":1E61 " in text("net/tcp"),  # port 7777
    "streams": [fcntl.fcntl(number, fcntl.F_GETFL) for number in (0, 1, 2)],
    "room": [fcntl.fcntl(number, 1032) for number in (1, 2)],  # F_GETPIPE_SZ
    "scheduler": os.sched_getscheduler(0),
    "session": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
    "slack": libc.prctl(30, 0, 0, 0, 0),  # PR_GET_TIMERSLACK
    "dumpable": libc.prctl(3, 0, 0, 0, 0),  # PR_GET_DUMPABLE
    "folder": sorted(os.listdir(".")),
    "uid": os.getuid(),
}))
"""
