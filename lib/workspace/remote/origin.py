"""A new workspace's beginning: what the remote holds."""

from __future__ import annotations

from lib.workspace.errors import WorkspaceUnavailable
from lib.workspace.remote.git_command import GitCommand, RemoteFailed


class RemoteOrigin:
    """The remote's main, fetched.

    Args:
        git: The command, for this remote.
    """

    def __init__(self, git: GitCommand) -> None:
        self._git = git

    def find(self) -> str | None:
        """Return the remote's main, fetched; None where it is empty, or was known before.

        Raises:
            WorkspaceUnavailable: the remote cannot be reached, so nobody knows
                whether it holds the workspace.
        """
        try:
            if self._git.tracked() is not None:
                return None  # both began together; it is pushed and followed from here on
            commit = self._git.list_main()
            if commit is not None:
                self._git.fetch_main()
            return commit
        except RemoteFailed as ex:
            raise WorkspaceUnavailable(
                "This workspace is new here and WORKEROS_GIT_REMOTE cannot be read, so nobody knows "
                f"whether it is there already. Mend that, or unset the variable. {ex}"
            ) from ex
