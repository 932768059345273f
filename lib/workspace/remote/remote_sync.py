"""Keeps main and the remote's main in step: ahead it is pushed, behind it follows.

Nothing is merged and nothing overwritten. Where both went on, ours is pushed to
a branch of its own, a person merges with stock git and pushes main, and we
follow.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from lib.clock import Clock
from lib.errors import FloomError
from lib.log import event
from lib.workspace.remote.git_command import GitCommand, RemoteFailed
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
        branch: Of the remote, for our commits where both sides went on.
        poll_seconds: How often the remote is asked when nothing is committed.
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        git: GitCommand,
        branch: str,
        clock: Clock,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._workspace = workspace
        self._git = git
        self._branch = branch
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._state = RemoteState(git.address.shown)
        self._aside: str | None = None  # what was last pushed to our own branch
        self._changed = threading.Condition()
        self._is_due = True
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="git-remote", daemon=True)

    def start(self) -> None:
        """Begin; what is committed from now on is pushed."""
        self._workspace.on_commit(self.notify)
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
        theirs = self._git.list_main()
        ours = self._workspace.refresh()
        if theirs is not None and theirs != self._git.tracked():
            self._git.fetch_main()
        if ours is None or theirs == ours:
            self._settle(ours, ours)
        elif theirs is None or (base := self._git.merge_base(ours, theirs)) == theirs:
            self._push(ours, "main")
            self._git.record(ours)
            self._settle(ours, ours)
        elif base == ours:
            self._workspace.fast_forward(ours, theirs)
            self._settle(theirs, theirs)
        elif base is None:
            raise Unrelated(
                f"{self._git.address.shown} holds another history. Point WORKEROS_GIT_REMOTE at an "
                "empty repository or at this workspace's own."
            )
        else:
            if self._aside != ours:
                self._push(ours, self._branch)
                self._aside = ours
            self._settle(ours, theirs, diverged=self._branch)

    def _push(self, commit: str, branch: str) -> None:
        self._git.push(commit, branch)
        with self._changed:
            self._state = replace(self._state, last_pushed_at=self._clock.now())

    def _settle(self, ours: str | None, theirs: str | None, *, diverged: str | None = None) -> None:
        ahead = self._git.count(theirs, ours) if ours is not None and ours != theirs else 0
        with self._changed:
            self._state = replace(
                self._state, ahead=ahead, last_error=None, diverged_branch=diverged
            )

    def _work(self) -> None:
        retry = FIRST_RETRY_SECONDS
        while self._begin():
            try:
                self.step()
            except (FloomError, OSError) as ex:
                self._tell(ex)
                self._rest(retry)
                retry = min(2 * retry, MAX_RETRY_SECONDS)
            else:
                retry = FIRST_RETRY_SECONDS
                self._rest_until_due(self._poll_seconds)

    def _tell(self, ex: Exception) -> None:
        error = self._git.address.redact(str(ex))
        with self._changed:
            is_closed, is_new = self._is_closed, error != self._state.last_error
            self._state = replace(self._state, last_error=error)
        if is_new and not is_closed:
            event(_log, logging.WARNING, "git_remote_failed", error=error)

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
