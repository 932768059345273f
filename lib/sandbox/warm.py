"""Running a Python file in a process that was forked, not started.

The worker must not notice: module, arguments, search path, streams, signals,
tracebacks and the way out are those of `python FILE`. What cannot be the same
is the hash seed and the layout of memory, which children of one zygote share.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import importlib.machinery
import io
import itertools
import os
import signal
import site
import sys
import sysconfig
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

_HIDDEN: dict[str, types.ModuleType] = {}

INTERRUPTED = 130  # what a shell reports for SIGINT


@dataclass(frozen=True)
class WarmStart:
    """A Python file to run in this very process, once all of our frames are gone.

    `get_ready` has been called in it, and then `take_on`.

    Attributes:
        command: Interpreter, file and arguments, as they would be executed.
        environment: All variables of the worker.
    """

    command: tuple[str, ...]
    environment: dict[str, str]

    def take_on(self) -> None:
        """Take on what the run was given; nothing of the worker's own runs yet."""
        os.environ.update(self.environment)
        sys.argv = list(self.command[1:])
        sys.orig_argv = list(self.command)

    def run(self) -> NoReturn:
        """Run the file as `__main__` and end this process as the interpreter would."""
        self._become_fresh()
        code = _exit_code(self._run_file)
        end_process(code)

    def _run_file(self) -> None:
        file = os.path.abspath(self.command[1])  # noqa: PTH100 - as the interpreter makes it
        module = _main_module(file)
        with open(file, "rb") as source:  # noqa: PTH123 - as the interpreter names it
            code = compile(source.read(), file, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - the very purpose

    def _become_fresh(self) -> None:
        """Make the interpreter look as if it had just been started."""
        gc.enable()
        _add_user_site(self.environment.get("PYTHONUSERBASE"))
        sys.path.insert(0, os.path.dirname(os.path.abspath(self.command[1])))  # noqa: PTH100, PTH120


def get_ready() -> None:
    """Do what a warm start needs and can be done before the run is known.

    After a fork each page that is written is copied first. What is written here
    is this process's own when somebody waits for the rest.
    """
    os.environ.update(dict.fromkeys(map(str, range(32)), ""))
    os.environ.clear()
    _renew_streams()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the zygote ignores


def _main_module(file: str) -> types.ModuleType:
    module = types.ModuleType("__main__")
    module.__file__ = file
    module.__dict__["__annotations__"] = {}  # noqa: RUF063 - as the interpreter does
    module.__loader__ = importlib.machinery.SourceFileLoader("__main__", file)
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    module.__dict__["__cached__"] = None
    sys.modules.pop("__main__", None)  # so that all that the worker imports comes after it
    sys.modules["__main__"] = module
    return module


def hide_our_modules() -> None:
    """Take ours out of the way of a worker's own package `lib`; what runs goes on.

    Done once in the zygote: each process that did it for itself would write to,
    and so copy, a page for nearly every module.
    """
    names = [name for name in sys.modules if name == "lib" or name.startswith("lib.")]
    _HIDDEN.update((name, sys.modules.pop(name)) for name in names)


def show_our_modules() -> None:
    """Let ours be imported again, in a process that will not be a worker."""
    sys.modules.update(_HIDDEN)


def _add_user_site(base: str | None) -> None:
    """Take up the packages below PYTHONUSERBASE, which an isolated interpreter ignores.

    As `site` does at a start: after the standard library, before the
    interpreter's own packages, `.pth` files and all. The interpreter's own are
    put back as they are, because their `.pth` files have had their effect.
    """
    if not base:
        return
    folder = os.path.join(base, _user_site())  # noqa: PTH118 - as `site` makes it
    site.USER_BASE, site.USER_SITE, site.ENABLE_USER_SITE = base, folder, True
    if not os.path.isdir(folder):  # noqa: PTH112 - as `site` does
        return
    own = set(site.getsitepackages())
    first = next((n for n, path in enumerate(sys.path) if path in own), len(sys.path))
    later = sys.path[first:]
    del sys.path[first:]
    site.addsitedir(folder)
    sys.path += [path for path in later if path not in sys.path]


@functools.cache
def _user_site() -> str:
    """Return the user site, relative to its base; the first call reads a file."""
    return sysconfig.get_path("purelib", "posix_user", vars={"userbase": ""}).lstrip("/")


def _renew_streams() -> None:
    """Make the streams anew, unbuffered as PYTHONUNBUFFERED says."""
    streams = {
        "stdin": open(0, encoding="utf-8", closefd=False),  # noqa: SIM115
        "stdout": _unbuffered(1, "strict"),
        "stderr": _unbuffered(2, "backslashreplace"),
    }
    for name, stream in streams.items():
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _unbuffered(descriptor: int, errors: str) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "wb", closefd=False)
    raw.name = "<stdout>" if descriptor == 1 else "<stderr>"
    stream = io.TextIOWrapper(raw, encoding="utf-8", errors=errors, write_through=True)
    stream.mode = "w"  # type: ignore[misc]  # what a new interpreter says
    return stream


def _exit_code(run: Callable[[], None]) -> int:
    """Run something and return the exit code that it asks for, errors shown."""
    try:
        run()
    except SystemExit as asked:
        return _asked_code(asked.code)
    except BaseException as error:  # noqa: BLE001 - shown as the interpreter shows it
        error.__traceback__ = _without_our_frames(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _asked_code(asked: object) -> int:
    """Return the exit code of `SystemExit(asked)`."""
    if asked is None:
        return 0
    if isinstance(asked, int):
        return asked & 0xFF
    print(asked, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return 1


def end_process(code: int) -> NoReturn:
    """Join threads, run what was registered for the exit, let go, and end.

    The interpreter's own end takes apart every module, which would touch, and
    so copy, all that the zygote had imported: 15 ms. Here only what the worker
    made is taken apart, so its open files are flushed and its objects' last
    words are said.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads
        atexit._run_exitfuncs()  # noqa: SLF001
        _flush_open_files()
        _take_apart_own()
    except SystemExit as asked:
        code = _asked_code(asked.code)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _flush_open_files() -> None:
    """Flush every file that is still open, text before bytes.

    The collector closes files of a reference cycle in any order, which loses
    what a text layer holds when the raw file below goes first.
    """
    objects = gc.get_objects()
    for kind in (io.TextIOWrapper, io.BufferedWriter):
        for each in objects:
            if isinstance(each, kind) and not each.closed:
                with contextlib.suppress(Exception):
                    each.flush()


def _take_apart_own() -> None:
    """Drop the worker's own modules, the main one first, and all that only they hold."""
    folder = os.getcwd() + os.sep  # noqa: PTH109
    own = [
        module
        for module in _imported_by_worker()
        if str(getattr(module, "__file__", None) or "").startswith(folder)
    ]
    namespaces = [vars(sys.modules["__main__"]), *(vars(module) for module in own)]
    for namespace in namespaces:
        namespace.clear()
    gc.collect()


def _imported_by_worker() -> list[types.ModuleType]:
    """Return what was imported after the main module; a look at the others would copy them."""
    names = itertools.takewhile("__main__".__ne__, reversed(sys.modules))
    return [sys.modules[name] for name in names]


def _without_our_frames(traceback: types.TracebackType | None) -> types.TracebackType | None:
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return traceback


# What workers of the standard library most often import, once for all of them.
# Outside of a sandbox nothing else may be imported here: a worker's own
# dependencies would run with the zygote's rights.
PREIMPORTED = (
    "argparse", "ast", "base64", "collections.abc", "contextlib", "csv", "dataclasses", "datetime",
    "decimal", "email.message", "enum", "fractions", "functools", "glob", "gzip", "hashlib", "hmac",
    "html", "http.client", "io", "itertools", "json", "logging", "math", "mimetypes", "operator",
    "pathlib", "random", "re", "secrets", "shutil", "statistics", "string", "subprocess",
    "tempfile", "textwrap", "threading", "time", "traceback", "typing", "unicodedata",
    "urllib.parse", "urllib.request", "uuid", "xml.etree.ElementTree", "zipfile", "zoneinfo",
)  # fmt: skip


def preimport() -> None:
    """Import the modules above; one that a host's Python lacks is left out."""
    _user_site()
    for name in PREIMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
