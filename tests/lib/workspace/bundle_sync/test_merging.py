"""Joins of two histories: from their best common ancestor, whatever the clocks said."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from lib.clock import ManualClock
from lib.workspace.bundle_sync.errors import Diverged
from lib.workspace.bundle_sync.merging import Relation, merge, relate
from lib.workspace.commit_objects import FLOOM, encode_commit
from lib.workspace.object_store import Overlay
from lib.workspace.packs import PackBuilder
from lib.workspace.repository import Repository
from lib.workspace.tree_edits import apply_edits
from lib.workspace.tree_objects import EMPTY_TREE
from lib.workspace.tree_view import TreeView
from lib.workspace.workspace import Put
from tests.lib.workspace.place import Place

START = datetime(2026, 3, 1, tzinfo=UTC)


class Drawing:
    """Commits as a test draws them: their parents, their files and their times."""

    def __init__(self, place: Place) -> None:
        place.root.mkdir()
        self.repository = Repository.open(place.root, engine_root=place.engine, durable=False)

    def commit(self, *parents: str, day: int, files: dict[str, str] | None = None) -> str:
        """Commit files on top of the first parent's; returns the commit."""
        builder, store = PackBuilder(), self.repository.store
        tree = store.commit(parents[0]).tree if parents else EMPTY_TREE
        edits = [Put(path, text.encode()) for path, text in (files or {}).items()]
        if edits:
            tree = apply_edits(Overlay(store, builder.objects), builder, tree, edits)
        sha = builder.add(
            "commit",
            encode_commit(
                tree=tree,
                parent=parents[0] if parents else None,
                merged=parents[1] if len(parents) > 1 else None,
                author=FLOOM,
                at=START + timedelta(days=day),
                message="drawn\n",
            ),
        )
        self.repository.add_pack(builder.build())
        return sha

    def merged(self, ours: str, theirs: str) -> dict[str, str]:
        """Join two commits and return the files."""
        commit = merge(self.repository, ours, theirs, ManualClock())
        store = self.repository.store
        assert store.commit(commit).parents == (theirs, ours)
        view = TreeView(store, store.commit(commit).tree)
        return {path: view.read(path).decode() for path in ("x", "y", "z") if view.find(path)}


@pytest.fixture
def drawing(place: Place) -> Iterator[Drawing]:
    drawing = Drawing(place)
    yield drawing
    drawing.repository.close()


def test_a_base_whose_clock_was_behind_is_the_base(drawing: Drawing) -> None:
    """Both came from `best`; one of them deliberately went back to what was before it."""
    oldest = drawing.commit(day=0, files={"x": "v0"})
    best = drawing.commit(oldest, day=-2000, files={"x": "v1"})
    one, other = (drawing.commit(oldest, day=1, files={name: "side"}) for name in "yz")
    joined = drawing.commit(best, one, day=2, files={"y": "side"})
    ours = drawing.commit(joined, day=3, files={"x": "v0"})
    theirs = drawing.commit(best, other, day=2, files={"z": "side"})
    assert drawing.merged(ours, theirs) == {"x": "v0", "y": "side", "z": "side"}
    assert drawing.merged(theirs, ours) == {"x": "v0", "y": "side", "z": "side"}


def crossed(drawing: Drawing) -> tuple[str, str]:
    """Two merges of the same two commits, of which x is v0 and v1, y is there in one."""
    root = drawing.commit(day=0, files={"x": "v0"})
    p = drawing.commit(root, day=1, files={"x": "v1"})
    q = drawing.commit(root, day=2, files={"y": "side"})
    return (
        drawing.commit(p, q, day=3, files={"y": "side"}),
        drawing.commit(q, p, day=3, files={"x": "v1"}),
    )


def test_histories_that_crossed_are_joined_where_all_bases_lead_to_the_same(
    drawing: Drawing,
) -> None:
    one, other = crossed(drawing)
    ours = drawing.commit(one, day=4, files={"z": "ours"})
    theirs = drawing.commit(other, day=4)
    assert drawing.merged(ours, theirs) == {"x": "v1", "y": "side", "z": "ours"}


def test_histories_that_crossed_and_lead_elsewhere_are_left_to_a_person(drawing: Drawing) -> None:
    """From one base x went back to v0, from the other it never was anything else."""
    one, other = crossed(drawing)
    ours = drawing.commit(one, day=4, files={"x": "v0"})
    theirs = drawing.commit(other, day=4, files={"z": "theirs"})
    for pair in ((ours, theirs), (theirs, ours)):
        with pytest.raises(Diverged, match="git"):
            drawing.merged(*pair)


def test_how_two_stand_does_not_hang_on_clocks(drawing: Drawing) -> None:
    root = drawing.commit(day=0, files={"x": "v0"})
    late = drawing.commit(root, day=3000)
    early = drawing.commit(late, day=-3000)
    aside = drawing.commit(root, day=1)
    store = drawing.repository.store
    assert relate(store, root, early) is Relation.BEHIND
    assert relate(store, early, root) is Relation.AHEAD
    assert relate(store, early, aside) is Relation.APART
