"""A forked interpreter: a worker cannot tell it from one that was started."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lib.sandbox.runtimes import base_python
from tests.lib.sandbox.conftest import Ended, Runner

SAME = {
    "ordinary": "print('hello'); import sys; print('there', file=sys.stderr)",
    "exit none": "import sys; sys.exit()",
    "exit number": "import sys; sys.exit(7)",
    "exit large": "import sys; sys.exit(300)",
    "exit text": "import sys; sys.exit('bye')",
    "exit true": "raise SystemExit(True)",
    "exit list": "raise SystemExit([1])",
    "exception": "def f(n):\n    1 / n\n\nf(0)",
    "chained": "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('b') from e",
    "syntax": "print('x'\n",
    "interrupt": "raise KeyboardInterrupt",
    "own hook": "import sys\nsys.excepthook = lambda *a: print('hooked', a[0].__name__)\n1/0",
    "argv": "import sys; print(sys.argv, sys.flags.no_site, sys.executable)",
    "main": "print(__name__, __file__, __spec__, __cached__, __doc__, type(__loader__).__name__)",
    "globals": "print(sorted(globals()))",
    "builtins": "print(__builtins__.__name__)",
    "path": "import sys, os; print(sys.path[0] == os.getcwd(), sys.path.count(sys.path[0]))",
    "lib": "import sys; print([n for n in sys.modules if n == 'lib' or n.startswith('lib.')])",
    "atexit": "import atexit; atexit.register(print, 'last'); print('first')",
    "atexit order": "import atexit\nfor n in 'abc': atexit.register(print, n)",
    "atexit fails": "import atexit; atexit.register(lambda: 1/0)",
    "threads are joined": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(.1), print('done'))).start()",
    "daemon threads are not": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "thread fails": "import threading\nt = threading.Thread(target=lambda: 1/0, name='T')\n"
    "t.start(); t.join(); print('on')",
    "main thread": "import threading; t = threading.current_thread()\n"
    "print(t.name, t is threading.main_thread(), threading.active_count())",
    "subprocess": "import subprocess\nprint(subprocess.run(['echo', 'a'], capture_output=True).stdout)",
    "subprocess to stdout": "import subprocess; print('1'); subprocess.run(['echo', '2']); print('3')",
    "fork": "import os\npid = os.fork()\nif pid == 0: print('child'); os._exit(0)\n"
    "os.waitpid(pid, 0); print('parent')",
    "pool": "from concurrent.futures import ProcessPoolExecutor as P\n"
    "def f(n): return n * n\n"
    "if __name__ == '__main__':\n    with P(2) as p: print(list(p.map(f, range(4))))",
    "spawn": "import multiprocessing as m\n"
    "def f(n): print('in', n)\n"
    "if __name__ == '__main__':\n"
    "    p = m.get_context('spawn').Process(target=f, args=(3,)); p.start(); p.join()\n"
    "    print(p.exitcode)",
    "unflushed file": "f = open('a.txt', 'w'); f.write('kept')",
    "unflushed in a cycle": "class C: pass\nc = C(); c.c = c; c.f = open('a.txt', 'w'); c.f.write('kept')",
    "last words": "class C:\n    def __del__(self): print('bye')\nc = C()",
    "stdin": "import sys; print(repr(sys.stdin.read()), sys.stdin.encoding)",
    "streams": "import sys\nfor s in (sys.stdout, sys.stderr):\n"
    "    print(s.name, s.mode, s.encoding, s.fileno(), s.isatty(), s.line_buffering, s.write_through)",
    "no newline": "import sys; sys.stdout.write('half')",
    "bytes": "import sys; sys.stdout.buffer.write(b'raw\\n')",
    "sigpipe": "import signal; print([signal.getsignal(s) for s in (13, 25, 15, 17)])",
    "sigint": "import signal; print(signal.getsignal(2) is signal.default_int_handler)",
    "sigterm": "import os; os.kill(os.getpid(), 15)",
    "mask": "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))",
    "asyncio": "import asyncio\nasync def f():\n    await asyncio.sleep(.01); print('a')\nasyncio.run(f())",
    "descriptors": "import os; print(sorted(os.listdir('/proc/self/fd')))",
    "environment": "import os\nprint({k: v for k, v in os.environ.items() if k != 'LC_CTYPE'})\n"
    "print(os.popen('echo $TOKEN').read())",
    "encoding": "import sys, locale; print(sys.getfilesystemencoding(), 'ä€', locale.getpreferredencoding())",
    "warnings": "import warnings; warnings.warn('careful')",
    "logging": "import logging; logging.warning('w'); logging.getLogger().handlers[0].flush()",
    "cwd and umask": "import os; print(os.getcwd() == os.environ['HOME'], oct(os.umask(0)))",
    "session": "import os; print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid())",
    "recursion": "import sys; print(sys.getrecursionlimit())",
    "import of a neighbour": "import neighbour; print(neighbour.VALUE, neighbour.__file__)",
    "own lib package": "import lib; print(lib.VALUE)",
    "tracing": "import gc; print(gc.isenabled(), gc.get_threshold())",
}


def run(runner: Runner, script: str, *, warm: bool) -> Ended:
    live, folder = runner.start(
        script, environment={"TOKEN": "t", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}, warm=warm
    )
    return runner.finish(live, folder)


def shown(ended: Ended) -> list[tuple[str, str]]:
    home = str(ended.folder / "work")
    address = re.compile(r"0x[0-9a-f]+")
    return [(line[2], address.sub("0x", line[3].replace(home, "HOME"))) for line in ended.lines]


def by_stream(lines: list[tuple[str, str]]) -> dict[str, list[str]]:
    return {name: [text for stream, text in lines if stream == name] for name, _ in lines}


@pytest.mark.parametrize("name", SAME)
def test_a_worker_behaves_as_in_an_interpreter_of_its_own(runner: Runner, name: str) -> None:
    warm = run(runner, SAME[name], warm=True)
    cold = run(runner, SAME[name], warm=False)
    assert by_stream(shown(warm)) == by_stream(shown(cold))
    assert warm.exit.exit_code == cold.exit.exit_code
    for kind in ("unflushed file", "unflushed in a cycle"):
        if name == kind:
            assert (warm.folder / "work" / "a.txt").read_text() == "kept"


def test_random_numbers_differ_between_runs(runner: Runner) -> None:
    script = (
        "import random, secrets, uuid; print(random.random(), secrets.token_hex(), uuid.uuid4())"
    )
    assert len({run(runner, script, warm=True).text for _ in range(3)}) == 3


def test_the_hash_seed_is_a_zygote_s_and_a_worker_that_opts_out_has_its_own(
    own_runner: Runner,
) -> None:
    script = "print(hash('seed'))"

    def seeds(*, warm: bool) -> set[str]:
        return {run(own_runner, script, warm=warm).text for _ in range(3)}

    first = seeds(warm=True)
    assert len(first) == 1
    assert len(seeds(warm=False)) == 3
    zygote = own_runner.sandbox._zygote
    assert zygote is not None
    zygote._process.kill()
    zygote._process.wait()
    assert seeds(warm=True).isdisjoint(first)


def test_a_worker_that_opts_out_gets_an_interpreter_of_its_own(runner: Runner) -> None:
    script = "import sys; print('json' in sys.modules, sys.flags.isolated)"
    assert run(runner, script, warm=False).text == "False 0"


def test_only_a_python_file_starts_warm(runner: Runner) -> None:
    live, folder = runner.start(command=(str(base_python()), "-c", "print(1)"))
    assert runner.finish(live, folder).text == "1"


def test_modules_of_the_server_are_not_there(runner: Runner) -> None:
    ended = run(runner, "import falcon", warm=True)
    assert ended.text.endswith("ModuleNotFoundError: No module named 'falcon'")


def test_one_worker_leaves_nothing_for_the_next(runner: Runner, tmp_path: Path) -> None:
    run(runner, "import json, os; json.mark = 1; os.environ['LEFT'] = '1'", warm=True)
    ended = run(
        runner, "import json, os; print(hasattr(json, 'mark'), 'LEFT' in os.environ)", warm=True
    )
    assert ended.text == "False False"
