"""Zips of every hostile kind, and all that are sound."""

from __future__ import annotations

import io
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.workspace.git_paths import refusal
from lib.workspace.spellings import Spellings
from lib.workspace.zip_reader import BadBundle, ZipFile, ZipLimits, read_zip

LIMITS = ZipLimits()


def packed(
    *files: tuple[str, bytes], mode: int = 0o100644, method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            info.compress_type = method
            archive.writestr(info, data)
    return out.getvalue()


def flagged(data: bytes, bits: int, *, clear: int = 0) -> bytes:
    """Set bits of every entry's flags, in both of its headers."""
    out = bytearray(data)
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.find(mark)
        while at >= 0:
            (flags,) = struct.unpack_from("<H", out, at + offset)
            struct.pack_into("<H", out, at + offset, (flags | bits) & ~clear)
            at = data.find(mark, at + 4)
    return bytes(out)


def directory(data: bytes, offset: int, form: str, value: int, *, entry: int = 0) -> bytes:
    """Change a field of an entry in the directory at the end."""
    at = -1
    for _ in range(entry + 1):
        at = data.index(b"PK\1\2", at + 1)
    out = bytearray(data)
    struct.pack_into(form, out, at + offset, value)
    return bytes(out)


def bomb() -> bytes:
    return packed(("zeros", bytes(64 * 1024 * 1024)))


def overlapping() -> bytes:
    """Two entries of the directory that lead to the same bytes."""
    data = packed(("a", b"x" * 500), ("b", b"x" * 500))
    return directory(data, 42, "<L", 0, entry=1)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not a zip"),
    "text": (lambda: b"hello", "not a zip"),
    "prefixed": (lambda: b"#!/bin/sh\n" + packed(("a", b"1")), "not a zip"),
    "truncated": (lambda: packed(("a", b"1" * 99))[:-30], "damaged"),
    "cut in the middle": (lambda: packed(("a", b"1" * 99))[:40], "damaged"),
    "bomb": (bomb, "unpacks to more"),
    "many": (lambda: packed(*((f"{n}", b"") for n in range(50_001))), "more than 50,000"),
    "overlapping": (overlapping, "overlap|damaged"),
    "encrypted": (lambda: flagged(packed(("a", b"1")), 0x1), "encrypted"),
    "link": (lambda: packed(("a", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "link"),
    "fifo": (lambda: packed(("a", b""), mode=stat.S_IFIFO | 0o644), "no regular file"),
    "twice": (lambda: packed(("a", b"1"), ("b", b"2")).replace(b"b", b"a"), "twice|damaged"),
    "case": (lambda: packed(("a/x", b"1"), ("A/y", b"2")), "case"),
    "composed": (lambda: packed(("\u00e9", b"1"), ("e\u0301", b"2")), "case"),
    "file and folder": (lambda: packed(("a", b"1"), ("a/b", b"2")), "file and as a folder"),
    "folder and file": (lambda: packed(("a/b", b"2"), ("a", b"1")), "file and as a folder"),
    "absolute": (lambda: packed(("/etc/passwd", b"")), "absolute"),
    "above": (lambda: packed(("a/../../b", b"")), r"\.\."),
    "empty segment": (lambda: packed(("a//b", b"")), "empty segment"),
    "backslash": (lambda: packed(("a\\b", b"")), "backslash"),
    "drive": (lambda: packed(("C:/b", b"")), "drive letter"),
    "git": (lambda: packed((".git/hooks/x", b"")), "belongs to git"),
    "git by case": (lambda: packed((".GiT/config", b"")), "belongs to git"),
    "NUL": (lambda: packed(("aXb", b"1")).replace(b"aXb", b"a\0b"), "control|not what"),
    "control": (lambda: packed(("a\nb", b"1")), "control"),
    "no name": (lambda: packed(("X", b"1")).replace(b"X", b"/"), "absolute|empty|damaged"),
    "deep": (lambda: packed(("a/" * 70 + "x", b"1")), "deeper than 64"),
    "broken UTF-8": (
        lambda: packed(("\u00e9", b"1")).replace("\u00e9".encode(), b"\xff\xfe"),
        "damaged|UTF-8",
    ),
    "wrong CRC": (lambda: directory(packed(("a", b"1" * 99)), 16, "<L", 7), "damaged"),
    "size too small": (lambda: directory(packed(("a", b"1" * 99)), 24, "<L", 9), "damaged"),
    "size too large": (lambda: directory(packed(("a", b"1" * 99)), 24, "<L", 2**31), "damaged"),
    "bzip2": (lambda: packed(("a", b"1"), method=zipfile.ZIP_BZIP2), "method"),
    "unknown method": (lambda: directory(packed(("a", b"1")), 10, "<H", 77), "method|feature"),
    "directory far away": (
        lambda: packed(("a", b"1"))[:-6] + struct.pack("<LH", 2**31, 0),
        "damaged",
    ),
    "folder with content": (lambda: packed(("a/", b"x")), "folder with content"),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*HOSTILE])
def test_hostile_zips_are_refused(kind: str) -> None:
    make, reason = HOSTILE[kind]
    with pytest.raises(BadBundle, match=reason):
        read_zip(make(), LIMITS)


def test_limits_are_the_callers() -> None:
    data = packed(("a", b"1" * 1000), ("b", b"2" * 1000))
    assert len(read_zip(data, ZipLimits(entries=2, unpacked_bytes=2000))) == 2
    for limits in (
        ZipLimits(entries=1),
        ZipLimits(unpacked_bytes=1999),
        ZipLimits(packed_bytes=len(data) - 1),
    ):
        with pytest.raises(BadBundle):
            read_zip(data, limits)


def test_folders_are_left_out_and_modes_kept() -> None:
    data = packed(("x/", b""), ("x/run.sh", b"#!"), mode=0o100755)
    assert read_zip(data, LIMITS) == (ZipFile("x/run.sh", b"#!", True),)
    assert read_zip(packed(), LIMITS) == ()
    assert not read_zip(packed(("a", b"")), LIMITS)[0].is_executable


SEGMENT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)
PATHS = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)


@given(files=st.dictionaries(PATHS, st.binary(max_size=99), max_size=5))
def test_any_zip_is_read_whole_or_refused(files: dict[str, bytes]) -> None:
    try:
        found = read_zip(packed(*files.items()), LIMITS)
    except BadBundle:
        return
    assert {file.path: file.data for file in found} == {
        path: data for path, data in files.items() if not path.endswith("/")
    }
    assert all(refusal(file.path) is None for file in found)


@given(data=st.binary(max_size=300), at=st.integers(0, 200), size=st.integers(0, 20))
def test_any_damage_is_refused_or_harmless(data: bytes, at: int, size: int) -> None:
    whole = packed(("a/b", b"x" * 60), ("c", b"y"))
    for damaged in (data, b"PK\3\4" + data, whole[:at] + data[:size] + whole[at + size :]):
        try:
            read_zip(damaged, LIMITS)
        except BadBundle:
            continue


def test_utf_8_without_its_flag_is_read() -> None:
    """As the zip program of Unix writes it."""
    data = flagged(packed(("\u00e9", b"1")), 0, clear=0x800)
    assert [file.path for file in read_zip(data, ZipLimits())] == ["\u00e9"]


def test_many_deep_names_take_no_more_room_than_their_characters() -> None:
    tracemalloc.start()
    try:
        spellings = Spellings()
        for number in range(300):
            spellings.add(f"{number:05}/" + "a/" * 500 + "f")
        assert tracemalloc.get_traced_memory()[1] < 300 * 502 * 600
    finally:
        tracemalloc.stop()
