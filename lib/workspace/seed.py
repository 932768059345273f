"""The first commit of a new workspace: the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lib.workspace.commit_objects import (
    FLOOM,
    CommitInfo,
    compose_message,
    encode_commit,
)
from lib.workspace.deny_list import gitignore, is_denied
from lib.workspace.errors import WorkspaceUnavailable
from lib.workspace.folder import git_mode
from lib.workspace.git_paths import refusal
from lib.workspace.object_store import Overlay
from lib.workspace.packs import PackBuilder
from lib.workspace.repository import Repository, explained
from lib.workspace.tree_edits import Edit, Put, apply_edits
from lib.workspace.tree_objects import EMPTY_TREE

SUBJECT: Final = "workspace: seed"
AUTHORED_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)


def plant(repository: Repository, shipped: Path | None) -> str:
    """Give an empty repository its first commit. The caller holds the turnstile.

    Without `floom-txn` and with a fixed author and date: two machines that begin
    with the same shipped workers have the same history.

    Args:
        repository: One whose branch does not exist.
        shipped: A folder of workers; None for just a `.gitignore`.

    Raises:
        WorkspaceUnavailable: the repository cannot be written, or the shipped
            workers not be read.
    """
    builder = PackBuilder()
    with explained("The new workspace cannot be seeded"):
        edits: list[Edit] = [Put(".gitignore", gitignore()), *_workers(shipped)]
        source = Overlay(repository.store, builder.objects)
        tree = apply_edits(source, builder, EMPTY_TREE, edits)
        message = compose_message(SUBJECT)
        commit = builder.add(
            "commit",
            encode_commit(
                tree=tree, parent=None, author=FLOOM, at=AUTHORED_AT, message=message, txn=False
            ),
        )
        value = repository.install(builder.build(), commit)
        if not repository.ref.move(None, value):
            raise WorkspaceUnavailable("Somebody pushed to the new workspace; start again.")
        value.unlink()
        repository.syncer.sync([repository.ref.folder])
    return commit


def is_seed(commit: CommitInfo) -> bool:
    """Return whether a commit is one that `plant` makes, of any release."""
    return (
        not commit.parents
        and commit.author == FLOOM.encode().decode()
        and commit.message == compose_message(SUBJECT)
    )


def _workers(shipped: Path | None) -> Iterator[Put]:
    if shipped is None:
        return
    for path in sorted(shipped.rglob("*")):
        name = f"workers/{path.relative_to(shipped).as_posix()}"
        if path.is_symlink() or not path.is_file() or refusal(name) or is_denied(name):
            continue
        yield Put(name, path.read_bytes(), git_mode(path.stat().st_mode))
