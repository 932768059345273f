"""`local_server.py admin-link`, as a process, beside a server and without one."""

from __future__ import annotations

import sqlite3  # noqa: TID251 - makes a file as an older version left it
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from lib.admin_link import USAGE, run_command
from lib.clock import SystemClock
from lib.data_folder import DataFolder, database_of
from lib.storage.sqlite.migrations import apply, scripts
from tests.e2e.server import ROOT, ServerProcess

PORT = 8123


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that the command finds when it is called in this process."""
    monkeypatch.setenv("FLOOM_DATA_DIR", str(tmp_path / "var"))
    return tmp_path / "var"


def admin_link(
    data: Path, *arguments: str, port: int = PORT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator does."""
    return subprocess.run(
        [sys.executable, str(ROOT / "local_server.py"), *arguments],
        env={"FLOOM_DATA_DIR": str(data), "FLOOM_PORT": str(port), "PYTHONWARNINGS": "error"}
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=data.parent,
        check=False,
    )


@contextmanager
def signed_in(server: ServerProcess, url: str) -> Iterator[httpx.Client]:
    """Push the button of a link's page; lend a browser that is signed in."""
    with httpx.Client(base_url=server.url, headers={"accept": "text/html"}) as browser:
        asked = browser.get(url)
        assert (asked.status_code, browser.cookies.get("floom_session")) == (200, None)
        answer = browser.post(url.partition("?")[0])
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        yield browser


def test_it_lets_an_operator_in_beside_a_running_server_and_without_one(tmp_path: Path) -> None:
    data = tmp_path / "var"
    before = admin_link(data, "admin-link")  # there has been no server yet
    assert before.returncode == 0, before.stderr
    assert stat.S_IMODE(database_of(data).stat().st_mode) == 0o600
    with (
        ServerProcess(data, FLOOM_SECRET="a secret of 16 characters") as server,
        ExitStack() as browsers,
    ):
        links = [before.stdout.strip().replace(str(PORT), str(server.port))]
        for arguments in (["admin-link"], ["admin-link", " Ada@Example.com "]):
            made = admin_link(data, *arguments, port=server.port)
            assert made.returncode == 0, made.stderr
            assert made.stdout.startswith(f"{server.url}/auth/magic/fml_")
            assert made.stdout.strip() not in made.stderr
            links.append(made.stdout.strip())
        admins = [browsers.enter_context(signed_in(server, link)) for link in links]
        seen = [admin.get("/auth/me").json() for admin in admins]

        assert [each["role"] for each in seen] == ["admin"] * 3
        assert [each["email"] for each in seen] == [None, None, "ada@example.com"]
        assert seen[0]["user_id"] == seen[1]["user_id"] != seen[2]["user_id"]

        path = f"/auth/users/{seen[2]['user_id']}"
        assert admins[0].patch(path, json={"disabled": True}).status_code == 200
        assert admins[2].get("/auth/me").status_code == 401
        refused = admin_link(data, "admin-link", "ada@example.com", port=server.port)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "ada@example.com is disabled" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["admin"], ["admin-link", "a@b.c", "x"], ["admin-link", "--x"], ["serve"]],
)
def test_what_it_does_not_know_is_answered_with_its_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    assert capsys.readouterr() == ("", f"{USAGE}\n")


def test_the_program_hands_its_arguments_on(tmp_path: Path) -> None:
    made = admin_link(tmp_path / "var", "--help")
    assert (made.returncode, made.stdout, made.stderr) == (2, "", f"{USAGE}\n")
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    ("variable", "value", "arguments", "needle"),
    [
        ("FLOOM_PORT", "8000", ["nobody"], "Give an e-mail address"),
        ("FLOOM_SECRET", "short", [], "FLOOM_SECRET"),
        ("FLOOM_DATA_DIR", "/dev/null/x", [], "FLOOM_DATA_DIR"),
    ],
)
def test_what_is_wrong_is_one_line(
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    arguments: list[str],
    needle: str,
) -> None:
    monkeypatch.setenv(variable, value)
    assert run_command(["admin-link", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert needle in said.err
    assert said.err.count("\n") == 1


def test_for_a_bad_address_no_folder_is_made(data: Path) -> None:
    assert run_command(["admin-link", "nobody"]) == 2
    assert not data.exists()


def test_a_link_that_cannot_be_printed_is_one_line_and_an_error(tmp_path: Path) -> None:
    for output in (">/dev/full", ">&-"):
        made = subprocess.run(
            [
                "/bin/sh",
                "-c",
                f'"$0" "$1" admin-link {output}',
                sys.executable,
                ROOT / "local_server.py",
            ],
            env={"FLOOM_DATA_DIR": str(tmp_path / "var"), "PYTHONWARNINGS": "error"},
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            cwd=tmp_path,
            check=False,
        )
        assert made.returncode == 2
        assert made.stderr.startswith("floom: The link could not be printed")
        assert made.stderr.count("\n") == 1


def test_a_file_of_another_version_is_changed_only_while_no_server_has_it(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = DataFolder(data, clock=SystemClock())  # the lock that a server holds
    try:
        with closing(sqlite3.connect(database_of(data), isolation_level=None)) as connection:
            apply(connection, scripts()[:-1])  # as an older version left it
        before = database_of(data).read_bytes()
        capsys.readouterr()
        assert run_command(["admin-link"]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "not changed while a server uses it" in said.err
        assert said.err.count("\n") == 1
        assert database_of(data).read_bytes() == before
    finally:
        server.close()
    assert run_command(["admin-link"]) == 0
