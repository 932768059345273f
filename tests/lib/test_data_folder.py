"""The data folder: one server at a time, the same one after each restart."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.clock import ManualClock
from lib.data_folder import DataFolder, DataFolderError

Open = Callable[[], DataFolder]
BOOT_ID = "/proc/sys/kernel/random/boot_id"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "var"


@pytest.fixture
def open_folder(path: Path) -> Iterator[Open]:
    opened: list[DataFolder] = []

    def make() -> DataFolder:
        folder = DataFolder(path, clock=ManualClock())
        opened.append(folder)
        return folder

    yield make
    for folder in opened[-1:]:
        folder.close()


def test_a_new_folder_is_for_this_user_only(path: Path, open_folder: Open) -> None:
    folder = open_folder()
    modes = {each.name: each.stat().st_mode & 0o777 for each in path.iterdir()}
    assert path.stat().st_mode & 0o777 == 0o700
    assert modes.pop("api") == 0o711  # below a folder that nobody passes
    assert set(modes.values()) == {0o700, 0o600}
    assert {"blobs", "keys", "runs", "sandbox", "floom.sqlite3", "server.json"} <= modes.keys()
    assert folder.owner.startswith("srv_")
    assert folder.same_boot is False
    assert (path / "server.lock").read_text() == (
        f"process {os.getpid()}, since 2026-01-01T00:00:00.000Z\n"
    )


def test_the_owner_is_the_same_after_a_restart_on_the_same_boot(open_folder: Open) -> None:
    first = open_folder()
    first.close()
    second = open_folder()
    assert second.owner == first.owner
    assert second.same_boot is True


def test_after_a_reboot_the_owner_stays_and_the_boot_is_another(
    path: Path, open_folder: Open
) -> None:
    first = open_folder()
    first.close()
    file = path / "server.json"
    file.write_text(file.read_text().replace(Path(BOOT_ID).read_text().strip(), "another-boot"))

    rebooted = open_folder()
    assert (rebooted.owner, rebooted.same_boot) == (first.owner, False)
    rebooted.close()
    assert open_folder().same_boot is True


@pytest.mark.parametrize("text", ["", "{", "{}", '{"owner": "srv_x"}', "\x00\x00"])
def test_an_identity_that_cannot_be_read_is_made_anew(
    path: Path, open_folder: Open, text: str
) -> None:
    path.mkdir(parents=True)
    (path / "server.json").write_text(text)
    first = open_folder()
    assert first.owner.startswith("srv_")
    assert first.same_boot is False
    first.close()
    assert open_folder().owner == first.owner


def test_owners_of_two_folders_differ(tmp_path: Path) -> None:
    folders = [DataFolder(tmp_path / name, clock=ManualClock()) for name in ("a", "b")]
    assert folders[0].owner != folders[1].owner
    for folder in folders:
        folder.close()


def test_a_second_server_is_refused_and_told_who_holds_it(path: Path, open_folder: Open) -> None:
    open_folder()
    holder = (path / "server.lock").read_text()
    with pytest.raises(DataFolderError) as caught:
        DataFolder(path, clock=ManualClock())
    message = str(caught.value)
    assert f"process {os.getpid()}, since 2026-01-01T00:00:00.000Z" in message
    assert "FLOOM_DATA_DIR" in message
    assert "\n" not in message
    assert (path / "server.lock").read_text() == holder


def test_a_killed_server_leaves_no_lock(path: Path, open_folder: Open) -> None:
    root = Path(__file__).resolve().parents[2]
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from lib.clock import ManualClock\n"
        "from lib.data_folder import DataFolder\n"
        "DataFolder(Path(sys.argv[1]), clock=ManualClock())\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], cwd=root, check=False)
    assert ended.returncode == -9
    assert (path / "server.lock").exists()
    assert open_folder().same_boot is True


def test_the_lock_is_not_inherited_by_programs_that_the_server_starts(
    path: Path, open_folder: Open
) -> None:
    folder = open_folder()
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        folder.close()
        assert open_folder().owner == folder.owner
        child.communicate(b"\n")


def test_a_path_that_is_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "var"):
        with pytest.raises(DataFolderError) as caught:
            DataFolder(path, clock=ManualClock())
        assert str(caught.value).startswith(f"FLOOM_DATA_DIR={path}: ")
        assert "\n" not in str(caught.value)


def test_what_a_killed_server_left_of_an_upload_goes(path: Path, open_folder: Open) -> None:
    DataFolder(path, clock=ManualClock()).close()
    (path / "unfinished/tmp1").write_bytes(b"half")
    assert list(open_folder().unfinished.iterdir()) == []


def test_a_folder_that_cannot_be_laid_out_is_let_go(path: Path, open_folder: Open) -> None:
    DataFolder(path, clock=ManualClock()).close()
    (path / "server.json").unlink()
    (path / "server.json").mkdir()
    with pytest.raises(DataFolderError, match="FLOOM_DATA_DIR"):
        DataFolder(path, clock=ManualClock())
    (path / "server.json").rmdir()
    open_folder()


def test_everything_stands_inside_the_folder(path: Path, open_folder: Open) -> None:
    folder = open_folder()
    places = [folder.database, folder.blobs, folder.runs, folder.unfinished, folder.sandbox]
    assert all(place.parent == path for place in places)
    assert len(set(places)) == len(places)


def test_a_server_that_is_refused_changes_nothing_of_the_one_that_has_it(
    path: Path, open_folder: Open
) -> None:
    """The sandbox may have opened the way to the runs' own folders."""
    folder = open_folder()
    for opened in (path, folder.runs):
        opened.chmod(0o711)
    with pytest.raises(DataFolderError):
        DataFolder(path, clock=ManualClock())
    assert [each.stat().st_mode & 0o777 for each in (path, folder.runs)] == [0o711, 0o711]
