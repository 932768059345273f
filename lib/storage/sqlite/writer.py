"""The one thread that writes: many callers' operations, one commit.

A commit costs an fsync, whatever is in it. Callers hand in functions, the
thread runs those that wait in one transaction, each in a savepoint of its own,
and answers all of them once the commit is on disk.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from lib.storage.ports import StoreUnavailable

Result = TypeVar("Result")
Operation = Callable[[sqlite3.Connection], Result]

MAX_BATCH: Final = 256  # bounds how long the first caller of a batch waits for the last

# These say that our SQL is wrong, not that the store is unwell.
_DEFECTS: Final = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)


class Writer:
    """Runs operations on a connection that belongs to it alone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="sqlite-writer", daemon=True)
        self._thread.start()

    def run(
        self, operation: Operation[Result], meanwhile: Callable[[], object] = lambda: None
    ) -> Result:
        """Run `operation` in a transaction and return its result once it is durable.

        An operation that raises changes nothing, and nothing else of its batch.

        Args:
            operation: Is given the connection, on the writer's thread.
            meanwhile: Called here while the operation is on its way; it must not raise.

        Raises:
            StoreUnavailable: the disk is full or read-only, or the store closed.
            Exception: whatever `operation` raised.
        """
        job = _Job(operation)
        with self._closing:
            if self._closed:
                raise StoreUnavailable("The database is closed.")
            self._queue.put(job)
        meanwhile()
        result: Result = job.wait()
        return result

    def close(self) -> None:
        """Finish what was handed in, then close the connection; idempotent."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            self._commit(batch)
        self._connection.close()

    def _next_batch(self) -> list[_Job]:
        """Wait for a job and take what else is there; empty: the writer was closed."""
        job = self._queue.get()
        batch: list[_Job] = []
        while job is not None:
            batch.append(job)
            if len(batch) == MAX_BATCH:
                return batch
            try:
                job = self._queue.get_nowait()
            except Empty:
                return batch
        if batch:
            self._queue.put(None)
        return batch

    def _commit(self, batch: list[_Job]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                self._attempt(job)
            self._connection.execute("COMMIT")
        except BaseException as ex:  # noqa: BLE001 - nobody may be told that this was kept
            self._roll_back()
            for job in batch:
                job.error = job.error or translated(ex)
        finally:
            for job in batch:
                job.done.release()

    def _attempt(self, job: _Job) -> None:
        self._connection.execute("SAVEPOINT job")
        try:
            job.result = job.operation(self._connection)
        except BaseException as ex:  # whatever it is, it is the caller's
            job.error = translated(ex)
            if not self._connection.in_transaction:
                # SQLite ends the whole transaction for some errors, a full disk among them.
                raise sqlite3.OperationalError(str(ex)) from ex
            self._connection.execute("ROLLBACK TO job")
        self._connection.execute("RELEASE job")

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.rollback()


class _Job:
    """An operation, and a lock that is free once it is settled.

    A bare lock as signal: a `concurrent.futures.Future` takes 10 us more a write.
    """

    __slots__ = ("done", "error", "operation", "result")

    def __init__(self, operation: Operation[Any]) -> None:
        self.operation = operation
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def wait(self) -> Any:
        self.done.acquire()
        if self.error is not None:
            raise self.error
        return self.result


def translated(error: BaseException) -> BaseException:
    """Return StoreUnavailable for SQLite's own troubles, anything else as it is."""
    if isinstance(error, sqlite3.Error) and not isinstance(error, _DEFECTS):
        return unavailable(error)
    return error


def unavailable(cause: sqlite3.Error) -> StoreUnavailable:
    """Return the error that says what SQLite said."""
    error = StoreUnavailable(f"The database cannot be used now: {cause}.")
    error.__cause__ = cause
    return error
