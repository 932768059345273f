"""A root folder for one run, and leaving the host's behind.

Everything is opened as a detached copy of a mount before it is attached, so
that nothing hides what is still to be shown.
It needs Linux 5.12 (`mount_setattr`), which makes a copy read-only with all
mounts below it in one call.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from typing import Final

from lib.sandbox import namespaces, syscalls
from lib.sandbox.host_view import HostView, is_below
from lib.sandbox.namespaces import Mounts

_MS_NOSUID: Final = 2  # linux/mount.h
_MS_NODEV: Final = 4
_MS_NOEXEC: Final = 8
_MS_RDONLY: Final = 1
_MNT_DETACH: Final = 2

_OPEN_TREE_CLONE: Final = 1
_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_MOVE_FROM_DESCRIPTOR: Final = 0x4  # MOVE_MOUNT_F_EMPTY_PATH

_FSOPEN_CLOEXEC: Final = 1  # FSMOUNT_CLOEXEC too
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CREATE: Final = 6

_READ_ONLY: Final = 1  # MOUNT_ATTR_*
_NO_SUID: Final = 2
_NO_DEVICES: Final = 4
_ATTRIBUTES: Final = struct.Struct("=QQQQ")  # set, clear, propagation, user namespace

_PLAIN: Final = _MS_NOSUID | _MS_NODEV
_ROOT_OPTIONS: Final = "size=1m,nr_inodes=1k,mode=755"
_SCRATCH_INODES: Final = 16_384
# Without it init's folder would show the host's network, in which init is, and its
# mounts, and what runs before have used. From Linux 5.8.
_PROC_OPTIONS: Final = "hidepid=ptraceable"

_STREAM_LINKS: Final = (
    ("/proc/self/fd", "dev/fd"),
    ("/proc/self/fd/0", "dev/stdin"),
    ("/proc/self/fd/1", "dev/stdout"),
    ("/proc/self/fd/2", "dev/stderr"),
)


@dataclass(frozen=True, slots=True)
class Passage:
    """Between the host's folders and those in a new root, until somebody has moved in.

    Who has it can go back, so both are to be closed before anything of a run begins.

    Attributes:
        outside: Where the host is seen.
        inside: The new root's own.
    """

    outside: Mounts
    inside: Mounts


@dataclass(frozen=True, slots=True)
class NewRoot:
    """A root folder in two steps: what all runs see, then what only this one does.

    The first step knows nothing of the run, so it can be done before there is one.

    Attributes:
        stage: A folder of the host to build on; nothing in it is touched.
        home: Where the worker sees its folder.
        hidden: Folders of the host that stay empty even where they lie below a
            readable path.
        scratch_bytes: Size of `/tmp` and of `/dev/shm`, each.
        shows_processes: Whether `/proc` is mounted; the process must be in the
            pid namespace that it is to show. Who looks sees what it could trace, if
            anybody could: its own processes.
    """

    view: HostView
    stage: str
    home: str
    hidden: tuple[str, ...]
    scratch_bytes: int
    shows_processes: bool

    def lay_out(self, user: int, group: int) -> Passage:
        """Build it in a mount namespace of this process's own, and leave the host's root behind.

        The working folder is the new root then. Needs CAP_SYS_ADMIN in the user
        namespace that owns the mount namespace which is left. Detaching a root waits
        for all processors, so it is not what a run should wait for.

        Args:
            user: Id of the worker, for `/etc/passwd`.
            group: Its group.

        Raises:
            OSError: the kernel refused, or a path is not there.
        """
        outside = Mounts.of_this_process()
        namespaces.leave_mounts()
        own = namespaces.open_mounts()  # while there is a /proc for certain
        trees = self._open_trees()
        _mount("root", self.stage, "tmpfs", _PLAIN, _ROOT_OPTIONS)
        os.chdir(self.stage)
        self._furnish()
        for name, text in _accounts(user, group, self.home).items():
            _write(f"etc/{name}", text)
        for target, tree in trees:
            _attach(tree, target)
        if self.shows_processes:
            flags = _PLAIN | _MS_NOEXEC | _MS_RDONLY
            _mount("proc", "proc", "proc", flags, _PROC_OPTIONS)
        _pivot()
        return Passage(outside, inside=Mounts(own, namespaces.open_root()))

    def move_in(self, passage: Passage, work: str, readable: tuple[str, ...]) -> None:
        """Show the run's own folders in what `lay_out` built.

        The working folder is then `home`.

        Args:
            passage: What `lay_out` returned.
            work: The run's folder on the host.
            readable: Further read-only paths, shown even below `hidden`.

        Raises:
            OSError: the kernel refused, or a path is not there.
        """
        passage.outside.enter()
        trees = [(path, _open_tree(path, _READ_ONLY)) for path in readable]
        trees.append((self.home, _open_tree(work)))
        passage.inside.enter()
        for target, tree in trees:
            _attach(tree, target)
        _set_attributes(_AT_FDCWD, "/", _READ_ONLY, recursive=False)
        os.chdir(self.home)

    def _open_trees(self) -> list[tuple[str, int]]:
        """Return what is to be mounted, in this order: later ones may lie on earlier ones."""
        trees = [(path, _open_tree(path, _READ_ONLY)) for path in self.view.readable]
        trees += [(f"/dev/{name}", _open_device(f"/dev/{name}")) for name in self.view.devices]
        return trees + [(path, _new_tree()) for path in self._covered()]

    def _covered(self) -> list[str]:
        """Return the hidden folders that a readable path would show."""
        return [
            path
            for path in self.hidden
            if any(is_below(path, readable) for readable in self.view.readable)
        ]

    def _furnish(self) -> None:
        """Make folders, links and the few files of `/etc` in the empty root."""
        for folder in ("dev", "etc", "proc", "tmp", "dev/shm"):
            os.mkdir(folder)  # noqa: PTH102 - relative to the new root, on the hot path
        for points_to, path in (*self.view.links, *_STREAM_LINKS):
            os.symlink(points_to, path.lstrip("/"))  # noqa: PTH211
        for name, text in _SETTINGS.items():
            _write(f"etc/{name}", text)
        # Private, and in place before what may have to be shown below it.
        scratch = f"size={self.scratch_bytes},nr_inodes={_SCRATCH_INODES},mode=1777"
        _mount("tmp", "tmp", "tmpfs", _PLAIN, scratch)
        _mount("shm", "dev/shm", "tmpfs", _PLAIN, scratch)


_SETTINGS: Final = {
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "resolv.conf": "",
}


def _accounts(user: int, group: int, home: str) -> dict[str, str]:
    return {
        "passwd": f"worker:x:{user}:{group}::{home}:/bin/sh\n",
        "group": f"worker:x:{group}:\n",
    }


def _open_tree(path: str, attributes: int = 0) -> int:
    """Return a detached copy of what is mounted at and below a path, which nothing follows.

    Else what is mounted on the one would appear on the other, where the host shares mounts.
    """
    tree = _copy_mount(path, _AT_RECURSIVE)
    _set_attributes(tree, "", attributes | _NO_SUID | _NO_DEVICES, recursive=True)
    return tree


def _open_device(path: str) -> int:
    """Return a detached copy of one device's file; `nodev` would switch it off."""
    return _copy_mount(path, 0)


def _copy_mount(path: str, flags: int) -> int:
    flags |= _OPEN_TREE_CLONE | os.O_CLOEXEC
    return syscalls.call("open_tree", _AT_FDCWD, path.encode(), flags)


def _new_tree() -> int:
    """Return a small, empty file system, not mounted anywhere."""
    context = syscalls.call("fsopen", b"tmpfs", _FSOPEN_CLOEXEC)
    try:
        for key, value in (("size", "64k"), ("mode", "755")):
            syscalls.call(
                "fsconfig", context, _FSCONFIG_SET_STRING, key.encode(), value.encode(), 0
            )
        syscalls.call("fsconfig", context, _FSCONFIG_CREATE, None, None, 0)
        return syscalls.call("fsmount", context, _FSOPEN_CLOEXEC, _NO_SUID | _NO_DEVICES)
    finally:
        os.close(context)


def _set_attributes(folder: int, path: str, attributes: int, *, recursive: bool) -> None:
    flags = (0 if path else _AT_EMPTY_PATH) | (_AT_RECURSIVE if recursive else 0)
    packed = _ATTRIBUTES.pack(attributes, 0, namespaces.PRIVATE, 0)
    syscalls.call("mount_setattr", folder, path.encode(), flags, packed, len(packed))


def _attach(tree: int, target: str) -> None:
    """Mount a detached copy at a path of the new root, the working folder."""
    inside = target.lstrip("/")
    _make_place(inside, is_folder=stat.S_ISDIR(os.fstat(tree).st_mode))
    syscalls.call("move_mount", tree, b"", _AT_FDCWD, inside.encode(), _MOVE_FROM_DESCRIPTOR)
    os.close(tree)


def _make_place(path: str, *, is_folder: bool) -> None:
    """Make something to mount on, with all folders above it."""
    folder, _, _ = path.rpartition("/")
    try:
        if is_folder:
            os.mkdir(path)  # noqa: PTH102
        else:
            os.mknod(path)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_place(folder, is_folder=True)
        _make_place(path, is_folder=is_folder)


def _pivot() -> None:
    """Make the working folder the root; the old one is stacked on it, then gone."""
    syscalls.call("pivot_root", b".", b".")
    syscalls.call("umount2", b".", _MNT_DETACH)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str = ""
) -> None:
    syscalls.call(
        "mount", _optional(source), target.encode(), _optional(kind), flags, options.encode()
    )


def _optional(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
