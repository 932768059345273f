"""The assembler: jumps, and what it refuses."""

from __future__ import annotations

import struct

import pytest

from lib.sandbox.bpf import Label, Line, assemble, give_back, if_equal, load


def test_jumps_are_counted_from_the_next_instruction() -> None:
    program = assemble([load(0), if_equal(7, then="end"), give_back(1), Label("end"), give_back(2)])
    assert struct.unpack_from("=HBBI", program, 8) == (0x15, 1, 0, 7)
    assert len(program) == 4 * 8


@pytest.mark.parametrize("distance", [255, 256])
def test_a_jump_too_far_is_refused(distance: int) -> None:
    lines: list[Line] = [if_equal(1, then="end"), *[load(0)] * distance, Label("end"), give_back(0)]
    if distance > 255:
        with pytest.raises(ValueError, match="jump to end over 256"):
            assemble(lines)
    else:
        assert assemble(lines)


def test_a_jump_backwards_or_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="jump to start"):
        assemble([Label("start"), load(0), if_equal(1, then="start")])
    with pytest.raises(ValueError, match="no label"):
        assemble([if_equal(1, then="nowhere")])
