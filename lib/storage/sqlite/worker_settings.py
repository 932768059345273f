"""Instance settings of workers in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

from lib.storage.documents import WORKER_SETTINGS
from lib.storage.records import WorkerSettings
from lib.storage.sqlite.database import SqliteDatabase

GET = "SELECT document FROM worker_settings WHERE worker_id = ?"
GET_ALL = "SELECT worker_id, document FROM worker_settings"
_PUT = "INSERT OR REPLACE INTO worker_settings (worker_id, document) VALUES (?, ?)"


class SqliteWorkerSettingsStore:
    """A WorkerSettingsStore."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def get(self, worker_id: str) -> WorkerSettings:
        """Return a worker's settings; the defaults when none are stored."""
        with self._database.reading() as connection:
            return _load(connection, worker_id)

    def get_all(self) -> Mapping[str, WorkerSettings]:
        """Return all that are stored."""
        rows = self._database.read(GET_ALL)
        return {worker_id: WORKER_SETTINGS.decode(document) for worker_id, document in rows}

    def change(
        self, worker_id: str, decide: Callable[[WorkerSettings], WorkerSettings]
    ) -> WorkerSettings:
        """Replace a worker's settings by what `decide` makes of them, atomically."""

        def operation(connection: sqlite3.Connection) -> WorkerSettings:
            settings = decide(_load(connection, worker_id))
            connection.execute(_PUT, (worker_id, WORKER_SETTINGS.encode(settings)))
            return settings

        return self._database.write(operation)


def _load(connection: sqlite3.Connection, worker_id: str) -> WorkerSettings:
    row = connection.execute(GET, (worker_id,)).fetchone()
    return WORKER_SETTINGS.decode(row[0]) if row else WorkerSettings()
