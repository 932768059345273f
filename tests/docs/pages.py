"""The documents as data: tables, links and fenced blocks of Markdown."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block: what stands after the fence, and its text."""

    info: str
    text: str


def read(name: str) -> str:
    """Return a page's text; its name is relative to the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def files() -> list[Path]:
    """Return every file that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    paths = (ROOT / name for name in sorted(set(listed.stdout.split("\0"))) if name)
    return [path for path in paths if path.is_file()]


def pages() -> list[Path]:
    """Return every Markdown page, without those that are data of tests."""
    return [
        path
        for path in files()
        if path.suffix == ".md" and "tests" not in path.parts[len(ROOT.parts) :]
    ]


def section(text: str, heading: str) -> str:
    """Return what stands between a second-level heading and the next."""
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found, f"there is no section {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows, head and ruler left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines
    ]
    rulers = {index for index, row in enumerate(cells) if all(set(c) <= {"-", ":"} for c in row)}
    return [
        row for index, row in enumerate(cells) if index not in rulers and index + 1 not in rulers
    ]


def code(cell: str) -> str:
    """Return the text of a cell that is one span of code; other text as it is."""
    found = re.fullmatch(r"`([^`]+)`", cell)
    return found[1] if found else cell


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [Block(match[1].strip(), match[2]) for match in _BLOCK.finditer(text)]


def links(text: str) -> list[str]:
    """Return the targets of all links outside of fenced blocks."""
    return _LINK.findall(_FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as the usual viewers make them."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}
