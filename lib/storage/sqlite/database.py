"""One SQLite file: its settings, its writer and its readers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from lib.storage.ports import StoreUnavailable
from lib.storage.sqlite import write_ahead_log
from lib.storage.sqlite.migrations import check_current, migrate
from lib.storage.sqlite.readers import Readers
from lib.storage.sqlite.writer import Operation, Writer, unavailable

Result = TypeVar("Result")

MAX_READERS: Final = 8
PAGES_PER_RECLAIM: Final = 4096  # 16 MiB of the file, some 30 ms of the writer
_CACHED_STATEMENTS: Final = 256


class SqliteDatabase:
    """A database that many threads use at once; other processes may, too.

    Opening it creates the file and brings its schema up to date, unless told not to.

    Args:
        path: The file; its folder must exist.
        readers: Connections that may read at the same time.
        migrates: Whether to bring the schema up to date; otherwise the file must
            exist and be of this version.

    Raises:
        StoreUnavailable: the file cannot be opened.
        NewerDatabase: a newer version of this program wrote the file.
        OtherVersion: an older one did, and it is not to be changed.
    """

    def __init__(self, path: Path, *, readers: int = MAX_READERS, migrates: bool = True) -> None:
        self._path = path
        self._migrates = migrates
        try:
            self._writer = Writer(self._open_writer())
        except sqlite3.Error as ex:
            raise unavailable(ex) from ex
        self._readers = Readers(self._open_reader, limit=readers)

    def write(
        self, operation: Operation[Result], meanwhile: Callable[[], object] = lambda: None
    ) -> Result:
        """Run `operation` in a transaction; durable when this returns.

        Args:
            operation: Is given the writer's connection.
            meanwhile: Called here while the operation is on its way; it must not raise.

        Raises:
            StoreUnavailable: the disk is full or read-only, or the store closed.
            Exception: whatever `operation` raised; it has changed nothing then.
        """
        return self._writer.run(operation, meanwhile)

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Lend a connection for single statements. Raises StoreUnavailable."""
        return self._readers.borrow()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection whose statements all see the same state."""
        with self._readers.borrow() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one statement. Raises StoreUnavailable."""
        with self._readers.borrow() as connection:
            return connection.execute(statement, values).fetchall()

    def reclaim(self) -> None:
        """Give free pages back to the file system, a bounded number of them."""
        self.write(_give_back_pages)

    def take_room(self) -> None:
        """Have the first commits take no longer than all that follow; blocks for a moment."""
        write_ahead_log.take_room(self._path)

    def check(self) -> None:
        """Write and read something. Raises StoreUnavailable."""
        wrote: int = self.write(
            lambda connection: connection.execute(
                "UPDATE probe SET count = count + 1 RETURNING count"
            ).fetchone()[0]
        )
        if self.read("SELECT count FROM probe")[0][0] < wrote:
            raise StoreUnavailable("The database did not keep what was written.")

    def close(self) -> None:
        """Finish all writes and close every connection; idempotent."""
        self._readers.close()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open_writer(self) -> sqlite3.Connection:
        connection = self._connect()
        try:
            if not self._migrates:
                check_current(connection)
            # Only an empty file takes this setting; what retention frees can be given back.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            # What a savepoint would take back goes to a file from 64 KiB on, one for each commit.
            connection.execute("PRAGMA temp_store = MEMORY")
            write_ahead_log.use(connection)
            if self._migrates:
                migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path,
            timeout=write_ahead_log.BUSY_SECONDS,
            isolation_level=None,  # we say BEGIN and COMMIT ourselves
            check_same_thread=False,  # lent to one thread at a time
            cached_statements=_CACHED_STATEMENTS,
        )


def _give_back_pages(connection: sqlite3.Connection) -> None:
    free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    for _ in range(min(free, PAGES_PER_RECLAIM)):
        # One page a call: the statement frees a page a step and has no columns,
        # and such statements are stepped once by `sqlite3`.
        connection.execute("PRAGMA incremental_vacuum(1)")
