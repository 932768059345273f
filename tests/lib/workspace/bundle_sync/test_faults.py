"""Whatever goes wrong between machines and their store, by a random schedule.

What was acknowledged is there once; what failed clearly is not there; what was in
doubt is there at most once; and no history is ever begun over another.
"""

from __future__ import annotations

import random
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from lib.clock import ManualClock
from lib.errors import FloomError
from lib.storage.memory.blobs import MemoryBlobStore
from lib.storage.ports import BlobStore
from lib.storage.s3 import S3BlobStore
from lib.workspace.bundle_sync.upkeep import Upkeep
from lib.workspace.errors import CommitInDoubt
from lib.workspace.workspace import Workspace
from tests.kit.buckets import BUCKET, client_of, shared_client
from tests.kit.fault_proxy import Fault, FaultProxy, dice, script
from tests.lib.workspace.bundle_sync.faulty_store import FaultyStore, at_random
from tests.lib.workspace.bundle_sync.machine import (
    Machine,
    clone_with_stock_git,
    kept,
    new_machine,
    pointer,
    put,
)

SHARE = 0.2  # of the calls, or of the requests
LEFT_OUT = {
    Fault.NONE,
    Fault.SILENT_BEFORE, Fault.SILENT_AFTER,  # these take a client's patience each
    Fault.CORRUPTED_SENT,  # S3 refuses such a body by its signature; the server here does not
}  # fmt: skip
FAULTS = [fault for fault in Fault if fault not in LEFT_OUT]
OPENINGS = 20
KINDS, SHARES = ("commit", "upkeep", "push", "restart", "lose"), (87, 6, 2, 4, 1)


class Trial:
    """Two machines that commit, push, fold, restart and are lost while calls fail.

    The clock of one is a day and a half ahead, so that it sweeps whatever it can.

    Args:
        real: The store as it is.
        faulty: The same behind what goes wrong.
        between: Called before each operation.
    """

    def __init__(
        self,
        base: Path,
        chance: random.Random,
        real: BlobStore,
        faulty: BlobStore,
        between: Callable[[], object] = lambda: None,
    ) -> None:
        self.base = base
        self.chance = chance
        self.real = real
        self.between = between
        self.machines = [self._machine(name, faulty) for name in ("one", "two")]
        self.machines[1].clock = ManualClock(self.machines[0].clock.now() + timedelta(hours=36))
        self.open: dict[int, tuple[ExitStack, Workspace, Upkeep]] = {}
        self.outcomes: dict[str, str] = {}

    def _machine(self, name: str, store: BlobStore) -> Machine:
        machine = new_machine(self.base, name, store)
        machine.wait = lambda _: None
        return machine

    def run(self, operations: int) -> None:
        for number in range(operations):
            self.between()
            which = self.chance.randrange(2)
            kind = self.chance.choices(KINDS, SHARES)[0]
            if kind in {"restart", "lose"}:
                self._close(which)
            if kind == "lose":
                shutil.rmtree(self.machines[which].place.root, ignore_errors=True)
            opened = self._opened(which)
            if opened is None:
                continue
            if kind == "push":
                self.machines[which].place.push_commit(f"contexts/pushed/{number}", b"x")
            if kind == "upkeep":
                with suppress(FloomError):
                    while opened[1].step():
                        pass
            self._commit(opened[0], f"{number}")
        for which in (0, 1):
            self._close(which)

    def _commit(self, workspace: Workspace, name: str) -> None:
        try:
            put(workspace, f"contexts/a/{name}")
            self.outcomes[name] = "acknowledged"
        except CommitInDoubt:
            self.outcomes[name] = "in doubt"
        except FloomError:
            self.outcomes[name] = "failed"

    def _opened(self, which: int) -> tuple[Workspace, Upkeep] | None:
        if which in self.open:
            return self.open[which][1:]
        for _ in range(OPENINGS):
            stack = ExitStack()
            with suppress(FloomError):  # a new folder, and the store failed just then
                self.open[which] = stack, *stack.enter_context(kept(self.machines[which]))
                return self.open[which][1:]
        return None

    def _close(self, which: int) -> None:
        if which in self.open:
            self.open.pop(which)[0].close()

    def check(self) -> Counter[str]:
        last = new_machine(self.base, "last", self.real)
        with last.opened() as workspace:
            assert workspace.tip() == pointer(self.real)["tip"]
            there = {name for name, _ in workspace.view().names("contexts/a")}
        subjects = last.place.subjects()
        made = Counter(each.rpartition("/")[2] for each in subjects if each.startswith("put "))
        assert max(made.values(), default=0) <= 1
        assert {*made} == there
        by_outcome = {each: {n for n, o in self.outcomes.items() if o == each} for each in OUTCOMES}
        assert by_outcome["acknowledged"] <= there
        assert not by_outcome["failed"] & there
        assert there <= by_outcome["acknowledged"] | by_outcome["in doubt"]
        assert subjects[-1] == "workspace: seed"
        last.place.fsck()
        clone_with_stock_git(last.place, self.real)
        return Counter(self.outcomes.values())


OUTCOMES = ("acknowledged", "in doubt", "failed")


def in_memory(base: Path, seed: int) -> Trial:
    chance, real = random.Random(seed), MemoryBlobStore()
    return Trial(base, chance, real, FaultyStore(real, at_random(chance, SHARE)))


def over_http(base: Path, seed: int, proxy: FaultProxy, url: str) -> Trial:
    """Real S3 requests through a proxy; what it holds back has its effect at any time later."""
    chance = random.Random(seed)
    proxy.plan = dice(seed, {fault: SHARE / len(FAULTS) for fault in FAULTS})
    shared_client(url)
    prefix = f"trial/{secrets.token_hex(8)}"
    return Trial(
        base,
        chance,
        S3BlobStore(BUCKET, prefix, connect=lambda: shared_client(url)),
        S3BlobStore(BUCKET, prefix, connect=client_of(proxy.url), wait=lambda _: None),
        between=lambda: chance.random() < 0.3 and proxy.release(),
    )


@pytest.fixture(scope="module")
def proxy(moto_url: str) -> Iterator[FaultProxy]:
    with FaultProxy(moto_url, script()).running() as proxy:
        yield proxy


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_doubled_or_begun_anew(tmp_path: Path, seed: int) -> None:
    trial = in_memory(tmp_path, seed)
    trial.run(80)
    assert trial.check()["acknowledged"] > 0


def test_nothing_is_lost_over_http(tmp_path: Path, proxy: FaultProxy, moto_url: str) -> None:
    trial = over_http(tmp_path, 1, proxy, moto_url)
    trial.run(25)
    assert trial.check()["acknowledged"] > 0


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(100, 103))
def test_two_thousand_operations(tmp_path: Path, seed: int) -> None:
    trial = in_memory(tmp_path, seed)
    trial.run(2_000)
    outcomes = trial.check()
    assert outcomes["acknowledged"] > 500, outcomes


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_two_thousand_operations_over_http(
    tmp_path: Path, proxy: FaultProxy, moto_url: str
) -> None:
    trial = over_http(tmp_path, 7, proxy, moto_url)
    trial.run(2_000)
    outcomes = trial.check()
    assert outcomes["acknowledged"] > 500, outcomes
