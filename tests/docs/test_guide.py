"""docs/GETTING-STARTED.md, run: its commands work, and print what it says.

A block marked `sh tested` is run; a `text` block right after it is what it
prints. Ids, hashes and times are compared as such, everything else exactly.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.docs import pages
from tests.e2e.server import ServerProcess

TESTED = "sh tested"
SERVER = "localhost:8000"
_MARK = "--- end of block {} ---"
_VARYING = (
    (re.compile(r"\b(run|upl|art)_[0-9a-z]{26}\b"), r"\1_ID"),
    (re.compile(r"\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b"), "HASH"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
    (re.compile(r'"instance": "[^"]+"'), '"instance": "REQUEST"'),
)


def examples() -> list[tuple[str, str]]:
    """Return each tested block with what it is said to print."""
    blocks = pages.blocks(pages.read("docs/GETTING-STARTED.md"))
    after = [*blocks[1:], pages.Block("", "")]
    return [
        (block.text, following.text if following.info == "text" else "")
        for block, following in zip(blocks, after, strict=True)
        if block.info == TESTED
    ]


def comparable(text: str) -> str:
    """Return printed text with what differs from run to run taken out."""
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return text.rstrip("\n")


def run_as_one_session(blocks: list[str], *, folder: Path, server: str) -> list[str]:
    """Run blocks in one shell, as a reader pastes them; return what each printed."""
    script = "set -eu\n" + "".join(
        f"{block.replace(SERVER, server)}\necho '{_MARK.format(number)}'\n"
        for number, block in enumerate(blocks)
    )
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "NO_PROXY": "*", "GIT_CONFIG_NOSYSTEM": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    printed, rest = [], done.stdout
    for number in range(len(blocks)):
        text, _, rest = rest.partition(_MARK.format(number) + "\n")
        printed.append(text.replace(server, SERVER))
    return printed


def untracked_in_a_clone(folder: Path) -> set[str]:
    """Return what lies in a folder that the project's `.gitignore` does not cover."""
    (folder / ".gitignore").write_text(pages.read(".gitignore"))
    subprocess.run(["git", "init", "-q", folder], check=True)
    listed = subprocess.run(
        ["git", "-C", folder, "ls-files", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
        text=True,
    )
    return set(listed.stdout.split("\n")) - {"", ".gitignore", "var.stderr"}  # the server's output


def documented_data_folder() -> set[str]:
    """Return the names at the top of the data folder, as the architecture's page lists them."""
    blocks = pages.blocks(pages.read("docs/architecture.md"))
    (tree,) = (block.text for block in blocks if block.text.startswith("<data>/\n"))
    names = set(re.findall(r"^  ([\w.]+)", tree, re.MULTILINE))
    database = "floom.sqlite3"  # with -wal and -shm, as its line says
    return names | {f"{database}-wal", f"{database}-shm"}


def test_the_guide_works_as_it_says(tmp_path: Path) -> None:
    """The folder plays the clone: the server's data folder is `var` in it."""
    blocks, promised = zip(*examples(), strict=True)
    with ServerProcess(tmp_path / "var") as running:
        server = running.url.removeprefix("http://")
        printed = run_as_one_session(list(blocks), folder=tmp_path, server=server)

    assert [comparable(text) for text in printed] == [comparable(text) for text in promised]
    assert untracked_in_a_clone(tmp_path) == set()
    left = {path.name for path in (tmp_path / "var").iterdir()}
    assert left - {"run.json", "upload.json"} <= documented_data_folder()  # those are the guide's


def test_most_of_the_guide_is_run() -> None:
    """What is not: starting the server, and letting others in."""
    shell = [
        block
        for block in pages.blocks(pages.read("docs/GETTING-STARTED.md"))
        if block.info.startswith("sh")
    ]

    assert len([block for block in shell if block.info == "sh"]) == 3
    assert len(shell) > 20
