"""What the server and the supervisor of one installation say to each other.

The server writes one request, a line of JSON, to the supervisor's standard
input and keeps that open: its end means "stop", whether the server cancels or
is killed. The supervisor answers on its standard output, a line of JSON each:
`{"line": text}` for what the installer wrote, and last `{"exit": ...}`.
Standard library only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Final

MAX_LINE_BYTES: Final = 4 * 1024


@dataclass(frozen=True)
class InstallRequest:
    """One installer to run.

    Attributes:
        command: Absolute program and arguments.
        environment: All its variables; may hold an index's password.
        folder: All that it may write.
        runtimes: Paths of interpreters, without what is hidden below them.
        readable: Further paths that it needs, whatever is hidden: certificates.
        hidden: Folders that it must not see.
        lock: Descriptor of the environment's lock, which the supervisor holds
            as long as anything of the installation lives.
        private_folder: Where the ids of installations are leased, and roots built.
        isolation: The setting FLOOM_SANDBOX.
        runs_foreign_code: Whether packages are built.
        hosts: `host:port` that the operator named: reached wherever they lead,
            beside every public address.
        proxies: The network's own way out: URLs by `http`, `https` and `all`, which
            may hold a password, and under `no` the hosts that are reached without.
    """

    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    folder: str
    runtimes: tuple[str, ...]
    readable: tuple[str, ...]
    hidden: tuple[str, ...]
    lock: int
    private_folder: str
    isolation: str
    runs_foreign_code: bool
    hosts: tuple[str, ...]
    proxies: dict[str, str] = field(repr=False)
    timeout_seconds: float
    memory_bytes: int
    disk_bytes: int

    def encode(self) -> bytes:
        """Return the line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, stream: BinaryIO) -> InstallRequest:
        """Read the line. Raises EOFError where there is none."""
        line = stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError("no request")
        fields: dict[str, Any] = json.loads(line)
        for name in ("command", "runtimes", "readable", "hidden", "hosts"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclass(frozen=True)
class InstallExit:
    """How an installer ended.

    Attributes:
        code: As a shell reports it; None where it never started.
        ended_by: `cancel`, `timeout` or `disk`; None when it ended itself.
        problem: Why it was not started.
    """

    code: int | None = None
    ended_by: str | None = None
    problem: str | None = None
