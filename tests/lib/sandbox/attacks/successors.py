"""Scripts of runs that one supervisor has one after the other: what one leaves, the next looks for."""

LEAVES_ALL_IT_CAN = """
import ctypes, os, resource, signal, sys, time
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
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
print("left")
"""
LOOKS_ROUND = """
import ctypes, json, os, resource, signal
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
libc = ctypes.CDLL(None, use_errno=True)
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
    "uid": os.getuid(),
}))
"""
