"""A workspace in a temporary folder, and stock git to judge it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib.clock import Clock, ManualClock
from lib.workspace.workspace import Author, CommitResult, Edit, Put, Workspace

ANNA = Author("Anna", "anna@example.org")
DEADLINE_SECONDS = 20.0
_GIT_ENV = {
    "PATH": os.defpath + ":/usr/local/bin",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Peter",
    "GIT_AUTHOR_EMAIL": "peter@example.org",
    "GIT_COMMITTER_NAME": "Peter",
    "GIT_COMMITTER_EMAIL": "peter@example.org",
}


@dataclass
class Place:
    """Where a workspace lies. `seed` has one worker, `hello`."""

    base: Path

    @property
    def root(self) -> Path:
        return self.base / "ws"

    @property
    def state(self) -> Path:
        return self.base / "data"

    @property
    def engine(self) -> Path:
        return self.base / "engine"

    @property
    def seed(self) -> Path:
        return self.base / "shipped"

    def make_seed(self) -> None:
        write(self.seed / "hello/worker.yml", b"name: hello\n")
        write(self.seed / "hello/run.py", b"print('hello')\n")
        self.engine.mkdir(exist_ok=True)

    def open(self, *, clock: Clock | None = None) -> Workspace:
        return Workspace.open(
            self.root,
            state_dir=self.state,
            engine_root=self.engine,
            seed=self.seed,
            clock=clock or ManualClock(),
        )

    def git(self, *args: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", "-c", "init.defaultBranch=main", *args],
            cwd=cwd or self.root,
            env=_GIT_ENV,
            check=False,
            capture_output=True,
        )
        output = (done.stdout + done.stderr).decode(errors="surrogateescape")
        assert done.returncode == 0, output
        return done.stdout.decode(errors="surrogateescape")

    def git_fails(self, *args: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *args], cwd=cwd or self.root, env=_GIT_ENV, check=False, capture_output=True
        )
        assert done.returncode != 0
        return done.stderr.decode()

    def fsck(self) -> None:
        """Fail unless stock git finds nothing to say."""
        done = subprocess.run(
            ["git", "fsck", "--strict", "--full", "--no-dangling"],
            cwd=self.root,
            env=_GIT_ENV,
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == b""

    def clone(self) -> Path:
        target = self.base / f"clone-{time.monotonic_ns()}"
        # --no-local: git would copy packs by name, which a merge of packs takes away meanwhile
        self.git("clone", "-q", "--no-local", str(self.root), str(target), cwd=self.base)
        return target

    def push_commit(self, path: str, data: bytes, *, clone: Path | None = None) -> str:
        """Commit one file in a clone, push it, and return the commit's id."""
        clone = clone or self.clone()
        write(clone / path, data)
        self.git("add", "-f", path, cwd=clone)
        self.git("commit", "-qm", f"by hand: {path}", cwd=clone)
        self.git("push", "-q", "origin", "HEAD:main", cwd=clone)
        return self.git("rev-parse", "HEAD", cwd=clone).strip()

    def subjects(self) -> list[str]:
        return self.git("log", "--format=%s", "main").splitlines()

    def on_disk(self) -> dict[str, bytes]:
        """Every file of the folder but git's own."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and ".git" not in path.relative_to(self.root).parts
        }

    def in_git(self) -> dict[str, bytes]:
        """Every file of main, as stock git reads it."""
        rows = self.git("ls-tree", "-rz", "main").split("\0")[:-1]
        ids = {row.split("\t", 1)[1]: row.split()[2] for row in rows}
        contents = self.blobs(sorted(set(ids.values())))
        return {name: contents[sha] for name, sha in ids.items()}

    def blobs(self, ids: list[str]) -> dict[str, bytes]:
        """Contents of blobs, as stock git reads them."""
        raw = subprocess.run(
            ["git", "cat-file", "--batch"],
            cwd=self.root,
            env=_GIT_ENV,
            check=True,
            capture_output=True,
            input="\n".join(ids).encode() + b"\n",
        ).stdout
        found, start = {}, 0
        for sha in ids:
            end = raw.index(b"\n", start)
            size = int(raw[start:end].split()[2])
            found[sha] = raw[end + 1 : end + 1 + size]
            start = end + 1 + size + 1
        return found

    def show(self, path: str) -> bytes:
        return subprocess.run(
            ["git", "show", f"main:{path}"],
            cwd=self.root,
            env=_GIT_ENV,
            check=True,
            capture_output=True,
        ).stdout


def put(workspace: Workspace, *files: Put | tuple[str, bytes]) -> CommitResult:
    """Commit files, given as edits or as pairs of path and bytes."""
    edits: list[Edit] = [each if isinstance(each, Put) else Put(*each) for each in files]
    return workspace.commit(lambda _: edits, "worker: update x", ANNA)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def wait_for(condition: Callable[[], object]) -> None:
    """Return once `condition` holds; fail after a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the deadline passed"
        os.sched_yield()
