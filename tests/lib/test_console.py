"""What the server says when it starts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.console import banner, warn_about
from lib.settings import Settings
from lib.storage.records import SandboxReport
from tests.lib.runs.world import World, open_world

SECRET = "correct horse battery"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world:
        yield world


def said(world: World, report: SandboxReport, **settings: object) -> str:
    chosen = Settings.model_validate(settings)
    world.sandbox.holds = report
    world.sandbox.mode = chosen.sandbox_mode
    return banner(chosen, world.services())


def test_the_banner_says_where_to_click_and_what_to_try(world: World) -> None:
    text = said(world, SandboxReport(*["held"] * 5), FLOOM_PORT=9000)
    assert "http://localhost:9000/docs" in text
    assert "curl -s http://localhost:9000/workers/hello-worker/runs \\\n" in text
    assert "Isolation       whole\n" in text
    assert str(Path("var/workspace").absolute()) in text
    assert "secret" not in text


def test_the_command_carries_the_secret_s_name_and_never_its_value(world: World) -> None:
    text = said(world, SandboxReport(), FLOOM_SECRET=SECRET, FLOOM_SANDBOX="best_effort")
    assert '-H "x-floom-secret: $FLOOM_SECRET"' in text
    assert SECRET not in text


def test_isolation_that_is_not_held_is_said_loudly(world: World) -> None:
    text = said(world, SandboxReport(limits="rlimits"))
    assert "NOT whole, nothing holds files, network, processes, privileges" in text


def test_isolation_that_is_required_and_not_whole_is_said_too(world: World) -> None:
    text = said(world, SandboxReport(limits="rlimits"), FLOOM_SANDBOX="require")
    assert "no run will start" in text


def test_isolation_that_is_switched_off_is_said_too(world: World) -> None:
    assert "OFF" in said(world, SandboxReport(limits="rlimits"), FLOOM_SANDBOX="off")


def warn(dotenv: Path = Path("/nowhere"), **settings: object) -> None:
    warn_about(Settings.model_validate(settings), dotenv=dotenv)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_an_open_server_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn(FLOOM_HOST="0.0.0.0", FLOOM_ALLOW_OPEN=True)
    assert "open_server" in events(caplog)


def test_a_server_with_a_secret_is_not(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn(FLOOM_HOST="0.0.0.0", FLOOM_SECRET=SECRET)
        warn()
    assert "open_server" not in events(caplog)


def test_variables_that_are_no_settings_are_warned_about(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOOM_PROT", "9000")
    with caplog.at_level(logging.WARNING):
        warn()
    assert "unknown_setting" in events(caplog)


def test_variables_of_the_file_are_warned_about_too(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("FLOOM_PROT=9000\n")
    with caplog.at_level(logging.WARNING):
        warn(tmp_path / ".env")
    assert "unknown_setting" in events(caplog)
