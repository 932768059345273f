"""A folder that an installer filled: taken over, made read-only, removed.

What a package's build left there is not trusted: links are never followed
blindly, and what is neither a file, a folder nor a link that stays inside is
refused.
"""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
from pathlib import Path
from typing import Final

from lib.environments.recipe import InstallError

PROGRAMS: Final = "bin"  # at the top: console scripts of Python packages
LINKS_TO_PROGRAMS: Final = ".bin"  # anywhere below: npm's

_BLOCK_BYTES: Final = 512  # unit of st_blocks, stat(2)
_FOLDER_MODE: Final = 0o555
_PROGRAM_MODE: Final = 0o555  # and no set-user-id bit
_FILE_MODE: Final = 0o444


def seal(path: Path) -> int:
    """Make a tree this user's and read-only for everybody; return its bytes on disk.

    Nothing may be writing to it any more.

    Raises:
        InstallError: it holds a device, a pipe or a link that leaves it.
    """
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        # A link in its place would lead what follows to files of the host.
        raise InstallError("The packages are not in a folder any more")
    try:
        total = _Seal(path).close_all()
    except RecursionError:
        raise InstallError("The packages hold folders that are nested too deep") from None
    os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
    path.chmod(_FOLDER_MODE)
    return total


def remove(path: Path) -> None:
    """Delete a tree, however deep and whatever its modes; no error when it is not there."""
    if not path.is_symlink() and path.is_dir():
        subprocess.run(["chmod", "-R", "u+rwx", "--", str(path)], check=False, env={}, stderr=-3)
    subprocess.run(["rm", "-rf", "--", str(path)], check=False, env={}, stderr=-3)


def sync_filesystem(path: Path) -> None:
    """Force all of the file system that holds `path` to disk, syncfs(2).

    One call: syncing thousands of files one by one takes seconds.

    Raises:
        OSError: what was written could not be stored.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


class _Seal:
    """One tree while it is sealed."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        self._programs: list[Path] = []

    def close_all(self) -> int:
        """Seal every entry below the root; return their bytes on disk."""
        # Bottom up: a folder that was closed cannot be walked by anybody but root.
        walk = os.fwalk(self._root, topdown=False, follow_symlinks=False, onerror=_raise)
        total = sum(
            self._close(Path(here), name, folder)
            for here, folders, files, folder in walk
            for name in (*folders, *files)
        )
        # Without namespaces a confined installer's chmod only seems to work.
        for program in self._programs:
            if stat.S_ISREG(os.lstat(program).st_mode):
                program.chmod(_PROGRAM_MODE)
        return total

    def _close(self, here: Path, name: str, folder: int) -> int:
        entry = os.stat(name, dir_fd=folder, follow_symlinks=False)
        os.chown(name, os.geteuid(), os.getegid(), dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(entry.st_mode):
            self._check_link(here, name, folder)
        elif stat.S_ISDIR(entry.st_mode):
            os.chmod(name, _FOLDER_MODE, dir_fd=folder)
        elif stat.S_ISREG(entry.st_mode):
            is_program = entry.st_mode & 0o111 or here == self._root / PROGRAMS
            os.chmod(name, _PROGRAM_MODE if is_program else _FILE_MODE, dir_fd=folder)
        else:
            raise InstallError(f"The packages hold {name[:80]!r}, which is no file and no folder")
        return entry.st_blocks * _BLOCK_BYTES

    def _check_link(self, here: Path, name: str, folder: int) -> None:
        """Refuse a link that leaves the tree, also by way of other links."""
        leads_to = Path(os.path.realpath(here / name))
        is_absolute = os.readlink(name, dir_fd=folder).startswith("/")
        if is_absolute or not leads_to.is_relative_to(self._root):
            raise InstallError(f"The packages hold a link {name[:80]!r} that leaves their folder")
        if here.name == LINKS_TO_PROGRAMS and leads_to.exists():
            self._programs.append(leads_to)


def _raise(error: OSError) -> None:
    raise error
