"""requirements.txt: names, versions, markers and hashes, and nothing else.

The form is pip's, whose options can read any file (`-r`, `-c`, `-e`, paths,
`file:`), send the server's credentials elsewhere (`--index-url`, `--extra-index-url`,
`--find-links`, `--trusted-host`), run programs of the host (`git+ssh:`) and put
environment variables into addresses (`${TOKEN}`). The file comes from whoever
may edit a worker, so each of those is refused, and what is passed on is written
anew from what was understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from lib.environments.recipe import InstallError, Recipe, decode

NAME: Final = "requirements.txt"
MAX_SHOWN_CHARACTERS: Final = 80

_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_OPTIONS: Final = re.compile(r"\s(?=--?[A-Za-z])")
_HASH: Final = re.compile(r"--hash[= ](sha(?:256|384|512):[0-9a-f]{64,128})\Z")
_ADDRESS: Final = re.compile(r"(://|^\s*[./~\\]|^[A-Za-z]:\\|^file:|\bgit\+)")
_ARCHIVE: Final = re.compile(r"\.(whl|zip|tar\.gz|tgz|tar\.bz2)\s*(;|\Z)")

_OTHER_FILES: Final = "names another file; write its lines into this one"
_OTHER_INDEX: Final = "names another package index; the server's operator chooses it"
_FROM_DISK: Final = "installs from a folder; put the modules into the worker's folder instead"
_BUILDS: Final = "decides about building from source; that is `exec.source_builds` in worker.yml"
_REFUSED: Final = {
    "-r": _OTHER_FILES, "--requirement": _OTHER_FILES,
    "-c": _OTHER_FILES, "--constraint": _OTHER_FILES,
    "-e": _FROM_DISK, "--editable": _FROM_DISK,
    "-f": _OTHER_INDEX, "--find-links": _OTHER_INDEX,
    "-i": _OTHER_INDEX, "--index-url": _OTHER_INDEX, "--pypi-url": _OTHER_INDEX,
    "--extra-index-url": _OTHER_INDEX, "--no-index": _OTHER_INDEX, "--trusted-host": _OTHER_INDEX,
    "--no-binary": _BUILDS, "--only-binary": _BUILDS,
}  # fmt: skip
_REQUIRE_HASHES: Final = "--require-hashes"
_PRERELEASES: Final = "--pre"
_WITHOUT_EFFECT: Final = frozenset({"--prefer-binary"})  # always so here


@dataclass(frozen=True)
class _Line:
    """A logical line: continued ones joined, the comment gone."""

    number: int
    text: str

    def refused(self, why: str) -> InstallError:
        shown = self.text[:MAX_SHOWN_CHARACTERS]
        return InstallError(f"{NAME}, line {self.number} ({shown}) {why}")


def read_requirements(data: bytes, *, source_builds: bool) -> Recipe | None:
    """Return what a requirements.txt asks for, None where that is nothing.

    Raises:
        InstallError: a line is not understood, or refused; the message names it.
    """
    lines = list(_logical_lines(decode(NAME, data)))
    options = {_option(line) for line in lines if line.text.startswith("-")}
    wanted = sorted({_requirement(line) for line in lines if not line.text.startswith("-")})
    if not wanted:
        return None
    return Recipe(
        kind="python",
        source=NAME,
        files={NAME: "".join(f"{line}\n" for line in wanted)},
        source_builds=source_builds,
        is_pinned=_REQUIRE_HASHES in options or any("--hash=" in line for line in wanted),
        prereleases=_PRERELEASES in options,
    )


def _logical_lines(text: str) -> Iterator[_Line]:
    """Yield lines that say something, by the number of their first part."""
    start, parts = 1, []
    physical = text.splitlines()
    for number, line in enumerate(physical, start=1):
        # A comment ends with its line, whatever that ends with.
        bare = _COMMENT.sub("", line)
        parts.append(bare.removesuffix("\\"))
        if bare.endswith("\\") and number < len(physical):
            continue
        joined = " ".join(part.strip() for part in parts).strip()
        if joined:
            yield _Line(start, joined)
        start, parts = number + 1, []


def _option(line: _Line) -> str:
    """Return a line's option if it may be there. Raises InstallError."""
    name = re.split(r"[= ]", line.text, maxsplit=1)[0]
    short = name if name.startswith("--") else name[:2]  # -rother.txt
    if short in _REFUSED:
        raise line.refused(_REFUSED[short])
    if line.text not in {_REQUIRE_HASHES, _PRERELEASES, *_WITHOUT_EFFECT}:
        raise line.refused("is an option that is not supported")
    return line.text


def _requirement(line: _Line) -> str:
    """Return a line in its normal form. Raises InstallError."""
    text, *options = _OPTIONS.split(line.text)
    if _ADDRESS.search(text) or _ARCHIVE.search(text):
        raise line.refused("is a path or an address; packages come from the server's index only")
    if "$" in text:
        raise line.refused("holds a `$`; variables are not put in")
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise line.refused(f"is not understood: {reason}") from None
    requirement.name = canonicalize_name(requirement.name)
    hashes = sorted({_hash(line, option) for option in options})
    return " ".join([str(requirement), *hashes])


def _hash(line: _Line, option: str) -> str:
    found = _HASH.match(option.strip())
    if not found:
        raise line.refused("has an option that is not supported; only `--hash=sha256:...` is")
    return f"--hash={found[1]}"
