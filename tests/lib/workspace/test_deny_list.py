from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lib.workspace.deny_list import gitignore, is_denied, is_secret

DENIED = [
    ".env", ".env.local", ".envrc", "prod.env", ".netrc", ".npmrc", ".pypirc", "credentials",
    "credentials.json", "secrets.yml", "server.pem", "server.key", "a.p12", "a.pfx", "a.p8",
    "a.der", "a.ppk", "id_rsa", "id_rsa.pub", "id_ed25519", ".venv", "node_modules",
    "__pycache__", "cache.db", "cache.db-wal",
]  # fmt: skip
ALLOWED = [
    ".env.example", ".env.sample", ".env.template", "worker.yml", "run.py", "credentials_help.md",
    "inputs", "out", "keyboard", "environment.py", "secret.txt", "id_dsa.md",
]  # fmt: skip


@pytest.mark.parametrize("name", DENIED)
def test_denied_names_are_denied_as_file_and_as_folder(name: str) -> None:
    assert is_denied(f"workers/a/{name}")
    assert is_denied(f"workers/{name}/b.txt")


@pytest.mark.parametrize("name", ALLOWED)
def test_other_names_are_allowed(name: str) -> None:
    assert is_denied(f"workers/a/{name}") is None


def test_case_does_not_get_a_secret_through() -> None:
    assert is_secret("workers/a/.ENV")
    assert is_secret("workers/a/Server.PEM")


def test_a_cache_is_denied_but_no_secret() -> None:
    assert is_denied("workers/a/node_modules/x.js")
    assert not is_secret("workers/a/node_modules/x.js")


def test_stock_git_ignores_the_same_names(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_bytes(gitignore())
    paths = [f"workers/a/{name}" for name in DENIED + ALLOWED]
    done = subprocess.run(
        ["git", "-C", str(tmp_path), "check-ignore", "--no-index", *paths],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [f"workers/a/{name}" for name in DENIED]
