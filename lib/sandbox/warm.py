"""Running a Python file in a process that was forked, not started.

The worker must not notice: module, arguments, search path, streams, signals,
tracebacks and the way out are those of `python FILE`. What cannot be the same
is the hash seed and the layout of memory, which children of one zygote share.
"""

from __future__ import annotations

import gc
import importlib.machinery
import io
import os
import signal
import sys
import types
from dataclasses import dataclass

INTERRUPTED = 130  # what a shell reports for SIGINT


@dataclass(frozen=True)
class WarmStart:
    """A Python file to run in this very process, once all of our frames are gone.

    Attributes:
        command: Interpreter, file and arguments, as they would be executed.
        environment: All variables of the worker.
    """

    command: tuple[str, ...]
    environment: dict[str, str]

    def run(self) -> None:
        """Run the file as `__main__`; the interpreter then ends as it always does.

        Raises:
            SystemExit: what the worker raised, or 1 after an uncaught exception.
        """
        self._become_fresh()
        file = self.command[1]
        module = _main_module(file)
        try:
            with open(file, "rb") as source:  # noqa: PTH123 - as the interpreter names it
                code = compile(source.read(), file, "exec", dont_inherit=True)
            exec(code, module.__dict__)  # noqa: S102 - the very purpose
        except SystemExit:
            raise
        except BaseException as error:  # noqa: BLE001 - shown as the interpreter shows it
            sys.excepthook(type(error), error, _without_our_frames(error.__traceback__))
            is_interrupt = isinstance(error, KeyboardInterrupt)
            raise SystemExit(INTERRUPTED if is_interrupt else 1) from None

    def _become_fresh(self) -> None:
        """Make the interpreter look as if it had just been started."""
        os.environ.clear()
        os.environ.update(self.environment)
        _forget_our_modules()
        sys.argv = list(self.command[1:])
        sys.orig_argv = list(self.command)
        sys.path.insert(0, os.path.dirname(os.path.abspath(self.command[1])))  # noqa: PTH100, PTH120
        _renew_streams()
        _renew_signals()
        gc.unfreeze()


def _main_module(file: str) -> types.ModuleType:
    module = types.ModuleType("__main__")
    module.__file__ = file
    module.__loader__ = importlib.machinery.SourceFileLoader("__main__", file)
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    module.__dict__["__cached__"] = None
    sys.modules["__main__"] = module
    return module


def _forget_our_modules() -> None:
    """A worker may have a package `lib` of its own."""
    for name in [name for name in sys.modules if name == "lib" or name.startswith("lib.")]:
        del sys.modules[name]


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
    return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, write_through=True)


def _renew_signals() -> None:
    """Set the dispositions that the interpreter sets when it starts."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
    for name in PREIMPORTED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
