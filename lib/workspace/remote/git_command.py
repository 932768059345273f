"""The `git` command, for what goes over the network: listing, fetching, pushing.

It brings what people have set up for it: ssh agents, credential helpers,
certificates. Commits are never made by it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from lib.errors import Unavailable
from lib.git_address import RemoteAddress

TIMEOUT_SECONDS: Final = 120.0
MAX_MESSAGE_CHARACTERS: Final = 500
REMOTE: Final = "floom"
TRACKING: Final = "refs/floom/remote/main"
MAIN: Final = "refs/heads/main"

_CONFIG: Final = {
    "core.hooksPath": "/dev/null",
    "fetch.fsckObjects": "true",
    "fetch.unpackLimit": "1",  # a pack stays a pack
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.http.allow": "always",
    "protocol.ssh.allow": "always",
    "protocol.git.allow": "always",
    "protocol.file.allow": "always",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "30",
}
_SSH: Final = "ssh -o BatchMode=yes -o ConnectTimeout=10"


class RemoteFailed(Unavailable):
    """The remote did not do what was asked; the message holds no credential."""

    code = "git_remote_failed"


class GitCommand:
    """Git in one repository, with one remote. One call at a time.

    Args:
        git_dir: The repository.
        address: The remote's.
        variables: Of the environment, what git may have: PATH, HOME, SSH_AUTH_SOCK, ...
        timeout_seconds: For each command.
    """

    def __init__(
        self,
        git_dir: Path,
        address: RemoteAddress,
        *,
        variables: Mapping[str, str],
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.address = address
        self._git_dir = git_dir
        self._environment = {**variables, **_environment(address)}
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def close(self) -> None:
        """End what runs, at once; nothing starts after it."""
        with self._lock:
            self._is_closed = True
            if self._running is not None:
                _kill(self._running)

    def list_main(self) -> str | None:
        """Return the remote's main; None where it has none. Raises RemoteFailed."""
        out = self._run("ls-remote", REMOTE, MAIN)
        rows = [line.split() for line in out.splitlines()]
        return next((sha for sha, name in rows if name == MAIN), None)

    def fetch_main(self) -> None:
        """Bring the remote's main, and all that it needs, to TRACKING. Raises RemoteFailed."""
        self._run("fetch", "--no-tags", "--no-write-fetch-head", REMOTE, f"+{MAIN}:{TRACKING}")

    def push(self, commit: str, branch: str) -> None:
        """Move a branch of the remote ahead to a commit; never back. Raises RemoteFailed."""
        self._run("push", "--porcelain", REMOTE, f"{commit}:refs/heads/{branch}")

    def record(self, commit: str) -> None:
        """Remember what the remote's main is. Raises RemoteFailed."""
        self._run("update-ref", TRACKING, commit)

    def tracked(self) -> str | None:
        """Return what the remote's main was when it was last heard of."""
        return self._run("for-each-ref", "--format=%(objectname)", TRACKING).strip() or None

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the newest commit that both come from; None: they have nothing in common."""
        return self._run("merge-base", one, other, may_fail=True).strip() or None

    def count(self, old: str | None, new: str) -> int:
        """Return how many commits `new` has that `old` has not."""
        return int(self._run("rev-list", "--count", new, *([f"^{old}"] if old else [])))

    def _run(self, *arguments: str, may_fail: bool = False) -> str:
        process = self._start(arguments)
        try:
            out, err = process.communicate(timeout=self._timeout_seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            raise self._failed(
                arguments[0], f"no answer within {self._timeout_seconds:.0f} s"
            ) from None
        finally:
            with self._lock:
                self._running = None
        if process.returncode and not (may_fail and process.returncode == 1):
            raise self._failed(arguments[0], (err + b"\n" + out).decode("utf-8", "replace"))
        return out.decode("utf-8", "replace")

    def _start(self, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_closed:
                raise self._failed(arguments[0], "the server is stopping")
            try:
                self._running = subprocess.Popen(
                    ["git", f"--git-dir={self._git_dir}", *arguments],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # its own helpers die with it
                )
            except OSError as ex:
                raise self._failed(arguments[0], f"git cannot be started: {ex.strerror}") from ex
            return self._running

    def _failed(self, what: str, said: str) -> RemoteFailed:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        told = " ".join(lines)[:MAX_MESSAGE_CHARACTERS]
        return RemoteFailed(self.address.redact(f"git {what} ({self.address.shown}): {told}"))


def _environment(address: RemoteAddress) -> dict[str, str]:
    """The address goes in by the environment: the list of processes is for everybody."""
    config = {**_CONFIG, f"remote.{REMOTE}.url": address.url}
    numbered = {}
    for number, (key, value) in enumerate(config.items()):
        numbered[f"GIT_CONFIG_KEY_{number}"] = key
        numbered[f"GIT_CONFIG_VALUE_{number}"] = value
    return {
        "GIT_CONFIG_COUNT": str(len(config)),
        **numbered,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",  # answers nothing, at once
        "SSH_ASKPASS": "true",
        "GIT_SSH_COMMAND": _SSH,
        "LC_ALL": "C.UTF-8",
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
