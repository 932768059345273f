"""The git command: where credentials go, and where they do not."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from lib.git_address import parse_address
from lib.workspace.remote.git_command import GitCommand, RemoteFailed
from tests.lib.workspace.place import Place
from tests.lib.workspace.remote import servers

VARIABLES = {"PATH": os.defpath + ":/usr/local/bin", "HOME": "/nonexistent"}


def command(place: Place, address: str, **variables: str) -> GitCommand:
    place.root.mkdir(exist_ok=True)
    place.git("init", "-q", "--bare", ".git")
    return GitCommand(
        place.root / ".git", parse_address(address), variables={**VARIABLES, **variables}
    )


def test_a_redirect_to_another_host_takes_no_credentials_along(place: Place) -> None:
    with (
        servers.answering(404) as (other, got_there),
        servers.answering(302, location=f"http://{other}") as (host, got_here),
        pytest.raises(RemoteFailed),
    ):
        command(place, f"http://anna:{servers.PASSWORD}@{host}/ws.git").list_heads()
    assert got_here[0] is not None
    assert got_there
    assert set(got_there) == {None}


def test_a_token_alone_is_sent_as_the_user(place: Place) -> None:
    asks = {"www-authenticate": 'Basic realm="git"'}
    with servers.answering(401, **asks) as (host, got), pytest.raises(RemoteFailed) as failed:
        command(place, f"http://ghp_token12@{host}/ws.git").list_heads()
    assert "Basic " + base64.b64encode(b"ghp_token12:").decode() in got
    assert "ghp_token12" not in str(failed.value)


def test_an_echo_of_the_credentials_is_taken_out_before_the_message_is_cut(place: Place) -> None:
    folder = servers.bare(place.base / "ws.git")
    git = command(place, f"http://anna:{servers.PASSWORD}@localhost/ws.git")
    failed = git._failed("push", "x" * 490 + servers.PASSWORD + str(folder))
    assert servers.PASSWORD[:6] not in str(failed)


def test_without_git_the_message_says_so(place: Place, tmp_path: Path) -> None:
    git = command(place, "/srv/none.git", PATH=str(tmp_path))
    with pytest.raises(RemoteFailed, match="git cannot be started: No such file"):
        git.list_heads()


def test_hooks_of_the_workspace_s_repository_are_not_run(place: Place) -> None:
    folder = servers.bare(place.base / "remote.git")
    git = command(place, str(folder))
    hook = place.root / ".git/hooks/pre-push"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    tree = place.git("hash-object", "-t", "tree", "-w", "/dev/null").strip()
    commit = place.git("commit-tree", tree, "-m", "x").strip()
    git.push(commit, "main")
    assert git.list_heads() == {"main": commit}
