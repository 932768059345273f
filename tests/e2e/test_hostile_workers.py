"""Workers that misbehave on purpose: each run is settled, and the server stays well.

One worker executes the code that it is given as an input, so a test shows what
it does in one place.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from tests.e2e.server import ServerProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

RUN = (
    "import json\n"
    "exec(compile(json.load(open('inputs.json'))['code'], 'code', 'exec'))\n"
)  # fmt: skip
MANIFEST = (
    "exec:\n"
    "  inputs: [{name: code, type: textarea, required: true}]\n"
    "  outputs: [{name: value, type: json}, {name: report, kind: file, path: out/report.txt}]\n"
)
SMALL = "limits: {timeout_seconds: 1, disk_mb: 5, processes: 20, log_bytes: 65536}\n"
LIMITED_DISK = "limits: {disk_mb: 5}\n"
MAX_GROWTH_BYTES = 60 * 1024 * 1024
IDLE_PROCESSES = 7  # the zygote, and two supervisors that wait, with init and a worker each
QUICK_SECONDS = 3.0  # an answer under load, on a machine that others use too
LINE = "line %09d of a log that is far too long for anybody to read to its end"


@pytest.fixture(scope="module")
def server(shared_server: ServerProcess) -> ServerProcess:
    for name, limits in (("hostile", ""), ("small", SMALL), ("little-disk", LIMITED_DISK)):
        shared_server.add_worker(name, MANIFEST + limits, run_py=RUN)
    shared_server.add_worker("parallel", MANIFEST, run_py=RUN)
    assert shared_server.reload()["errors"] == []
    assert shared_server.run("hostile", code="pass")["status"] == "completed"
    eventually(lambda: attempt_folders(shared_server) == [])
    return shared_server


@pytest.fixture(autouse=True)
def _nothing_stays(server: ServerProcess) -> Any:
    """After each test: no process of any run, no attempt's folder, a server that answers."""
    yield
    assert server.client.get("/healthz").json()["status"] == "ok"
    eventually(lambda: processes_of(server) == [])
    eventually(lambda: descendants(server) <= IDLE_PROCESSES)
    eventually(lambda: attempt_folders(server) == [])


def execute(
    server: ServerProcess,
    code: str,
    worker: str = "hostile",
    seconds: float = 60,
    then: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run code to its end and return the run's detail; `then` is called once it has printed."""
    run_id = server.start_run(worker, code=textwrap.dedent(code))
    if then is not None:
        server.until(lambda: server.get(run_id), lambda run: bool(run["logs"]))
        then(run_id)
    return server.finished(run_id, seconds)


def supervisor_of(server: ServerProcess, run_id: str) -> int:
    """Return the pid of a run's supervisor."""
    (mark,) = (server.data / "runs" / run_id).glob("*/meta/started.json")
    return int(json.loads(mark.read_text())["pid"])


def parent_of(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def eventually(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Look until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes_of(server: ServerProcess) -> list[int]:
    """Return processes that work in a run's folder or carry a run's environment.

    A worker may be a fork of the zygote with the zygote's environment, in a root
    of its own; `descendants` sees it all the same.
    """
    folder = str(server.data / "runs")
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"HOME={folder}".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        with contextlib.suppress(OSError):
            if str((process / "cwd").readlink()).startswith(folder):
                found.append(int(process.name))
    return found


def descendants(server: ServerProcess) -> int:
    """Return how many processes live below the server."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent, *_ = (process / "stat").read_text().rpartition(")")[2].split()
            if state != "Z":  # a replaced zygote is reaped when the next run starts
                parents[int(process.name)] = int(parent)
    below = {pid_of(server)}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return len(below) - 1


def attempt_folders(server: ServerProcess) -> list[Path]:
    """Return what is left of attempts: a folder for each run that has any."""
    folder = server.data / "runs"
    return list(folder.iterdir()) if folder.exists() else []


def pid_of(server: ServerProcess) -> int:
    assert server.process is not None
    return server.process.pid


def resident_bytes(server: ServerProcess) -> int:
    """Return the server's resident memory."""
    pages = Path(f"/proc/{pid_of(server)}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def descriptors(server: ServerProcess) -> int:
    """Return how many descriptors the server has open."""
    return len(list(Path(f"/proc/{pid_of(server)}/fd").iterdir()))


def threads_of(server: ServerProcess) -> int:
    """Return how many threads the server has."""
    return len(list(Path(f"/proc/{pid_of(server)}/task").iterdir()))


class Watch:
    """Measures the server's memory and its answers while something goes on."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.before = self.peak = resident_bytes(server)
        self.slowest = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        return self.peak - self.before

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            begun = time.monotonic()
            assert self._server.client.get("/workers").status_code == 200
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.peak = max(self.peak, resident_bytes(self._server))


def flood(server: ServerProcess, megabytes: int, seconds: float) -> None:
    """Let a run print far more than its log keeps, and judge log, memory and answers."""
    lines = megabytes * 1024 * 1024 // (len(LINE % 0) + 1)
    code = f"""
        import os
        for begin in range(0, {lines}, 1000):
            end = min(begin + 1000, {lines})
            data = ''.join({LINE!r} % n + '\\n' for n in range(begin, end)).encode()
            while data:
                data = data[os.write(1, data):]
        """
    with Watch(server) as watch:
        run = execute(server, code, seconds=seconds)
    assert run["status"] == "completed", run["error"]
    assert watch.growth < MAX_GROWTH_BYTES
    assert watch.slowest < QUICK_SECONDS
    dropped = run["logs_dropped"]
    assert dropped > lines // 2
    assert run["logs"][-1]["message"] == LINE % (lines - 1)
    assert run["logs"][-1]["seq"] == lines
    head = server.client.get(f"/runs/{run['id']}/logs", params={"limit": 200}).json()
    assert [line["message"] for line in head] == [LINE % n for n in range(200)]
    gap = the_gap(server, run["id"])
    assert gap["message"].startswith(f"{dropped} lines dropped")
    after = server.client.get(f"/runs/{run['id']}/logs", params={"after": gap["seq"], "limit": 1})
    (first,) = after.json()
    assert first["seq"] == gap["seq"] + 1
    assert first["message"] == LINE % (first["seq"] - 1)  # numbers go on as if all were kept


def the_gap(server: ServerProcess, run_id: str) -> dict[str, Any]:
    """Return the system line between head and tail."""
    cursor: str | None = None
    while True:
        params = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
        page = server.client.get(f"/runs/{run_id}/logs", params=params)
        for line in page.json():
            if line["stream"] == "system":
                found: dict[str, Any] = line
                return found
        cursor = page.headers["x-next-cursor"]


def test_flooded_log_keeps_head_gap_and_tail(server: ServerProcess) -> None:
    flood(server, megabytes=100, seconds=60)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_gigabyte_of_log_keeps_head_gap_and_tail(server: ServerProcess) -> None:
    flood(server, megabytes=1024, seconds=600)


def test_line_of_50_megabytes_is_cut(server: ServerProcess) -> None:
    with Watch(server) as watch:
        run = execute(
            server,
            """
            import sys
            for _ in range(50):
                sys.stdout.write('x' * 1024 * 1024)
            print()
            print('end')
            """,
        )
    assert run["status"] == "completed"
    first, last = run["logs"]
    cut = 50 * 1024 * 1024 - 16 * 1024
    assert first["message"] == "x" * 16 * 1024 + f" [{cut} bytes cut]"
    assert last["message"] == "end"
    assert watch.growth < MAX_GROWTH_BYTES


def test_log_of_any_bytes_is_shown_as_text(server: ServerProcess) -> None:
    run = execute(
        server,
        r"""
        import os
        os.write(1, b'\x00\x01 \x1b[31mred\x1b[0m \xff\xfe \xed\xa0\x80\r\n')
        os.write(2, b'\\ud800 stays text\n')
        os.write(1, b'\n\n' + bytes(range(11, 256)) + b'\nno newline at the end')
        """,
    )
    out = [line["message"] for line in run["logs"] if line["stream"] == "stdout"]
    assert out[0].startswith("\x00\x01 \x1b[31mred\x1b[0m \ufffd\ufffd ")
    assert out[1:3] == ["", ""]
    assert out[-1] == "no newline at the end"
    err = [line["message"] for line in run["logs"] if line["stream"] == "stderr"]
    assert err == ["\\ud800 stays text"]
    stream = server.client.get(f"/runs/{run['id']}/events")
    events = [json.loads(each[6:]) for each in stream.text.split("\n") if each.startswith("data: ")]
    assert [each["message"] for each in events if "stream" in each] == [
        line["message"] for line in run["logs"]
    ]


def test_closed_streams_do_no_harm(server: ServerProcess) -> None:
    run = execute(server, "import os\nfor n in (0, 1, 2): os.close(n)\n")
    assert run["status"] == "completed"
    assert run["logs"] == []


def test_daemons_end_with_their_run(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import os, signal, time
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    signal.signal(signal.SIGHUP, signal.SIG_IGN)
                    while True:
                        time.sleep(60)
                os._exit(0)
        """,
    )
    assert run["status"] == "completed"
    assert processes_of(server) == []  # when the run is over, not some time later


def test_processes_that_fork_faster_than_they_are_killed_end(server: ServerProcess) -> None:
    """Each chain's process forks its successor and exits: a listed pid is gone already."""
    run = execute(
        server,
        """
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in range(6):
            if os.fork() == 0:
                os.setsid()
                while True:
                    if os.fork():
                        os._exit(0)
        time.sleep(0.3)
        """,
        seconds=90,
    )
    assert run["status"] == "completed"
    assert processes_of(server) == []


def test_too_many_processes_end_the_run(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import os, time
        for _ in range(40):
            if os.fork() == 0:
                break
        time.sleep(60)
        """,
        worker="small",
    )
    assert run["error"]["code"] == "processes_exceeded"


def test_worker_that_ignores_sigterm_is_killed_at_its_limit(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)
        """,
        worker="small",
    )
    assert run["status"] == "failed"
    assert run["error"]["code"] == "timeout"
    assert 1_000 <= run["duration_ms"] < 20_000


def test_worker_that_ends_itself_in_its_grace_ends_then(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('saved')))
        while True:
            time.sleep(60)
        """,
        worker="small",
    )
    assert run["error"]["code"] == "timeout"
    assert [line["message"] for line in run["logs"]] == ["saved"]
    assert run["duration_ms"] < 3_500  # the grace is 3 s after the limit of 1 s


def test_killed_supervisor_interrupts_the_run(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import os, signal, time
        if os.fork() == 0:
            os.setsid()
            time.sleep(60)
        print('about to', flush=True)
        time.sleep(60)
        """,
        then=lambda run_id: os.kill(supervisor_of(server, run_id), signal.SIGKILL),
    )
    assert run["status"] == "failed"
    assert run["error"]["code"] == "interrupted"
    assert execute(server, "print('next')")["status"] == "completed"


def test_killed_zygote_is_replaced(server: ServerProcess) -> None:
    run = execute(
        server,
        "import time; print('up', flush=True); time.sleep(0.5)",
        then=lambda run_id: os.kill(parent_of(supervisor_of(server, run_id)), signal.SIGKILL),
    )
    assert run["status"] == "completed"
    assert execute(server, "print('next')")["status"] == "completed"


def test_file_beyond_the_disk_limit_ends_the_run(server: ServerProcess) -> None:
    run = execute(server, "open('big', 'wb').write(b'x' * 20_000_000)", worker="little-disk")
    assert run["error"]["code"] == "disk_exceeded"


def test_many_files_beyond_the_disk_limit_end_the_run(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import os, time
        for n in range(40):
            os.makedirs(f'a/{n}')
            open(f'a/{n}/part', 'wb').write(b'x' * 500_000)
        time.sleep(60)
        """,
        worker="little-disk",
    )
    assert run["error"]["code"] == "disk_exceeded"


def test_sparse_file_cannot_claim_more_than_the_limit(server: ServerProcess) -> None:
    run = execute(server, "open('hole', 'wb').truncate(10 * 2**30)", worker="little-disk")
    assert run["status"] == "failed"
    assert "File too large" in json.dumps(run["error"])


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ten_gigabytes_are_stopped_at_the_default_limit(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        block = b'x' * 2**20
        for n in range(100):
            with open(f'part-{n}', 'wb') as file:
                for _ in range(100):
                    file.write(block)
        """,
        seconds=300,
    )
    assert run["error"]["code"] == "disk_exceeded"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("open('result.json', 'w').write(' ' * 6 * 2**20)", "result_too_large"),
        ("open('result.json', 'w').write('nonsense')", "invalid_result"),
        ("open('result.json', 'w').close()", "invalid_result"),
        ("open('result.json', 'w').write('null')", "invalid_result"),
        ("open('result.json', 'w').write('[' * 100_000)", "invalid_result"),
        (
            "open('result.json', 'w').write('{\"outputs\": ' + '9' * 5000 + '}')",
            "invalid_result",
        ),
        ("open('result.json', 'w').write('{\"status\": \"great\"}')", "invalid_result"),
        ("open('result.json', 'w').write('{\"status\": NaN}')", "invalid_result"),
        (
            r"""open('result.json', 'w').write('{"status": "error", "error": "\\ud800"}')""",
            "invalid_result",
        ),
        ("open('result.json', 'wb').write(b'\\xff\\xfe{\\x00')", "invalid_result"),
        ("import os; os.symlink('/etc/passwd', 'result.json')", "invalid_result"),
        ("import os; os.symlink('inputs.json', 'result.json')", "invalid_result"),
        ("import os; os.mkfifo('result.json')", "invalid_result"),
        ("import os; os.mkdir('result.json')", "invalid_result"),
        ("import os; os.mknod('result.json', 0o140644)", "invalid_result"),
    ],
)
def test_result_that_cannot_be_used_fails_the_run(
    server: ServerProcess, code: str, expected: str
) -> None:
    run = execute(server, code)
    assert run["status"] == "failed"
    assert run["error"]["code"] == expected
    assert "root:" not in json.dumps(run)


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "out/../../x",
        "out/../run.py",
        "/etc/passwd",
        "out/fifo",
        "out/folder",
        "out/folder/",
        "out/link",
        "out/away/passwd",
        "out/device",
        "out/x\0y",
        ".",
        "nowhere",
    ],
)
def test_output_that_is_no_file_of_the_folder_is_refused(server: ServerProcess, path: str) -> None:
    run = execute(
        server,
        f"""
        import json, os
        os.mkfifo('out/fifo')
        os.mkdir('out/folder')
        os.symlink('/etc/passwd', 'out/link')
        os.symlink('/etc', 'out/away')
        try:
            os.mknod('out/device', 0o20666, os.makedev(1, 5))  # /dev/zero; root only
        except OSError:
            pass
        result = {{'status': 'success', 'outputs': {{'report': {path!r}}}}}
        json.dump(result, open('result.json', 'w'))
        """,
    )
    assert run["status"] == "failed"
    assert run["error"]["code"] == "output_invalid"
    assert "/outputs/report" in run["error"]["message"]
    assert run["artifacts"] == []
    assert "root:" not in json.dumps(run)


def test_links_fifos_and_folders_are_no_artifacts(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import os
        os.symlink('/etc/passwd', 'out/link')
        os.symlink('..', 'out/loop')
        os.mkfifo('out/fifo')
        os.mkdir('out/folder')
        open('out/folder/file', 'w').write('one')
        os.link('out/folder/file', 'out/hard')
        """,
    )
    assert run["status"] == "completed"
    assert {each["name"]: each["size"] for each in run["artifacts"]} == {
        "folder/file": 3,
        "hard": 3,
    }


def test_names_of_any_kind_can_be_downloaded(server: ServerProcess) -> None:
    names = [
        "a\nb",
        "l" * 255,
        "ü" * 127,
        "\u202etxt.exe",
        " %2e%2e%2f?#&;",
        'quote"\\',
        "-rf",
        "...",
        "folder\r\nSet-Cookie: a=b/file",
    ]
    run = execute(
        server,
        f"""
        import os
        for name in {names!r}:
            os.makedirs(os.path.dirname('out/' + name), exist_ok=True)
            open('out/' + name, 'w').write(name)
        """,
    )
    assert run["status"] == "completed", run["error"]
    assert sorted(each["name"] for each in run["artifacts"]) == sorted(names)
    for artifact in run["artifacts"]:
        answer = server.client.get(artifact["url"])
        assert answer.status_code == 200, artifact["name"]
        assert answer.text == artifact["name"]
        assert "set-cookie" not in answer.headers
        assert not urlsplit(artifact["url"]).query


def test_name_that_is_not_utf_8_is_refused_with_words(server: ServerProcess) -> None:
    run = execute(server, r"open(b'out/\xff', 'w').close()")
    assert run["error"]["code"] == "output_invalid"
    assert "UTF-8" in run["error"]["message"]


def test_20_000_files_are_refused_and_removed(server: ServerProcess) -> None:
    run = execute(server, "for n in range(20_000): open(f'out/{n}', 'w').close()")
    assert run["error"]["code"] == "output_invalid"
    assert run["artifacts"] == []


def test_deep_folders_are_refused_and_removed(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import os
        os.chdir('out')
        for _ in range(2_000):
            os.mkdir('deeper')
            os.chdir('deeper')
        open('treasure', 'w').close()
        """,
    )
    assert run["status"] == "failed"
    assert run["error"]["code"] in ("output_invalid", "disk_exceeded")


def test_umask_and_odd_modes_settle(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import os
        os.umask(0o777)
        open('out/closed', 'w').write('x')
        open('out/odd', 'w').write('x')
        os.chmod('out/odd', 0o0)
        """,
    )
    # Root reads them all the same; whoever cannot says so.
    assert (run["error"] or {"code": "output_invalid"})["code"] == "output_invalid"


def test_environment_holds_the_listed_names_only(server: ServerProcess) -> None:
    run = execute(
        server,
        """
        import json, os
        started = dict(each.split('=', 1) for each in
                       open('/proc/self/environ', errors='replace').read().split('\\0') if each)
        open_files = {os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')
                      if os.path.exists(f'/proc/self/fd/{n}')}
        value = {
            'names': sorted(os.environ), 'started': sorted(started),
            'cwd': os.getcwd() == os.environ['HOME'],
            'leader': os.getsid(0) == os.getpid(), 'umask': os.umask(0),
            'files': sorted(each.split(':')[0] for each in open_files),
        }
        json.dump({'status': 'success', 'outputs': {'value': value}}, open('result.json', 'w'))
        """,
    )
    value = run["outputs"]["value"]
    always = {
        "PATH", "HOME", "TMPDIR", "LANG", "TZ", "PYTHONUNBUFFERED", "FLOOM_RUN_ID",
        "FLOOM_WORKER_ID", "FLOOM_ATTEMPT", "FLOOM_PHASE", "FLOOM_IDEMPOTENCY_KEY",
    }  # fmt: skip
    may_come = {"FLOOM_API_URL", "FLOOM_RUN_TOKEN", "WORKEROS_API_URL", "WORKEROS_RUN_TOKEN"}
    assert always <= set(value["names"]) <= always | may_come
    assert set(value["started"]) <= always | may_come
    assert value["cwd"]
    assert value["leader"]
    assert value["umask"] == 0o022
    assert [each for each in value["files"] if each not in ("/dev/null", "/null", "pipe")] == []


def test_secrets_of_the_server_do_not_reach_the_worker(tmp_path: Path) -> None:
    secret = "a secret of the operator's"
    with ServerProcess(
        tmp_path / "var", FLOOM_SECRET=secret, FLOOM_SANDBOX="best_effort", OTHER="not yours"
    ) as server:
        server.add_worker("hostile", MANIFEST, run_py=RUN)
        server.reload()
        run = execute(
            server,
            """
            import os
            pids = [os.getpid(), os.getppid()]
            try:
                stat = open(f'/proc/{pids[-1]}/stat').read()
                pids.append(int(stat.rpartition(')')[2].split()[1]))
            except OSError:
                pids.append(1)  # whose child init is, or that it is, cannot be seen
            for pid in pids:
                try:
                    print(open(f'/proc/{pid}/environ').read())
                except OSError as error:
                    print(error.strerror)
            """,
        )
        assert len(run["logs"]) == 3
        shown = json.dumps(run["logs"])
        assert secret not in shown
        assert "not yours" not in shown


@pytest.mark.parametrize("runs", [60, pytest.param(1_000, marks=pytest.mark.soak)])
def test_runs_leave_no_descriptor_and_no_thread(server: ServerProcess, runs: int) -> None:
    def burst(count: int) -> None:
        ids = [server.start_run("parallel", code="print('x')") for _ in range(count)]
        assert {server.finished(run_id)["status"] for run_id in ids} == {"completed"}

    burst(20)
    eventually(lambda: attempt_folders(server) == [])
    files, threads = descriptors(server), threads_of(server)
    burst(runs)
    # Within what is kept: a database connection and a thread for each pool slot.
    eventually(lambda: descriptors(server) <= files + 5)
    eventually(lambda: threads_of(server) <= threads + 4)
