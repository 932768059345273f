"""A bounded set of connections that only read."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lib.storage.ports import StoreUnavailable
from lib.storage.sqlite.writer import translated


class Readers:
    """Lends each reading thread a connection of its own for one call.

    The one that came back last goes out first: its page cache is warm.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, limit: int) -> None:
        self._connect = connect
        self._limit = limit
        self._returned = threading.Condition(threading.Lock())
        self._idle: list[sqlite3.Connection] = []
        self._open = 0
        self._closed = False

    @contextmanager
    def borrow(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection; waits while `limit` others are out.

        Raises:
            StoreUnavailable: the file cannot be read, or the store is closed.
        """
        connection = self._take()
        try:
            yield connection
        except sqlite3.Error as ex:
            raise translated(ex) from ex
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Close what is idle now and the rest as it comes back; idempotent."""
        with self._returned:
            self._closed = True
            while self._idle:
                self._discard(self._idle.pop())
            self._returned.notify_all()

    def _take(self) -> sqlite3.Connection:
        with self._returned:
            while not (self._closed or self._idle or self._open < self._limit):
                self._returned.wait()
            if self._closed:
                raise StoreUnavailable("The database is closed.")
            if self._idle:
                return self._idle.pop()
            try:
                connection = self._connect()
            except sqlite3.Error as ex:
                raise translated(ex) from ex
            self._open += 1
            return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._returned:
            if self._closed:
                self._discard(connection)
            else:
                self._idle.append(connection)
                self._returned.notify()

    def _discard(self, connection: sqlite3.Connection) -> None:
        connection.close()
        self._open -= 1
