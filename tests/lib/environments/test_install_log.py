"""An installation's log: bounded, without passwords, and its cause found."""

from __future__ import annotations

from lib.environments.install_log import MAX_HEAD_LINES, MAX_TAIL_LINES, InstallLog
from lib.secrets.mask import NO_MASK, Mask


def logged(*lines: str, mask: Mask = NO_MASK) -> InstallLog:
    log = InstallLog(mask)
    for line in lines:
        log.add(line)
    return log


def test_head_and_tail_are_kept_and_the_gap_is_counted() -> None:
    count = MAX_HEAD_LINES + MAX_TAIL_LINES + 7
    lines = logged(*(str(n) for n in range(count))).lines
    assert lines[0] == "0"
    assert lines[-1] == str(count - 1)
    assert lines[MAX_HEAD_LINES] == "7 lines dropped"
    assert len(lines) == MAX_HEAD_LINES + MAX_TAIL_LINES + 1


def test_a_password_is_hidden_also_where_a_line_is_cut() -> None:
    log = logged("x" * 1_995 + "correct-horse" + "y" * 100, mask=Mask(["correct-horse"]))
    assert "correct" not in log.lines[0]


def test_colours_and_control_characters_are_gone() -> None:
    assert logged("\x1b[31merror\x1b[0m:\x07 no").lines == ("error: no",)


def test_the_message_begins_where_the_cause_does() -> None:
    log = logged("Resolved 3 packages", "", "error: cannot", "  cause: network", "hint: try again")
    assert log.message == "error: cannot\n  cause: network\nhint: try again"
    assert logged(
        "npm error code E404",
        "npm error 404 Not Found",
        "npm error A complete log of this run can be found in: /x",
    ).message == ("npm error code E404\nnpm error 404 Not Found")
    assert logged("a", "b").message == "a\nb"
    assert logged().message == ""
