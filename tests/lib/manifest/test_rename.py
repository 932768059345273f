from __future__ import annotations

import pytest

from lib.manifest.rename import renamed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"name: a\ntitle: a\n", b"name: b\ntitle: a\n"),
        (b"# why\nname: 'a'  # here\n", b"# why\nname: 'b'  # here\n"),
        (b'x: 1\nname:   "a"\r\ny: 2', b'x: 1\nname:   "b"\r\ny: 2'),
        (b"id: a\nname: A title\n", b"id: b\nname: A title\n"),
        (b"name: ab\n", b"name: ab\n"),
        (b"exec:\n  name: a\n", b"exec:\n  name: a\n"),
        (b"name: >\n  a\n", b"name: >\n  a\n"),
        (b"{name: a}", b"{name: a}"),
        (b"\xff\xfe", b"\xff\xfe"),
    ],
)
def test_only_the_name_is_another(before: bytes, after: bytes) -> None:
    assert renamed(before, "a", "b") == after
