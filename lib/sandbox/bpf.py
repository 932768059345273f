"""A small assembler for classic BPF, the language of seccomp filters.

A program is a list of instructions and labels. Jumps go forward only and at
most 255 instructions far; linux/filter.h.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_GREATER_OR_EQUAL: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
JUMP_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
RETURN: Final = 0x06  # BPF_RET | BPF_K

MAX_JUMP: Final = 255
MAX_INSTRUCTIONS: Final = 4096  # BPF_MAXINSNS

_INSTRUCTION: Final = struct.Struct("=HBBI")


@dataclass(frozen=True)
class Label:
    """A place in the program."""

    name: str


@dataclass(frozen=True)
class Instruction:
    """One instruction; a jump without a label goes to the next one."""

    code: int
    value: int
    then: str | None = None
    otherwise: str | None = None


Line = Label | Instruction


def load(offset: int) -> Instruction:
    """Load 32 bits of the data that the filter judges."""
    return Instruction(LOAD_WORD, offset)


def keep_bits(mask: int) -> Instruction:
    """Clear all other bits of what was loaded."""
    return Instruction(AND, mask)


def if_equal(value: int, then: str | None = None, otherwise: str | None = None) -> Instruction:
    """Branch on equality with what was loaded."""
    return Instruction(JUMP_EQUAL, value, then, otherwise)


def if_at_least(value: int, then: str | None = None, otherwise: str | None = None) -> Instruction:
    """Branch when what was loaded is `value` or greater, unsigned."""
    return Instruction(JUMP_GREATER_OR_EQUAL, value, then, otherwise)


def if_any_bit(mask: int, then: str | None = None, otherwise: str | None = None) -> Instruction:
    """Branch when any bit of the mask is set."""
    return Instruction(JUMP_ANY_BIT, mask, then, otherwise)


def give_back(value: int) -> Instruction:
    """End with a verdict."""
    return Instruction(RETURN, value)


def assemble(lines: Sequence[Line]) -> bytes:
    """Return the program in the kernel's form, eight bytes an instruction.

    Raises:
        ValueError: a jump goes too far, backwards or nowhere.
    """
    places: dict[str, int] = {}
    instructions: list[Instruction] = []
    for line in lines:
        if isinstance(line, Label):
            places[line.name] = len(instructions)
        else:
            instructions.append(line)
    if len(instructions) > MAX_INSTRUCTIONS:
        raise ValueError(f"{len(instructions)} instructions; at most {MAX_INSTRUCTIONS}")
    return b"".join(
        _encode(instruction, index, places) for index, instruction in enumerate(instructions)
    )


def _encode(instruction: Instruction, index: int, places: dict[str, int]) -> bytes:
    return _INSTRUCTION.pack(
        instruction.code,
        _distance(instruction.then, index, places),
        _distance(instruction.otherwise, index, places),
        instruction.value,
    )


def _distance(label: str | None, index: int, places: dict[str, int]) -> int:
    if label is None:
        return 0
    if label not in places:
        raise ValueError(f"no label {label}")
    distance = places[label] - index - 1
    if not 0 <= distance <= MAX_JUMP:
        raise ValueError(f"jump to {label} over {distance} instructions")
    return distance
