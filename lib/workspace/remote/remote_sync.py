"""Keeps main and the remote's main in step: ahead it is pushed, behind it follows.

Nothing is merged and nothing overwritten. Where both went on, ours is pushed to
a branch of its own, a person merges with stock git and pushes main, and we
follow.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from lib.clock import Clock, from_milliseconds, to_milliseconds
from lib.errors import FloomError
from lib.log import event
from lib.workspace.errors import ObjectNotFound
from lib.workspace.remote.git_command import GitCommand, RemoteFailed
from lib.workspace.remote.memory import Memory
from lib.workspace.workspace import Workspace

POLL_SECONDS: Final = 30.0
FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RemoteState:
    """How the workspace and its remote stand.

    Attributes:
        url: The remote's, without credentials.
        ahead: Commits that the remote's main has not; None before it was first heard of.
        last_error: Why the last try failed, without credentials; None: it did not.
        last_pushed_at: When main, or the branch of our own, was last pushed.
        diverged_branch: The remote's branch that our commits were pushed to, while
            its main and ours went different ways.
    """

    url: str
    ahead: int | None = None
    last_error: str | None = None
    last_pushed_at: datetime | None = None
    diverged_branch: str | None = None


class Unrelated(RemoteFailed):
    """The remote holds another history."""


class RemoteSync:
    """One thread that pushes and follows.

    Args:
        workspace: Whose main it is.
        git: The command, for this remote.
        memory: What is known of this remote, kept over restarts.
        branch: Of the remote, for our commits where both sides went on.
        poll_seconds: How often the remote is asked when nothing is committed.
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        git: GitCommand,
        memory: Memory,
        branch: str,
        clock: Clock,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._workspace = workspace
        self._git = git
        self._memory = memory
        self._branch = branch
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._state = RemoteState(git.address.url, last_pushed_at=_pushed_at(memory))
        self._changed = threading.Condition()
        self._is_due = True
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="git-remote", daemon=True)

    def start(self) -> None:
        """Begin; what is committed from now on is pushed."""
        self._workspace.on_tip(self.notify)
        self._thread.start()

    def close(self) -> None:
        """End what runs, and the thread; idempotent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._git.close()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_SECONDS)

    def notify(self) -> None:
        """Say that there may be something to push; returns at once."""
        with self._changed:
            self._is_due = True
            self._changed.notify_all()

    def state(self) -> RemoteState:
        """Return how things stand."""
        with self._changed:
            return self._state

    def step(self) -> None:
        """Bring both sides into step once, as far as that goes.

        Raises:
            RemoteFailed: the remote could not be reached, or refused.
            FloomError: the repository cannot be used.
        """
        heads = self._git.list_heads()
        theirs = self._git.main_of(heads)
        ours = self._workspace.refresh()
        if ours is None:
            return
        if theirs is None:
            self._push(ours, "main")
            self._in_step(ours)
        elif theirs == ours:
            self._in_step(ours)
        else:
            self._join(ours, theirs, known=heads.get(self._branch))

    def _join(self, ours: str, theirs: str, *, known: str | None) -> None:
        """Bring two tips together that differ; `known` is what our branch there has."""
        if theirs != self._memory.known.seen or not self._has(theirs):
            self._git.fetch_main()
            self._memory.keep(replace(self._memory.known, seen=theirs))
        base = self._git.merge_base(ours, theirs)
        if base is None:
            raise Unrelated(
                f"{self._git.address.url} holds another history. Point WORKEROS_GIT_REMOTE at an "
                "empty repository or at this workspace's own."
            )
        if base == ours:
            if self._workspace.fast_forward(ours, theirs):
                self._in_step(theirs)
            else:
                self.notify()  # a commit came first: look again
        elif base == theirs and not self._was_shortened(theirs):
            self._push(ours, "main")
            self._in_step(ours)
        else:
            if known != ours:
                self._push(ours, self._branch)
            self._tell_of_divergence(self._git.count(theirs, ours))

    def _was_shortened(self, theirs: str) -> bool:
        """Whether main there has lost commits that both had: not ours to bring back."""
        synced = self._memory.known.synced
        if synced is None or not self._has(synced):
            return False
        return self._git.merge_base(synced, theirs) != synced

    def _has(self, commit: str) -> bool:
        try:
            self._workspace.commit_info(commit)
        except ObjectNotFound:
            return False
        return True

    def _push(self, commit: str, branch: str) -> None:
        self._git.push(commit, branch)
        now = to_milliseconds(self._clock.now())
        self._memory.keep(replace(self._memory.known, pushed_at=now))

    def _in_step(self, commit: str) -> None:
        self._memory.keep(replace(self._memory.known, seen=commit, synced=commit))
        self._change(ahead=0, last_error=None, diverged_branch=None)

    def _tell_of_divergence(self, ahead: int) -> None:
        if self.state().diverged_branch is None:
            event(
                _log,
                logging.WARNING,
                "git_remote_diverged",
                remote=self._git.address.url,
                branch=self._branch,
            )
        self._change(ahead=ahead, last_error=None, diverged_branch=self._branch)

    def _change(
        self, *, ahead: int | None, last_error: str | None, diverged_branch: str | None
    ) -> None:
        with self._changed:
            self._state = RemoteState(
                url=self._git.address.url,
                ahead=ahead,
                last_error=last_error,
                last_pushed_at=_pushed_at(self._memory),
                diverged_branch=diverged_branch,
            )

    def _work(self) -> None:
        retry = FIRST_RETRY_SECONDS
        while self._begin():
            try:
                self.step()
            except Exception as ex:  # noqa: BLE001  # the thread must live
                self._tell(ex)
                self._rest(retry)
                retry = min(2 * retry, MAX_RETRY_SECONDS)
            else:
                retry = FIRST_RETRY_SECONDS
                self._rest_until_due(self._poll_seconds)

    def _tell(self, ex: Exception) -> None:
        error = self._git.address.redact(str(ex) or type(ex).__name__)
        with self._changed:
            is_closed, is_new = self._is_closed, error != self._state.last_error
        if is_closed:
            return
        self._change(
            ahead=self._waiting(), last_error=error, diverged_branch=self.state().diverged_branch
        )
        if is_new:
            event(_log, logging.WARNING, "git_remote_failed", error=error)

    def _waiting(self) -> int | None:
        """Count the commits that the remote had not when it was last heard of."""
        seen = self._memory.known.seen
        with suppress(FloomError, ValueError):
            tip = self._workspace.tip()
            return None if seen is None or tip is None else self._git.count(seen, tip)
        return None

    def _begin(self) -> bool:
        """Take what is due; False when it is over."""
        with self._changed:
            self._is_due = False
            return not self._is_closed

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, seconds)

    def _rest_until_due(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_due or self._is_closed, seconds)


def _pushed_at(memory: Memory) -> datetime | None:
    pushed = memory.known.pushed_at
    return None if pushed is None else from_milliseconds(pushed)
