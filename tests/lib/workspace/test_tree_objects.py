from __future__ import annotations

import hashlib
import subprocess

from dulwich.objects import Tree
from hypothesis import given
from hypothesis import strategies as st

from lib.workspace.tree_objects import FILE, FOLDER, TreeEntry, object_id, parse_entries, rewrite

# few letters, so that names are prefixes of one another; spaces and digits look like modes
NAMES = st.text(alphabet="ab.-0 1", min_size=1, max_size=4).filter(lambda n: n not in {".", ".."})
ENTRIES = st.builds(
    lambda mode, seed: TreeEntry(mode, hashlib.sha256(bytes([seed])).hexdigest()[:40]),
    st.sampled_from([FILE, 0o100755, FOLDER, 0o120000, 0o160000]),
    st.integers(0, 255),
)
TREES = st.dictionaries(NAMES.map(str.encode), ENTRIES, max_size=40)


def by_dulwich(entries: dict[bytes, TreeEntry]) -> bytes:
    tree = Tree()
    for name, entry in entries.items():
        tree.add(name, entry.mode, entry.id.encode())  # type: ignore[arg-type]
    return tree.as_raw_string()


@given(TREES, st.dictionaries(NAMES.map(str.encode), st.none() | ENTRIES, max_size=30))
def test_splicing_gives_the_tree_that_building_it_gives(
    before: dict[bytes, TreeEntry], changes: dict[bytes, TreeEntry | None]
) -> None:
    raw = by_dulwich(before)
    merged = {**before, **changes}
    after = {name: entry for name, entry in merged.items() if entry is not None}
    assert rewrite(raw, parse_entries(raw), changes) == by_dulwich(after)


def test_an_entry_whose_end_looks_like_another_is_not_mistaken_for_it() -> None:
    entry = TreeEntry(FILE, "aa" * 20)
    raw = by_dulwich({b"a 100644 foo": entry, b"foo": entry})
    changed = TreeEntry(FILE, "bb" * 20)
    assert rewrite(raw, parse_entries(raw), {b"foo": changed}) == by_dulwich(
        {b"a 100644 foo": entry, b"foo": changed}
    )


@given(TREES)
def test_parsing_returns_what_was_built(entries: dict[bytes, TreeEntry]) -> None:
    assert parse_entries(by_dulwich(entries)) == entries


def test_ids_are_gits() -> None:
    done = subprocess.run(
        ["git", "hash-object", "--stdin"], input=b"a\0b", check=True, capture_output=True
    )
    assert object_id("blob", b"a\0b") == done.stdout.decode().strip()
