"""Servers that speak as S3 does, on loopback, each of another make.

Each is a context manager that yields the address once it answers, and ends what it
started. They take any credentials.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

START_SECONDS = 60
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "S3RVER",  # the only one that s3rver knows; the others take any
    "AWS_SECRET_ACCESS_KEY": "S3RVER",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
App = Callable[[dict[str, Any], Any], Iterable[bytes]]


@contextmanager
def moto(around: Callable[[App], App] = lambda app: app) -> Iterator[str]:
    """Serve moto's S3 from threads of this process.

    All that run in a process share their buckets.

    Args:
        around: Wraps the application, for a server with a flaw.
    """
    from moto.moto_server.werkzeug_app import create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    app = around(_one_at_a_time(create_backend_app("s3")))
    handler = type("Quiet", (WSGIRequestHandler,), {"log": lambda *_: None})
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """Run ministack, with S3 only."""
    (port,) = free_ports(1)
    environment = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "s3",
        "S3_DATA_DIR": str(folder / "data"),
        "IOT_MTLS_ENABLED": "0",  # listens on all addresses, for a service that is not asked for
    }
    command = [_program("ministack")]
    with _process(command, environment, folder, ready=r"Running on http://"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """Run all of SeaweedFS that its S3 needs."""
    names = ("master", "volume", "filer", "s3")
    ports = free_ports(2 * len(names))
    kinds = [f"-{name}.port{kind}" for name in names for kind in ("", ".grpc")]
    # By default the second port of each is the first and 10,000.
    flags = [f"{kind}={port}" for kind, port in zip(kinds, ports, strict=True)]
    command = [
        _program("weed"),
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=8",
        "-filer",
        "-s3",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *flags,
    ]
    try:
        with _process(command, {}, folder, ready=r"Start Seaweed S3 API Server"):
            yield f"http://127.0.0.1:{ports[-2]}"
    finally:
        for port in ports:  # a fixed place, and no flag for all of them
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


@contextmanager
def s3rver(folder: Path) -> Iterator[str]:
    """Install s3rver, which knows no conditions, and run it; skip where npm cannot."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("npm is not installed")
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
    installed = subprocess.run(
        [npm, "install", *flags, "s3rver@3.7.1"], cwd=folder, check=False, capture_output=True
    )
    if installed.returncode:
        pytest.skip("npm reaches no registry")
    (port,) = free_ports(1)
    command = [
        node,
        str(folder / "node_modules" / "s3rver" / "bin" / "s3rver.js"),
        f"--directory={folder}",
        "--address=127.0.0.1",
        f"--port={port}",
        "--allow-mismatched-signatures",
        "--no-vhost-buckets",
    ]
    with _process(command, {}, folder, ready=r"S3rver listening"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _process(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, *, ready: str
) -> Iterator[None]:
    """Run a server from when it writes `ready` until the end of the block."""
    process = subprocess.Popen(
        command,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder), **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    written: list[str] = []
    is_ready = threading.Event()
    reader = threading.Thread(
        target=_read, args=(process.stdout, written, re.compile(ready), is_ready)
    )
    reader.start()
    try:
        assert is_ready.wait(START_SECONDS) and process.poll() is None, "".join(written)  # noqa: PT018
        yield
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def _read(
    lines: IO[str], written: list[str], ready: re.Pattern[str], is_ready: threading.Event
) -> None:
    for line in lines:
        if not is_ready.is_set():
            written.append(line)
        if ready.search(line):
            is_ready.set()
    is_ready.set()  # it has ended


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _one_at_a_time(app: App) -> App:
    """Make one step of each request: moto looks at conditions first, and then writes."""
    lock = threading.Lock()

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with lock:
            return list(app(environ, start_response))

    return call
