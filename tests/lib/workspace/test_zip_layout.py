"""Zips that can be read in two ways are refused; those of every usual packer are read."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.workspace.zip_layout import BadBundle
from lib.workspace.zip_reader import ZipFile, ZipLimits, read_zip

LIMITS = ZipLimits()
CONTENT = {"a": b"1" * 99, "b/c": bytes(range(256)), "d": b""}
FILES = tuple(ZipFile(path, data, False) for path, data in CONTENT.items())
NEEDS_ZIP = pytest.mark.skipif(shutil.which("zip") is None, reason="Info-ZIP is not installed")


def packed(
    files: dict[str, bytes] = CONTENT, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b""
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.comment = comment
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


class Unseekable(io.BytesIO):
    """A stream, so that sizes come after the bytes."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError

    def seek(self, *_: int) -> int:
        raise OSError


def streamed(*, zip64: bool = False, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = Unseekable()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in CONTENT.items():
            with archive.open(name, "w", force_zip64=zip64) as file:
                file.write(data)
    return out.getvalue()


def wide() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in CONTENT.items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(data)
    return out.getvalue()


def moved(data: bytes, at: int, inserted: bytes, cut: int = 0) -> bytes:
    """Put bytes in the place of `cut` others, and set every offset behind them right."""
    by = len(inserted) - cut
    out = bytearray(data[:at] + inserted + data[at + cut :])
    end = out.rindex(b"PK\5\6")
    (start,) = struct.unpack_from("<L", out, end + 16)
    place = start + by
    struct.pack_into("<L", out, end + 16, place)
    while out[place : place + 4] == b"PK\1\2":
        (header,) = struct.unpack_from("<L", out, place + 42)
        struct.pack_into("<L", out, place + 42, header + by * (header >= at))
        place += 46 + sum(struct.unpack_from("<3H", out, place + 28))
    return bytes(out)


def mac() -> bytes:
    """As the Archive Utility packs: sizes after the bytes, other extra fields in each header."""
    extra = b"UX\x0c\0" + bytes(12)
    data = streamed()
    at = data.index(b"PK\3\4") + 30 + 1
    data = moved(data, at, extra)
    data = data[:28] + struct.pack("<H", len(extra)) + data[30:]
    central = data.index(b"PK\1\2")
    extra = b"UX\x08\0" + bytes(8)
    out = bytearray(data[: central + 47] + extra + data[central + 47 :])
    struct.pack_into("<H", out, central + 30, len(extra))
    end = out.rindex(b"PK\5\6")
    (size,) = struct.unpack_from("<L", out, end + 12)
    struct.pack_into("<L", out, end + 12, size + len(extra))
    return bytes(out)


SOUND: dict[str, Callable[[], bytes]] = {
    "deflated": packed,
    "stored": lambda: packed(method=zipfile.ZIP_STORED),
    "with a comment": lambda: packed(comment=b"a1b2c3"),
    "streamed": streamed,
    "streamed and stored": lambda: streamed(method=zipfile.ZIP_STORED),
    "streamed and wide": lambda: streamed(zip64=True),
    "wide": wide,
    "of a Mac": mac,
}


@pytest.mark.parametrize("kind", [*SOUND])
def test_what_usual_packers_make_is_read(kind: str) -> None:
    assert read_zip(SOUND[kind](), LIMITS) == FILES


@NEEDS_ZIP
@pytest.mark.parametrize("options", ["-r", "-r0", "-rfd", "-rfz", "-rX"])
def test_what_info_zip_makes_is_read(tmp_path: Path, options: str) -> None:
    for path, data in CONTENT.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    info_zip(tmp_path, options, "x.zip", *CONTENT)
    assert read_zip((tmp_path / "x.zip").read_bytes(), LIMITS) == FILES


@NEEDS_ZIP
def test_what_info_zip_makes_in_a_pipe_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT["a"])
    assert read_zip(info_zip(tmp_path, "-", "a"), LIMITS) == FILES[:1]
    assert read_zip(info_zip(tmp_path, "-fd", "-", "a"), LIMITS) == FILES[:1]


def info_zip(folder: Path, *arguments: str) -> bytes:
    command = ["zip", "-q", *arguments]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, input=b"hello"
    ).stdout


def local(offset: int, form: str, value: int, data: bytes | None = None) -> bytes:
    """Change a field of the first local header."""
    out = bytearray(data or packed())
    struct.pack_into(form, out, offset, value)
    return bytes(out)


def central(offset: int, form: str, value: int, data: bytes | None = None) -> bytes:
    """Change a field of the directory's first entry."""
    data = data or packed()
    return local(data.index(b"PK\1\2") + offset, form, value, data)


def end(offset: int, form: str, value: int, data: bytes | None = None) -> bytes:
    data = data or packed()
    return local(data.rindex(b"PK\5\6") + offset, form, value, data)


def descriptor(offset: int, value: int) -> bytes:
    data = streamed()
    return local(data.index(b"PK\7\x08") + offset, "<L", value, data)


def two_ends() -> bytes:
    """One end inside of the other's comment."""
    first, second = packed({"a": b"1"}), packed({"b": b"2"})
    return end(20, "<H", len(second), first) + second


def second_of_two() -> bytes:
    """Two zips, joined, with the offsets of the second set right."""
    first, second = packed({"a": b"1"}), packed({"b": b"2"})
    return moved(second, 0, first)


def unused_packed_bytes() -> bytes:
    """More packed bytes than the content needs."""
    data = packed({"a": b"1" * 99})
    size = data.index(b"PK\1\2") - 31
    data = moved(data, 31 + size, b"hidden")
    return central(20, "<L", size + 6, local(18, "<L", size + 6, data))


def hiding_folder() -> bytes:
    content = b"hidden"
    data = packed({"a/": b"1" * 6}, zipfile.ZIP_STORED).replace(b"1" * 6, content)
    assert content in data
    data = local(22, "<L", 0, local(14, "<L", 0, data))
    return central(24, "<L", 0, central(16, "<L", 0, data))


def two_names() -> bytes:
    data = packed({"a": b"1"})
    field = b"\x75\x70\x06\0\1" + struct.pack("<L", zlib.crc32(b"a")) + b"b"
    data = moved(data, 31, field)
    return local(28, "<H", len(field), data)


def wide_ends_differ() -> bytes:
    data = packed({"a": b"1"})
    at = data.rindex(b"PK\5\6")
    (start,) = struct.unpack_from("<L", data, at + 16)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, at - start, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    sound = data[:at] + record + locator + data[at:]
    assert len(read_zip(sound, LIMITS)) == 1
    return end(16, "<L", 7, sound)


AMBIGUOUS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a byte after the end": (lambda: packed() + b"\0", "does not end"),
    "ten bytes after the end": (lambda: packed() + b"0123456789", "does not end"),
    "bytes after a comment": (lambda: packed(comment=b"hi") + b"!", "does not end"),
    "two zips": (lambda: packed({"a": b"1"}) + packed({"b": b"2"}), "directory is not"),
    "two zips, offsets right": (second_of_two, "before its first entry"),
    "an end in the comment": (lambda: packed(comment=b"PK\5\6" + bytes(40)), "two ways"),
    "two ends": (two_ends, "two ways"),
    "two ends of one": (wide_ends_differ, "two ends differ"),
    "bytes between entries": (lambda: moved(packed(), packed().index(b"PK\3\4", 4), b"x"), "after"),
    "an entry in no directory": (lambda: moved(packed(), packed().index(b"PK\1\2"), packed()[:200]), "after"),
    "bytes before the end": (lambda: packed()[:-22] + b"x" + packed()[-22:], "directory is not"),
    "encrypted by the local header": (lambda: local(6, "<H", 1), "headers .* differ"),
    "sizes follow, by one header": (lambda: local(6, "<H", 8), "headers .* differ"),
    "another method": (lambda: local(8, "<H", 0), "headers .* differ"),
    "another CRC": (lambda: local(14, "<L", 7), "headers .* differ"),
    "another packed size": (lambda: local(18, "<L", 7), "headers .* differ"),
    "another size": (lambda: local(22, "<L", 7), "headers .* differ"),
    "another name": (lambda: local(30, "<B", ord("z")), "headers .* differ"),
    "another name, by a field": (two_names, "two names"),
    "no local header": (lambda: local(0, "<L", 0), "not a zip"),
    "CRC after the bytes lies": (lambda: descriptor(4, 7), "after"),
    "packed size after the bytes lies": (lambda: descriptor(8, 7), "after"),
    "size after the bytes lies": (lambda: descriptor(12, 7), "after"),
    "sizes differ though they follow": (lambda: local(22, "<L", 98, streamed()), "differ"),
    "packed bytes that nothing needs": (unused_packed_bytes, "not what its header says"),
    "a folder that hides bytes": (hiding_folder, "not what its header says"),
    "a patch": (lambda: central(8, "<H", 0x20, local(6, "<H", 0x20)), "feature"),
    "on another disk": (lambda: central(34, "<H", 1), "elsewhere"),
    "more disks": (lambda: end(4, "<H", 1), "directory is not"),
    "fewer entries than there are": (lambda: end(10, "<H", 2, end(8, "<H", 2)), "another size"),
    "more entries than there are": (lambda: end(10, "<H", 9, end(8, "<H", 9)), "ends too early"),
    "a comment past the directory": (lambda: central(32, "<H", 999), "ends too early|another size"),
    "no size where it should be": (lambda: central(24, "<L", 2**32 - 1), "beyond its end"),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*AMBIGUOUS])
def test_what_can_be_read_in_two_ways_is_refused(kind: str) -> None:
    make, reason = AMBIGUOUS[kind]
    with pytest.raises(BadBundle, match=reason):
        read_zip(make(), LIMITS)


def test_a_zip_inside_of_a_zip_is_a_file() -> None:
    files = {"inner.zip": packed(), "z": b"PK\1\2PK\3\4PK\5\6"}
    found = read_zip(packed(files, zipfile.ZIP_STORED), LIMITS)
    assert {file.path: file.data for file in found} == files


@given(at=st.integers(0, len(streamed()) - 1), value=st.integers(0, 255))
def test_no_changed_byte_gives_other_files(at: int, value: int) -> None:
    """Modes and dates are in the directory only; all the rest is said twice."""
    data = bytearray(streamed())
    data[at] = value
    try:
        found = read_zip(bytes(data), LIMITS)
    except BadBundle:
        return
    assert [(file.path, file.data) for file in found] == [*CONTENT.items()]


def test_what_is_accepted_is_what_others_read() -> None:
    for make in SOUND.values():
        with zipfile.ZipFile(cast("IO[bytes]", io.BytesIO(make()))) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == CONTENT
