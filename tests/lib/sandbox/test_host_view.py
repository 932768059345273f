"""Which paths are shown, by name alone."""

from __future__ import annotations

from pathlib import Path

from lib.sandbox.host_view import HostView, is_below, outermost


def test_a_path_below_another_is_left_out() -> None:
    paths = ["/usr/lib/node", "/usr", "/usr-local", "/opt/a/b", "/opt/a"]
    assert outermost(paths) == ("/opt/a", "/usr", "/usr-local")


def test_a_name_that_only_begins_alike_is_not_below() -> None:
    assert is_below("/a/b", "/a")
    assert is_below("/a", "/a")
    assert not is_below("/ab", "/a")
    assert is_below("/a", "/")


def test_the_view_shows_programs_and_nothing_private(tmp_path: Path) -> None:
    view = HostView.find([str(tmp_path)])
    assert "/usr" in view.readable
    assert str(tmp_path) in view.readable
    for private in ("/etc", "/etc/shadow", "/etc/ssl/private", "/home", "/root", "/var", "/run"):
        assert not any(is_below(private, path) for path in view.readable)
    assert "null" in view.devices
