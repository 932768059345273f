"""The `git` command, for what goes over the network: listing, fetching, pushing.

It brings what people have set up for it: ssh agents, credential helpers,
certificates. Commits are never made by it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from lib.errors import Unavailable
from lib.git_address import RemoteAddress
from lib.workspace.remote import process

LIST_SECONDS: Final = 30.0
TRANSFER_SECONDS: Final = 600.0
STALE_LOCK_SECONDS: Final = 60.0  # git holds a ref's lock for milliseconds
MAX_MESSAGE_CHARACTERS: Final = 500
REMOTE: Final = "floom"
TRACKING: Final = "refs/floom/remote/main"
MAIN: Final = "refs/heads/main"
OWN_BRANCHES: Final = "floom/"  # of workspaces that went another way than main

_HEAD: Final = re.compile(r"([0-9a-f]{40})\trefs/heads/(.+)\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")

_CONFIG: Final = {
    "core.hooksPath": "/dev/null",
    "fetch.fsckObjects": "true",
    "fetch.unpackLimit": "1",  # a pack stays a pack, and is forced to disk
    "repack.useDeltaBaseOffset": "false",  # nor does the sender use it: our merge copies entries
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
        timeout_seconds: For a transfer.
    """

    def __init__(
        self,
        git_dir: Path,
        address: RemoteAddress,
        *,
        variables: Mapping[str, str],
        timeout_seconds: float = TRANSFER_SECONDS,
    ) -> None:
        self.address = address
        self._git_dir = git_dir
        self._environment = {**variables, **_environment(address)}
        self._timeout_seconds = timeout_seconds
        self._closing = threading.Event()

    def close(self) -> None:
        """End what runs, at once; nothing starts after it."""
        self._closing.set()

    def list_heads(self) -> dict[str, str]:
        """Return the remote's branches with their tips. Raises RemoteFailed."""
        out = self._run("ls-remote", "--heads", "--refs", REMOTE, seconds=LIST_SECONDS)
        rows = (_HEAD.match(line) for line in out.splitlines())
        return {row[2]: row[1] for row in rows if row}

    def main_of(self, heads: Mapping[str, str]) -> str | None:
        """Return main's tip among the remote's branches; None for a remote that is empty.

        Raises:
            RemoteFailed: it has branches, but no main: what is it for?
        """
        main = heads.get("main")
        others = sorted(name for name in heads if not name.startswith(OWN_BRANCHES))
        if main is None and others:
            named = _CONTROL.sub(" ", ", ".join(others[:3]))
            raise RemoteFailed(
                f"{self.address.url} has branches ({named}), but no main. Name one of them so, or "
                "take an empty repository."
            )
        return main

    def fetch_main(self) -> None:
        """Bring the remote's main, and all that it needs, to TRACKING. Raises RemoteFailed."""
        self._remove_stale_lock()
        self._run(
            "fetch", "--quiet", "--no-tags", "--no-prune", "--no-recurse-submodules",
            "--no-write-fetch-head", REMOTE, f"+{MAIN}:{TRACKING}",
            seconds=self._timeout_seconds,
        )  # fmt: skip

    def push(self, commit: str, branch: str) -> None:
        """Move a branch of the remote ahead to a commit; never back. Raises RemoteFailed."""
        self._run(
            "push", "--quiet", "--porcelain", "--no-follow-tags", "--recurse-submodules=no",
            REMOTE, f"{commit}:refs/heads/{branch}",
            seconds=self._timeout_seconds,
        )  # fmt: skip

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the newest commit that both come from; None: they have nothing in common."""
        return self._run("merge-base", one, other, may_fail=True).strip() or None

    def count(self, old: str, new: str) -> int:
        """Return how many commits `new` has that `old` has not."""
        return int(self._run("rev-list", "--count", new, f"^{old}"))

    def _run(self, *arguments: str, seconds: float = LIST_SECONDS, may_fail: bool = False) -> str:
        what = arguments[0]
        try:
            output = process.run(
                ["git", f"--git-dir={self._git_dir}", *arguments],
                environment=self._environment,
                seconds=seconds,
                closing=self._closing,
            )
        except process.Closed:
            raise self._failed(what, "the server is stopping") from None
        except TimeoutError:
            raise self._failed(what, f"no answer within {seconds:.0f} s") from None
        except OSError as ex:
            raise self._failed(what, f"git cannot be started: {ex.strerror}") from ex
        if output.status and not (may_fail and output.status == 1):
            raise self._failed(what, f"{output.errors}\n{output.out}")
        return output.out

    def _failed(self, what: str, said: str) -> RemoteFailed:
        lines = (_CONTROL.sub(" ", line).strip() for line in said.splitlines())
        # redacted before it is cut: half a password is none that is found
        told = self.address.redact(" ".join(line for line in lines if line))
        return RemoteFailed(f"git {what} ({self.address.url}): {told[:MAX_MESSAGE_CHARACTERS]}")

    def _remove_stale_lock(self) -> None:
        """Remove what a git that was killed left behind: it would stand in the way for ever."""
        lock = self._git_dir / f"{TRACKING}.lock"
        with suppress(OSError):
            if time.time() - lock.stat().st_mtime > STALE_LOCK_SECONDS:
                lock.unlink()


def _environment(address: RemoteAddress) -> dict[str, str]:
    """Address and credentials go in by the environment: process lists are for everybody.

    Not the credentials within the address: that git's helper for http gets as an
    argument.
    """
    config = {**_CONFIG, f"remote.{REMOTE}.url": address.url}
    if address.authorization is not None:
        config[f"http.{address.url}.extraHeader"] = f"Authorization: {address.authorization}"
    elif address.user is not None:
        config[f"credential.{address.url}.username"] = address.user
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
