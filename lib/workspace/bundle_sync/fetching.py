"""Getting what a pointer leads to into the repository, whole or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from lib.workspace.bundle_sync import bundle_file
from lib.workspace.bundle_sync.depot import Depot
from lib.workspace.bundle_sync.errors import BundleStoreUnavailable
from lib.workspace.bundle_sync.pointer import Base, Increment, Pointer
from lib.workspace.bundle_sync.thin_pack import combine
from lib.workspace.packs import Pack
from lib.workspace.repository import Repository, explained

PARALLEL: Final = 8  # requests at once
_CHECKSUM_BYTES: Final = 20


def fetch(depot: Depot, repository: Repository, pointer: Pointer, *, anew: bool = False) -> int:
    """Bring in all that is missing of a pointer's tip; returns how many bytes that took.

    A commit that is there has all of its history and files, unless the repository lost
    some: `anew` fetches everything.

    Packs are put in place in order and each is whole: a fetch that is killed leaves
    nothing that looks as if it were there. The caller holds the turnstile.

    Raises:
        BundleMissing: the pointer is not the newest any more, or a bundle is lost.
        BundleStoreUnavailable: what is there does not lead to the tip.
        StoreUnavailable: the store cannot be read.
        WorkspaceUnavailable: the repository cannot be written.
    """
    has = (lambda _: False) if anew else repository.store.has
    if has(pointer.tip):
        return 0
    chain = pointer.chain()
    known = [at for at, each in enumerate(chain) if has(each.tip)]
    missing = chain[known[-1] + 1 :] if known else chain
    with_base = not known and not has(pointer.base.tip)
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="bundles") as pool:
        increments = [pool.submit(_increment, depot, each) for each in missing]
        if with_base:
            _install_base(depot, repository, pointer.base, pool)
        packs = [each.result() for each in increments]
    if packs:
        with explained("The workspace cannot be written"):
            repository.add_pack(combine(packs, repository.store.read_any))
    if not repository.store.has(pointer.tip):
        raise BundleStoreUnavailable(
            f"The bundles of the store do not lead to {pointer.tip}, which its HEAD.json names; "
            "docs/git-workspace.md says how to go on."
        )
    return sum(each.size for each in missing) + (pointer.base.size if with_base else 0)


def _increment(depot: Depot, increment: Increment) -> bytes:
    data = depot.fetch(increment.key, size=increment.size, sha256=increment.sha256)
    return bundle_file.decode(data).pack


def _install_base(
    depot: Depot, repository: Repository, base: Base, pool: ThreadPoolExecutor
) -> None:
    reading = pool.submit(depot.fetch, base.index_key, size=base.idx_size, sha256=base.idx_sha256)
    pack = bundle_file.decode(depot.fetch(base.key, size=base.size, sha256=base.sha256)).pack
    index = reading.result()
    checksum = pack[-_CHECKSUM_BYTES:]
    if index[-2 * _CHECKSUM_BYTES : -_CHECKSUM_BYTES] != checksum:
        raise BundleStoreUnavailable(f"{base.index_key} is not the index of {base.key}.")
    with explained("The workspace cannot be written"):
        repository.add_pack(Pack(f"pack-{checksum.hex()}", pack, index))
