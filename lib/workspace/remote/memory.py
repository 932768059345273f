"""What is known of the remote from earlier, also after a restart."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from lib.log import event
from lib.workspace.durable import replace_file

MAX_MILLISECONDS: Final = 2**47  # in the year 6429

_ID: Final = re.compile(r"[0-9a-f]{40}\Z")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What was last seen.

    Attributes:
        url: Of the remote, without credentials.
        seen: Tip of its main when it was last fetched.
        synced: The last commit that both mains had. A remote that no longer has
            it was rewritten.
        pushed_at: Milliseconds since the epoch.
    """

    url: str
    seen: str | None = None
    synced: str | None = None
    pushed_at: int | None = None


class Memory:
    """A small file beside the repository. Lost, it is made again.

    Args:
        path: The file.
        url: The remote; what is known of another one is forgotten.
    """

    def __init__(self, path: Path, url: str) -> None:
        self._path = path
        self.known = _read(path, url)

    def keep(self, known: Known) -> None:
        """Remember this instead; a disk that is full costs only a later look."""
        if known == self.known:
            return
        self.known = known
        try:
            replace_file(self._path, json.dumps(asdict(known)).encode())
        except OSError as ex:
            event(_log, logging.WARNING, "git_remote_memory_failed", error=str(ex))


def parse(data: bytes, url: str) -> Known:
    """Read the file's content; what is damaged, or of another remote, says nothing."""
    try:
        found = json.loads(data)
        known = Known(found["url"], found["seen"], found["synced"], found["pushed_at"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return Known(url)
    ids = (each for each in (known.seen, known.synced) if each is not None)
    is_sound = (
        known.url == url
        and all(_is_id(each) for each in ids)
        and (known.pushed_at is None or _is_time(known.pushed_at))
    )
    return known if is_sound else Known(url)


def _is_id(value: object) -> bool:
    return type(value) is str and _ID.match(value) is not None


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value < MAX_MILLISECONDS


def _read(path: Path, url: str) -> Known:
    try:
        return parse(path.read_bytes(), url)
    except OSError:
        return Known(url)
