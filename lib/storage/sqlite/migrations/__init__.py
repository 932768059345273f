"""The schema's history: numbered SQL files, applied in order, each once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Final

from lib.errors import Unavailable


class NewerDatabase(Unavailable):
    """The file was written by a newer version of this program."""

    code = "database_newer"


class OtherVersion(Unavailable):
    """The file is not of this program's version."""

    code = "database_other_version"


def scripts() -> list[str]:
    """Return all steps in order; the first one is number 1."""
    found = [entry for entry in files(__name__).iterdir() if entry.name.endswith(".sql")]
    return [entry.read_text("utf-8") for entry in sorted(found, key=lambda entry: entry.name)]


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to this code's version.

    Raises:
        NewerDatabase: the file is newer than this code; nothing is touched.
    """
    apply(connection, scripts())


def check_current(connection: sqlite3.Connection) -> None:
    """Check that a database is of this code's version, and change nothing.

    Raises:
        OtherVersion: it is older; another program may be at work on it.
        NewerDatabase: it is newer.
    """
    newest = len(scripts())
    version = _version(connection, newest=newest)
    if version < newest:
        raise OtherVersion(f"The database is at version {version}, this program needs {newest}.")


def apply(connection: sqlite3.Connection, steps: Sequence[str]) -> None:
    """Apply those of `steps` that are missing, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")  # of two processes that start, one migrates
    try:
        for step in steps[_version(connection, newest=len(steps)) :]:
            for statement in _statements(step):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _version(connection: sqlite3.Connection, *, newest: int) -> int:
    version: Final[int] = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > newest:
        raise NewerDatabase(
            f"The database is at version {version}, this program knows {newest}: "
            "use the newer program, or another data folder."
        )
    return version


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"No semicolon ends {statement.strip()[:60]!r}.")
