"""Packs of bundles, judged by stock git and by what they were made of."""

from __future__ import annotations

import hashlib
import random
import subprocess
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.workspace.ancestry import commits_between, is_ancestor
from lib.workspace.bundle_sync import bundle_file
from lib.workspace.bundle_sync.bundle_file import Bundle
from lib.workspace.bundle_sync.errors import BundleStoreUnavailable
from lib.workspace.bundle_sync.new_objects import between
from lib.workspace.bundle_sync.thin_pack import combine, write_pack
from lib.workspace.object_cache import MAX_CACHED_OBJECT_BYTES
from lib.workspace.packs import PackBuilder
from lib.workspace.repository import Repository
from lib.workspace.tree_objects import Kind, object_id
from lib.workspace.workspace import Delete, Put
from tests.lib.workspace.place import ANNA, Place, put


def history(place: Place, seed: int, length: int) -> list[str]:
    """Commit at random: new files, longer and shorter ones, deletions; some come back."""
    chance, workspace = random.Random(seed), place.open()
    tips = [workspace.tip() or ""]
    for _ in range(length):
        path = f"contexts/{chance.randrange(3)}/{chance.randrange(6)}"
        data = bytes(chance.choices(b"abc\n", k=chance.choice((0, 1, 40, 5000))))
        edit = Delete(path) if chance.random() < 0.2 else Put(path, data)
        result = workspace.commit(lambda _, edit=edit: [edit], "change", ANNA)  # type: ignore[misc]
        tips.append(result.commit or "")
    workspace.close()
    return tips


def opened(root: Path) -> Repository:
    root.mkdir(exist_ok=True)
    return Repository.open(root, engine_root=root / "engine", durable=False)


@pytest.mark.parametrize("seed", range(3))
def test_a_chain_becomes_one_pack_that_stands_alone(place: Place, seed: int) -> None:
    tips = history(place, seed, length=60)
    source = opened(place.root)
    cuts = sorted({0, *random.Random(seed).sample(range(1, 60), 9), 60})
    base = write_pack(source.store, between(source.store, None, tips[0]), thin=False)
    packs = [
        write_pack(source.store, between(source.store, tips[old], tips[new]), thin=True).data
        for old, new in pairwise(cuts)
    ]
    target = opened(place.base / "other")
    target.add_pack(base)
    target.add_pack(combine(packs, target.store.read_any))
    assert target.point(None, tips[-1])
    copy = place.base / "other"
    done = subprocess.run(
        ["git", "fsck", "--strict", "--full", "--no-dangling"], cwd=copy, capture_output=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"")
    ours = place.git("rev-list", "--objects", "main")
    assert place.git("rev-list", "--objects", "main", cwd=copy) == ours
    source.close()
    target.close()


def versions(place: Place, *contents: bytes) -> list[str]:
    """Commit versions of one file and return the commits."""
    workspace = place.open()
    results = [put(workspace, ("contexts/a/file", data)) for data in contents]
    workspace.close()
    return [result.commit or "" for result in results]


LARGE = bytes(MAX_CACHED_OBJECT_BYTES)  # with anything beside it, no cache keeps it
TEXT = b"\n".join(b"line %d" % number for number in range(300))


@pytest.mark.parametrize("content", [LARGE, TEXT], ids=["large", "text"])
def test_a_content_that_comes_back_is_restored(place: Place, content: bytes) -> None:
    """A, B, A, C: A and B are deltas against one another, C is one against A."""
    tips = versions(place, *[content + end for end in (b"a", b"b", b"a", b"c")])
    source, copy = opened(place.root), place.base / "other"
    target = opened(copy)
    target.add_pack(write_pack(source.store, between(source.store, None, tips[0]), thin=False))
    packs = [
        write_pack(source.store, between(source.store, old, new), thin=True).data
        for old, new in pairwise(tips)
    ]
    target.add_pack(combine(packs, target.store.read_any))
    assert target.point(None, tips[-1])
    assert place.git("fsck", "--strict", "--full", "--no-dangling", cwd=copy) == ""
    assert target.store.read(object_id("blob", content + b"c"), "blob") == content + b"c"
    source.close()
    target.close()


@pytest.mark.parametrize("times", [1, 8])
def test_stock_git_takes_a_pack_in_which_a_content_comes_back(place: Place, times: int) -> None:
    tips = versions(place, TEXT, *[TEXT + b"b", TEXT] * times, TEXT + b"c")
    source, copy = opened(place.root), place.base / "copy"
    old, new = tips[0], tips[-1]
    pack = write_pack(source.store, between(source.store, old, new), thin=True)
    file = place.base / "new.bundle"
    file.write_bytes(Bundle(old, new, pack.data).encode())
    place.git("branch", "old", old)
    place.git("clone", "-q", "-b", "old", "--single-branch", f"file://{place.root}", str(copy))
    place.git("pull", "-q", "--ff-only", str(file), "main", cwd=copy)
    assert place.git("rev-parse", "HEAD", cwd=copy).strip() == new
    assert place.git("fsck", "--strict", "--full", cwd=copy) == ""
    source.close()


def test_what_a_merge_brings_from_its_side_is_there(place: Place) -> None:
    workspace = place.open()
    first = workspace.tip() or ""
    clone = place.clone()
    place.git("checkout", "-qb", "side", cwd=clone)
    (clone / "side.txt").write_text("side\n")
    place.git("add", ".", cwd=clone)
    place.git("commit", "-qm", "side", cwd=clone)
    place.git("checkout", "-q", "main", cwd=clone)
    (clone / "main.txt").write_text("main\n")
    place.git("add", ".", cwd=clone)
    place.git("commit", "-qm", "main", cwd=clone)
    on_main = place.git("rev-parse", "HEAD", cwd=clone).strip()
    place.git("merge", "-q", "--no-edit", "side", cwd=clone)
    place.git("push", "-q", "origin", "HEAD:main", cwd=clone)
    tip = workspace.refresh() or ""
    repository = opened(place.root)
    store = repository.store
    expected = set(place.git("rev-list", "--objects", "main", f"^{on_main}").split())
    found = {each.sha for each in between(store, on_main, tip)}
    assert found <= expected
    assert found == {each for each in expected if len(each) == 40}
    assert len(commits_between(store, first, tip)) == 3
    assert is_ancestor(store, first, tip)
    assert not is_ancestor(store, tip, first)
    repository.close()
    workspace.close()


def small_pack() -> bytes:
    builder = PackBuilder()
    first = builder.add("tree", b"".join(b"100644 %03d\0" % n + b"x" * 20 for n in range(30)))
    builder.add("tree", b"".join(b"100644 %03d\0" % n + b"x" * 20 for n in range(31)), base=first)
    return builder.build().data


PACK = small_pack()


def missing(sha: str) -> tuple[Kind, bytes]:
    raise KeyError(sha)


def test_a_whole_pack_is_taken() -> None:
    assert combine([PACK, PACK], missing).data == PACK


@given(cut=st.integers(0, len(PACK) - 1), flip=st.integers(0, 8 * len(PACK) - 1))
def test_a_damaged_pack_is_refused(cut: int, flip: int) -> None:
    flipped = bytearray(PACK)
    flipped[flip // 8] ^= 1 << flip % 8
    for damaged in (bytes(flipped), PACK[:cut]):
        with pytest.raises(BundleStoreUnavailable):
            combine([damaged], missing)


@given(body=st.binary(max_size=60))
def test_any_body_under_a_right_checksum_is_refused_or_read(body: bytes) -> None:
    data = b"PACK\0\0\0\2\0\0\0\1" + body
    whole = data + hashlib.sha1(data).digest()  # noqa: S324  # git's format
    with suppress(BundleStoreUnavailable):
        combine([whole], missing)


@given(tip=st.sampled_from(["a" * 40, "b" * 40]), old=st.sampled_from([None, "c" * 40]))
def test_a_bundle_is_read_as_it_was_written(tip: str, old: str | None) -> None:
    bundle = Bundle(old, tip, PACK)
    assert bundle_file.decode(bundle.encode()) == bundle


@given(data=st.binary(max_size=200))
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    for each in (data, b"# v2 git bundle\n" + data, b"# v2 git bundle\n" + data + b"\n\nPACK"):
        with suppress(BundleStoreUnavailable):
            bundle_file.decode(each)
            raise AssertionError(each)
