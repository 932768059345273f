from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lib.clock import ManualClock
from lib.storage.memory import MemoryClaimStore
from lib.storage.memory.blobs import MemoryBlobStore
from lib.storage.ports import IdempotencyKeyInUse, IdempotencyKeyReused, StoreUnavailable
from lib.storage.records import StoredAnswer
from lib.storage.stored import Stored
from lib.workspace.errors import CommitInDoubt
from lib.workspace.once import Once, RequestKey
from lib.workspace.workspace import Put, TreeView, Workspace
from tests.contract.fused import Fuse, Killed
from tests.lib.workspace.bundle_sync.faulty_store import FaultyStore, Silence
from tests.lib.workspace.bundle_sync.machine import new_machine
from tests.lib.workspace.place import ANNA, Place

KEY = RequestKey("a" * 64, "d")


class World:
    """A counter in git, which each effect makes one higher."""

    def __init__(self, workspace: Workspace, clock: ManualClock) -> None:
        self.clock = clock
        self.claims = MemoryClaimStore()
        self.workspace = workspace

    def once(self, owner: str = "this life", fuse: Fuse | None = None) -> Once:
        fuse = fuse or Fuse()
        return Once(
            claims=fuse.protect(self.claims),
            workspace=fuse.protect(self.workspace),
            clock=self.clock,
            owner=owner,
        )

    def effect(self, workspace: Workspace | None = None) -> Callable[..., StoredAnswer]:
        def effect(trailers: Mapping[str, str]) -> StoredAnswer:
            result = (workspace or self.workspace).commit(
                self._count, "count", ANNA, trailers=trailers
            )
            assert result.commit is not None
            return self.repeat(result.commit)

        return effect

    def repeat(self, commit: str) -> StoredAnswer:
        text = self.workspace.view(commit).read("contexts/x/count").decode()
        return StoredAnswer(201, Stored(len(text), text=text))

    @property
    def count(self) -> int:
        return int(self.workspace.view().find_bytes("contexts/x/count") or b"0")

    @staticmethod
    def _count(tree: TreeView) -> list[Put]:
        count = int(tree.find_bytes("contexts/x/count") or b"0") + 1
        return [Put("contexts/x/count", str(count).encode())]


@pytest.fixture
def world(place: Place) -> Iterator[World]:
    clock = ManualClock()
    world = World(place.open(clock=clock), clock)
    yield world
    world.workspace.close()


def test_a_repetition_gets_the_first_answer(world: World) -> None:
    first = world.once().answer(KEY, effect=world.effect(), repeat=world.repeat)
    again = world.once().answer(KEY, effect=world.effect(), repeat=world.repeat)

    assert (first.answer, first.replayed) == (again.answer, False)
    assert again.replayed
    assert world.count == 1


def test_another_body_is_a_misuse(world: World) -> None:
    world.once().answer(KEY, effect=world.effect(), repeat=world.repeat)

    with pytest.raises(IdempotencyKeyReused):
        world.once().answer(
            RequestKey(KEY.scope, "other"), effect=world.effect(), repeat=world.repeat
        )
    assert world.count == 1


def test_a_duplicate_in_flight_is_refused(world: World) -> None:
    def effect(trailers: Mapping[str, str]) -> StoredAnswer:
        with pytest.raises(IdempotencyKeyInUse):
            world.once().answer(KEY, effect=world.effect(), repeat=world.repeat)
        return world.effect()(trailers)

    world.once().answer(KEY, effect=effect, repeat=world.repeat)
    assert world.count == 1


def test_a_refused_effect_leaves_the_key_free(world: World) -> None:
    def refuse(_: Mapping[str, str]) -> StoredAnswer:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        world.once().answer(KEY, effect=refuse, repeat=world.repeat)
    world.once().answer(KEY, effect=world.effect(), repeat=world.repeat)
    assert world.count == 1


def test_an_error_after_the_commit_is_no_second_commit(world: World) -> None:
    def fail(trailers: Mapping[str, str]) -> StoredAnswer:
        world.effect()(trailers)
        raise StoreUnavailable("The disk is full.")

    with pytest.raises(StoreUnavailable):
        world.once().answer(KEY, effect=fail, repeat=world.repeat)
    again = world.once().answer(KEY, effect=world.effect(), repeat=world.repeat)

    assert again.replayed
    assert again.answer.body.text == "1"
    assert world.count == 1


@pytest.mark.parametrize("length", range(8))
def test_a_server_killed_at_any_step_makes_one_effect(world: World, length: int) -> None:
    fuse = Fuse(length)
    with suppress(Killed):
        world.once("an earlier life", fuse).answer(
            KEY, effect=world.effect(fuse.protect(world.workspace)), repeat=world.repeat
        )
    for number in range(3):  # others count meanwhile
        world.effect()({"Floom-Request": f"{number}" * 64})
    before = world.count

    answered = world.once().answer(KEY, effect=world.effect(), repeat=world.repeat)

    assert world.count == (before if answered.replayed else before + 1)
    assert answered.answer.body.text == ("1" if answered.replayed else str(before + 1))
    assert world.count == 4


def test_an_effect_that_finds_out_by_itself_is_tried_again(world: World) -> None:
    def die(step: str) -> None:
        if step == "before settle":
            raise Killed

    with suppress(Killed):
        world.once("an earlier life", Fuse(between=die)).answer(
            KEY, effect=world.effect(), repeat=None
        )

    again = world.once().answer(KEY, effect=world.effect(), repeat=None)

    assert (again.answer.body.text, again.replayed) == ("2", False)
    assert world.once().answer(KEY, effect=world.effect(), repeat=None).replayed


@contextmanager
def published(base: Path, store: FaultyStore) -> Iterator[World]:
    """A counter that is published in a store of bundles."""
    machine = new_machine(base, "one", store)
    machine.wait = lambda _: None
    with machine.opened() as workspace:
        world = World(workspace, ManualClock())
        world.effect()({})
        yield world


@pytest.mark.parametrize(("fault", "is_made"), [("lost after", True), ("lost before", False)])
def test_a_commit_in_doubt_is_made_once(tmp_path: Path, fault: str, is_made: bool) -> None:
    silence = Silence(fault)
    with published(tmp_path, FaultyStore(MemoryBlobStore(), silence)) as world:
        silence.falls()
        with pytest.raises(CommitInDoubt):
            world.once().answer(KEY, effect=world.effect(), repeat=world.repeat)
        silence.ends()

        again = world.once().answer(KEY, effect=world.effect(), repeat=world.repeat)

        assert (again.answer.body.text, again.replayed, world.count) == ("2", is_made, 2)


def test_a_commit_in_doubt_that_comes_in_while_it_is_sent_again_is_made_once(
    tmp_path: Path,
) -> None:
    silence, lands = Silence("held"), False

    def choose(method: str, key: str) -> str | None:
        if lands and method == "put" and key.endswith("HEAD.json"):
            store.land()
        return silence(method, key)

    store = FaultyStore(MemoryBlobStore(), choose)
    with published(tmp_path, store) as world:
        silence.falls()
        with pytest.raises(CommitInDoubt):
            world.once().answer(KEY, effect=world.effect(), repeat=world.repeat)
        silence.ends()
        lands = True

        again = world.once().answer(KEY, effect=world.effect(), repeat=world.repeat)

        assert (again.answer.body.text, again.replayed, world.count) == ("2", True, 2)
