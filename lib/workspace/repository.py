"""`<root>/.git`: made, checked, and held open.

Its config says `core.bare = true`: stock `git log`, `clone` and `push` work in
it, while `add` and `commit` inside the folder refuse. There is no index that
could fall out of step with our commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dulwich.config import ConfigFile

from lib.workspace.durable import Syncer, fsync_path, replace_file
from lib.workspace.errors import ObjectNotFound, WorkspaceUnavailable
from lib.workspace.locks import Turnstile
from lib.workspace.object_store import ObjectStore
from lib.workspace.packs import Pack, remove_unfinished
from lib.workspace.ref import BRANCH, Ref
from lib.workspace.tree_objects import EMPTY_TREE

# Runs are frozen at a tree id: history that a push rewrote or deleted could be
# collected. What a push brings must pass the same fsck as what we write.
_CONFIG: Final = b"""\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
[receive]
\tdenyNonFastForwards = true
\tdenyDeletes = true
\tfsckObjects = true
[gc]
\tauto = 0
"""
_ENGINE_MARKS: Final = ("pyproject.toml", "local_server.py", "lib", "handlers")
_FOLDERS: Final = ("objects/pack", "objects/info", "refs/heads", "refs/tags", "floom/tmp")


class Repository:
    """One bare repository and the folder `.git/floom` of our own beside it.

    Attributes:
        store: Its objects.
        ref: Its branch.
        turnstile: To be held by whoever moves the branch or writes the folder.
        scratch: For files on their way; the same file system as the work tree.
    """

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self.git_dir = root / ".git"
        self.scratch = self.git_dir / "floom/tmp"
        self.packs = self.git_dir / "objects/pack"
        self.store = ObjectStore(self.git_dir / "objects")
        self.ref = Ref(self.git_dir, self.scratch)
        self.turnstile = Turnstile(self.git_dir / "floom")
        self.syncer = Syncer(enabled=durable)

    @classmethod
    def open(cls, root: Path, *, engine_root: Path, durable: bool = True) -> Repository:
        """Open the repository of `root`, creating what is not there; idempotent.

        Args:
            root: The workspace's folder. Its parents are never searched.
            engine_root: Our own checkout, which is refused.
            durable: Force commits to disk.

        Raises:
            WorkspaceUnavailable: the folder is refused, or cannot be written;
                the message says what to do.
        """
        refuse_engine(root, engine_root)
        with explained(f"The workspace folder {root} cannot be used"):
            _create(root / ".git")
            _check_config(root)
            repository = cls(root, durable=durable)
            with repository.turnstile.held():
                repository.remove_leftovers()
                if repository.tip() is None:
                    _check_branches(repository.git_dir)
        return repository

    def close(self) -> None:
        """Close open packs and end threads; idempotent."""
        self.syncer.close()
        self.store.close()

    def tip(self) -> str | None:
        """Return main's commit, or None before the first one.

        Raises:
            WorkspaceUnavailable: the branch cannot be read.
        """
        with explained(f"The branch main in {self.git_dir} cannot be read"):
            return self.ref.read()

    def tree_of(self, tip: str | None) -> str:
        """Return the id of a tip's tree; the empty tree's before the first commit.

        Raises:
            WorkspaceUnavailable: the commit is not there: the repository is damaged.
        """
        try:
            return self.store.commit(tip).tree if tip else EMPTY_TREE
        except ObjectNotFound as ex:
            raise WorkspaceUnavailable(
                f"The branch main in {self.git_dir} names {tip}, which is missing; see `git fsck`."
            ) from ex

    def install(self, pack: Pack, tip: str) -> Path:
        """Put a pack in place, on disk, and return a staged value for the branch.

        The caller holds the turnstile, and `discard`s the pack if the branch
        does not move after all.

        Raises:
            OSError: it cannot be written.
        """
        value = self.ref.stage(tip)
        self._add(pack, value)
        return value

    def add_pack(self, pack: Pack) -> None:
        """Put a pack in place, on disk. The caller holds the turnstile.

        Raises:
            OSError: it cannot be written; what is there of it is not used.
        """
        self._add(pack)

    def _add(self, pack: Pack, *also: Path) -> None:
        try:
            self.syncer.sync([*pack.stage(self.scratch), *also])
            pack.link(self.scratch, self.packs)
            self.syncer.sync([self.packs])
        except OSError:
            with suppress(OSError):  # the first failure is the one to tell
                pack.remove(self.scratch)
            raise

    def point(self, old: str | None, new: str) -> bool:
        """Move main to a commit that is there, on disk; False where it is not at `old`.

        The caller holds the turnstile.

        Raises:
            OSError: it cannot be written.
        """
        value = self.ref.stage(new)
        self.syncer.sync([value])
        moved = self.ref.move(old, value)
        value.unlink(missing_ok=True)
        self.syncer.sync([self.ref.folder])
        return moved

    def keep(self, commit: str) -> None:
        """Keep a commit that no branch leads to any more from being collected.

        Raises:
            OSError: it cannot be written.
        """
        kept = self.git_dir / "refs/floom/kept" / commit
        kept.parent.mkdir(parents=True, exist_ok=True)
        replace_file(kept, commit.encode() + b"\n")

    def discard(self, pack: Pack, tip: str) -> None:
        """Take away what `install` left of a pack whose tip did not become main's."""
        try:
            if self.ref.read() == tip:
                return  # it did, and only what came after failed
        except OSError:
            return  # it may have: an unused pack costs less than a missing one
        with suppress(OSError):  # the first failure is the one to tell
            pack.remove(self.scratch)
            self.ref.remove_leftovers()
            pack.remove(self.packs)
        self.store.forget_packs()  # a reader may have opened it meanwhile

    def remove_leftovers(self) -> None:
        """Clean up after a killed writer. The caller holds the turnstile."""
        self.ref.remove_leftovers()
        remove_unfinished(self.packs, self.scratch)
        for left in self.scratch.iterdir():
            left.unlink(missing_ok=True)


def refuse_engine(root: Path, engine_root: Path) -> None:
    """Refuse a root that is the engine's own checkout; one inside it is fine.

    Raises:
        WorkspaceUnavailable: it is.
    """
    is_checkout = all((root / mark).exists() for mark in _ENGINE_MARKS)
    if is_checkout or root.resolve() == engine_root.resolve():
        raise WorkspaceUnavailable(
            f"{root} is the engine's own checkout. Set WORKEROS_WORKSPACE_DIR to another folder."
        )


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn the system's errors into one that says what cannot be done.

    Raises:
        WorkspaceUnavailable: an OSError came up inside.
    """
    try:
        yield
    except OSError as ex:
        raise WorkspaceUnavailable(f"{what}: {ex.strerror or ex}.") from ex


def _create(git_dir: Path) -> None:
    if git_dir.is_file():
        raise WorkspaceUnavailable(
            f"{git_dir} is a file: the folder is a worktree or submodule of another repository. "
            "Give the workspace a folder of its own."
        )
    for name in _FOLDERS:
        (git_dir / name).mkdir(parents=True, exist_ok=True)
    _create_file(git_dir / "config", _CONFIG)
    _create_file(git_dir / "HEAD", f"ref: {BRANCH}\n".encode())  # last: git looks for it
    fsync_path(git_dir)


def _create_file(path: Path, data: bytes) -> None:
    """Write a file unless it is there; a process killed here leaves it whole or absent."""
    if not path.exists():
        replace_file(path, data)


def _check_branches(git_dir: Path) -> None:
    """Refuse a repository with history that is not on main: seeding would hide it."""
    branches = [path.name for path in (git_dir / "refs/heads").iterdir()]
    packed = git_dir / "packed-refs"
    if branches or (packed.exists() and "refs/heads/" in packed.read_text("utf-8", "replace")):
        raise WorkspaceUnavailable(
            f"The repository in {git_dir.parent} has branches, but no main. Name one so: "
            f"git -C '{git_dir.parent}' branch -m <branch> main"
        )


def _check_config(root: Path) -> None:
    try:
        config = ConfigFile.from_path(str(root / ".git/config"))
        is_bare = config.get_boolean((b"core",), b"bare", default=False)
    except ValueError as ex:
        raise WorkspaceUnavailable(f"{root}/.git/config is not readable as git's.") from ex
    if not is_bare:
        raise WorkspaceUnavailable(
            f"The repository in {root} has core.bare=false, so `git commit` there and the engine "
            f"would undo each other. Change it with: git -C '{root}' config core.bare true"
        )
    for key, plain in ((b"objectformat", b"sha1"), (b"refstorage", b"files")):
        if _extension(config, key) not in {None, plain}:
            raise WorkspaceUnavailable(
                f"The repository in {root} uses extensions.{key.decode()}; only "
                f"{plain.decode()} is supported."
            )


def _extension(config: ConfigFile, key: bytes) -> bytes | None:
    try:
        return config.get((b"extensions",), key)
    except KeyError:
        return None
