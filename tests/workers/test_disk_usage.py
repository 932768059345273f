"""disk-usage: a bash worker that copes with strange names and a bare host."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest

WORKERS = Path(__file__).parents[2] / "workers"

DEFAULTS = {"depth": 1, "top": 50, "warn_percent": 90}


def rows_of(done, path="out/usage.csv"):
    return list(csv.reader(io.StringIO(done.text(path), newline="")))


@pytest.fixture
def tools(tmp_path):
    """Return a maker of a folder for PATH that holds only the commands named."""

    def make(*names):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in names:
            found = shutil.which(name)
            assert found
            (folder / name).symlink_to(found)
        return str(folder)

    return make


def test_reports_its_own_folder(launcher):
    launch = launcher("disk-usage")
    launch.files["context/large.bin"] = b"x" * 300_000

    done = launch(DEFAULTS)

    assert done.outputs["files"] == 4
    assert done.outputs["total_kib"] >= 300
    assert done.outputs["largest"] == "context"
    assert rows_of(done)[0] == ["path", "kind", "kib"]
    assert rows_of(done)[1][:2] == ["context", "folder"]
    assert int(rows_of(done)[1][2]) >= 293


def test_reports_the_filesystems(launcher):
    done = launcher("disk-usage")(DEFAULTS)

    assert done.outputs["filesystems"] == "out/filesystems.csv"
    assert [row[0] for row in rows_of(done, "out/filesystems.csv")] == [
        "place",
        "work",
        "tmp",
        "root",
    ]
    assert 0 <= done.outputs["used_percent"] <= 100


@pytest.mark.parametrize("warn_percent", [1, 100])
def test_low_space_follows_the_warning_level(launcher, warn_percent):
    done = launcher("disk-usage")({**DEFAULTS, "warn_percent": warn_percent})

    assert done.outputs["low_space"] is (done.outputs["used_percent"] >= warn_percent)


def test_depth_and_rows_are_bounded(launcher):
    launch = launcher("disk-usage")
    launch.files |= {f"a/b/c/{at}": b"x" * 5000 * at for at in range(5)}

    done = launch({**DEFAULTS, "depth": 3, "top": 3})

    assert [row[0] for row in rows_of(done)[1:]] == ["a", "a/b", "a/b/c"]


HOSTILE = [
    "new\nline",
    'quote"',
    "back\\slash",
    "-rf",
    "=1+1",
    "$(touch pwned)",
    "`touch pwned`",
    "a*b?[c]",
    "😀 é 漢",
    "tab\there",
    "\x01\x7f",
    '", "files": 999, "x": "',
    " leading",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(launcher, name):
    launch = launcher("disk-usage")
    launch.files[name] = b"x" * 500_000

    done = launch(DEFAULTS)

    assert done.outputs["largest"] == name
    assert done.outputs["files"] == 4
    assert not (done.folder / "pwned").exists()
    shown = rows_of(done)[1][0]
    assert len(shown.lstrip("'")) == len(name)
    assert shown[0] not in "=+-@"


def test_names_that_are_no_utf8_are_shown_with_a_mark(launcher):
    launch = launcher("disk-usage")
    launch.files["bad\udce9\udcff"] = b"x" * 500_000
    launch.files["é"] = b"x" * 100_000

    done = launch(DEFAULTS)

    assert done.outputs["largest"] == "bad\ufffd\ufffd"
    assert rows_of(done)[2][0] == "é"


def test_links_are_not_followed(launcher):
    launch = launcher("disk-usage")
    launch.files["folder/file"] = b"x" * 200_000
    prepare = launch.prepare

    def prepare_with_link(inputs):
        prepare(inputs)
        (launch.folder / "link").symlink_to("/")

    launch.prepare = prepare_with_link

    done = launch({**DEFAULTS, "depth": 5})

    assert done.outputs["files"] == 4
    assert ["link", "link", "0"] in rows_of(done)


@pytest.mark.soak
def test_many_files_are_bounded(launcher):
    launch = launcher("disk-usage")
    launch.files |= {f"many/{at:04d}": b"" for at in range(2_100)}

    done = launch({**DEFAULTS, "depth": 2, "top": 2000})

    assert done.outputs["files"] == 2_103
    assert len(rows_of(done)) == 2_001
    assert "entries were left out" in done.stderr


def test_without_du_the_error_says_so(launcher, tools):
    launch = launcher("disk-usage")
    launch.path = tools()

    assert launch(DEFAULTS).error["code"] == "du_missing"


def test_du_alone_is_enough(launcher, tools):
    launch = launcher("disk-usage")
    launch.path = tools("du")

    done = launch(DEFAULTS)

    assert done.outputs["files"] == 3
    assert "filesystems" not in done.outputs
    assert len(rows_of(done)) == 5


def test_df_that_cannot_answer_is_left_out(launcher, tools, tmp_path):
    launch = launcher("disk-usage")
    launch.path = tools("du", "sort")
    df = tmp_path / "bin" / "df"
    df.write_text("#!/bin/sh\necho 'df: cannot read table of mounted file systems' >&2\nexit 1\n")
    df.chmod(0o755)

    done = launch(DEFAULTS)

    assert "free_kib" not in done.outputs
    assert not (done.folder / "out" / "filesystems.csv").exists()


def can_hide_proc():
    command = ["unshare", "-m", "mount", "--bind", "/mnt", "/proc"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not can_hide_proc(), reason="hiding /proc needs the right to mount")
def test_works_without_proc(launcher):
    hide = ("/usr/bin/env", "unshare", "-m", "sh", "-c")
    script = 'mount --bind /mnt /proc && test ! -e /proc/self && exec "$@"'

    done = launcher("disk-usage")(DEFAULTS, prefix=(*hide, script, "sh"))

    assert done.outputs["files"] == 3
    assert len(rows_of(done)) == 5


def test_is_valid_bash():
    script = WORKERS / "disk-usage" / "run.sh"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


def test_result_is_ascii_json(launcher):
    done = launcher("disk-usage")(DEFAULTS)

    assert json.loads((done.folder / "result.json").read_bytes().decode("ascii"))
