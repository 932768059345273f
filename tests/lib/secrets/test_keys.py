"""Keys: made once, kept private, derived apart."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.secrets.keys import KEY_BYTES, Key, KeyFolder, KeyUnusable
from tests.contract.threads import together

ROOT_KEY = Key(bytes(range(KEY_BYTES)))


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys")


def test_a_label_always_gives_the_same_bytes_and_another_one_others() -> None:
    assert ROOT_KEY.derive("sessions") == Key(bytes(range(KEY_BYTES))).derive("sessions")
    derived = {ROOT_KEY.derive(label) for label in ("sessions", "links", "key id", "")}
    assert len(derived) == 4
    assert {len(each) for each in derived} == {32}
    assert Key(bytes(KEY_BYTES)).derive("sessions") not in derived


def test_derivation_is_hkdf_as_others_compute_it() -> None:
    """RFC 5869 by hand: what is derived today must be derived for ever."""
    import hmac

    extracted = hmac.digest(bytes(32), bytes(range(KEY_BYTES)), "sha256")
    expanded = hmac.digest(extracted, b"floom sessions\x01", "sha256")
    assert ROOT_KEY.derive("sessions") == expanded


@given(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
def test_an_id_names_a_key_and_does_not_show_it(material: bytes) -> None:
    key = Key(material)
    assert key.id == Key.from_hex(material.hex()).id
    assert len(key.id) == 16
    assert key.id not in material.hex()
    assert material.hex() not in repr(key)


def test_a_key_of_another_size_is_a_defect() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Key(b"short")


def test_a_new_key_is_random_and_private(folder: KeyFolder) -> None:
    key = folder.get_or_create("secrets")

    path = folder.file("secrets")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]
    assert folder.find("secrets") is not None
    assert folder.get_or_create("secrets").id == key.id
    assert folder.get_or_create("server").id != key.id


def test_nothing_is_made_by_looking(folder: KeyFolder) -> None:
    assert folder.find("secrets") is None
    assert not folder.file("secrets").parent.exists()


def test_all_that_ask_at_once_get_the_same(tmp_path: Path) -> None:
    ids = together(lambda _: KeyFolder(tmp_path / "keys").get_or_create("secrets").id, 16)
    assert len(set(ids)) == 1
    assert len(list((tmp_path / "keys").iterdir())) == 1


def test_processes_that_ask_at_once_get_the_same(tmp_path: Path) -> None:
    """Each child waits for the pipe to close, then creates, and says what it got."""
    go, went = os.pipe()
    children = [_child(KeyFolder(tmp_path / "keys"), go, went) for _ in range(8)]
    os.close(went)
    os.close(go)
    seen = set()
    for pid, answer in children:
        with os.fdopen(answer) as file:
            seen.add(file.read())
        assert os.waitpid(pid, 0)[1] == 0
    assert seen == {KeyFolder(tmp_path / "keys").get_or_create("secrets").id}


def _child(folder: KeyFolder, go: int, went: int) -> tuple[int, int]:
    answer, answer_end = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        try:
            os.close(went)
            os.read(go, 1)
            os.write(answer_end, folder.get_or_create("secrets").id.encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(answer_end)
    return pid, answer


@pytest.mark.parametrize("content", ["", "zz" * 32, "00" * 31, "00" * 33, "\N{KEY}"])
def test_a_damaged_file_is_refused_and_left_as_it_is(folder: KeyFolder, content: str) -> None:
    path = folder.file("secrets")
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(KeyUnusable, match="64 hexadecimal digits"):
        folder.get_or_create("secrets")

    assert path.read_text() == content


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(KeyUnusable, match=r"keys/secrets.key: Not a directory"):
        KeyFolder(tmp_path / "keys").get_or_create("secrets")


def test_a_file_that_others_may_read_is_warned_of(
    folder: KeyFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.get_or_create("secrets")
    with caplog.at_level(logging.WARNING):
        folder.find("secrets")
        assert caplog.messages == []
        folder.file("secrets").chmod(0o640)
        folder.find("secrets")
    assert caplog.messages == ["key_file_readable_by_others"]
