"""A new workspace's beginning: what the remote holds."""

from __future__ import annotations

from lib.workspace.errors import WorkspaceUnavailable
from lib.workspace.remote.git_command import GitCommand, RemoteFailed
from lib.workspace.remote.memory import Known, Memory


class RemoteOrigin:
    """The remote's main, fetched.

    Args:
        git: The command, for this remote.
        memory: What is known of this remote.
    """

    def __init__(self, git: GitCommand, memory: Memory) -> None:
        self._git = git
        self._memory = memory

    def find(self, tip: str | None) -> str | None:
        """Return the remote's main, fetched; None where it is empty, or had `tip` before.

        Raises:
            WorkspaceUnavailable: the remote cannot be reached, so nobody knows
                whether it holds the workspace.
        """
        try:
            if tip is not None and self._memory.known.synced == tip:
                return None  # both began together; it is pushed and followed from here on
            commit = self._git.main_of(self._git.list_heads())
            if commit is not None:
                self._git.fetch_main()
                # Only `seen`: a start that is cut short here must find a fresh one again.
                self._memory.keep(Known(self._memory.known.url, seen=commit))
            return commit
        except RemoteFailed as ex:
            raise WorkspaceUnavailable(
                "This workspace is new here and WORKEROS_GIT_REMOTE cannot be read, so nobody knows "
                f"whether it is there already. Mend that, or unset the variable. {ex}"
            ) from ex
