"""User ids for runs: each has one, and it comes back however the run ends."""

from __future__ import annotations

import os
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.sandbox import identity
from lib.sandbox.identity import NoUidLeft, UidRange


def test_two_runs_never_have_the_same_id(tmp_path: Path) -> None:
    uids = UidRange(tmp_path / "uids", first=70_000, count=3)
    leases = [uids.lease() for _ in range(3)]
    assert sorted(lease.uid for lease in leases) == [70_000, 70_001, 70_002]
    with pytest.raises(NoUidLeft, match="all 3 user ids"):
        uids.lease()
    leases[1].release()
    assert uids.lease().uid == leases[1].uid


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    uids = UidRange(tmp_path, first=70_000, count=1)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        uids.lease()
        os.write(write_end, b"x")
        signal.alarm(20)
        signal.pause()
    os.read(read_end, 1)
    with pytest.raises(NoUidLeft):
        uids.lease()
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert uids.lease().uid == 70_000
    os.close(read_end)
    os.close(write_end)


def test_an_id_comes_back_only_after_all_others(tmp_path: Path) -> None:
    taken = []
    for _ in range(10):
        lease = UidRange(tmp_path, first=70_000, count=10).lease()
        taken.append(lease.uid)
        lease.release()
    assert sorted(taken) == list(range(70_000, 70_010))
    assert UidRange(tmp_path, first=70_000, count=10).lease().uid == taken[0]


def test_an_id_that_is_skipped_for_is_not_the_next_one_again(tmp_path: Path) -> None:
    uids = UidRange(tmp_path, first=70_000, count=4)
    held = uids.lease().uid
    taken = []
    for _ in range(6):
        lease = uids.lease()
        taken.append(lease.uid)
        lease.release()
    assert held not in taken
    assert taken[:3] == taken[3:]
    assert len(set(taken)) == 3


def test_who_asks_at_the_same_time_is_given_another_id(tmp_path: Path) -> None:
    uids = UidRange(tmp_path, first=70_000, count=1_000)

    def take(_: int) -> int:
        lease = uids.lease()
        lease.release()
        return lease.uid

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(take, range(500)))) == 500


@pytest.mark.parametrize("text", [b"", b"\xff", b"\xff" * 9])
def test_a_turn_that_cannot_be_read_is_any_turn(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "turn").write_bytes(text)
    uids = UidRange(tmp_path, first=70_000, count=10)
    first, second = uids.lease(), uids.lease()  # both held, so never the same
    assert first.uid != second.uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_giving_a_folder_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    folder = tmp_path / "work"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("")
    (folder / "link").symlink_to(outside)
    identity.give(str(folder), 70_000, 70_001)
    assert outside.stat().st_uid == os.geteuid()
    for path in (folder, *folder.rglob("*")):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (70_000, 70_001)


def test_a_closed_folder_on_the_way_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "python").write_text("")
    barrier = identity.unreachable([str(closed / "python")])
    assert barrier is not None
    assert not stat.S_IMODE(Path(barrier).stat().st_mode) & stat.S_IXOTH
    assert identity.unreachable(["/usr/bin/env"]) is None
