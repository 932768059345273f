"""SqliteDatabase: one writer for all, readers apart, failures told and survived."""

from __future__ import annotations

import shutil
import sqlite3  # noqa: TID251 - looks into our file
import threading
from contextlib import closing
from pathlib import Path

import pytest

from lib.storage.ports import StoreUnavailable
from lib.storage.records import RunQuery
from lib.storage.sqlite import SqliteDatabase, SqliteRunStore
from tests.contract.samples import Samples, ending, starting
from tests.contract.threads import together
from tests.lib.small_disk import SmallDisk, small_disk

__all__ = ["small_disk"]

DEADLINE_SECONDS = 20


def _pragma(database: SqliteDatabase, name: str) -> object:
    return database.write(lambda connection: connection.execute(f"PRAGMA {name}").fetchone()[0])


def _blob(connection: sqlite3.Connection, size: int) -> None:
    connection.execute("INSERT INTO upload_uses VALUES ('', ?)", (str(size) + "x" * size,))


def test_a_caller_does_something_else_while_its_operation_is_under_way(
    database: SqliteDatabase,
) -> None:
    goes_on = threading.Event()

    def operation(_: sqlite3.Connection) -> bool:
        return goes_on.wait(DEADLINE_SECONDS)

    assert database.write(operation, meanwhile=goes_on.set)


def test_room_in_the_log_is_taken_once_and_changes_nothing(tmp_path: Path) -> None:
    path, log = tmp_path / "a.sqlite3", tmp_path / "a.sqlite3-wal"
    with SqliteDatabase(path) as database:
        database.check()
        database.take_room()
        size = log.stat().st_size
        for _ in range(20):
            database.check()
        database.take_room()
        assert log.stat().st_size == size >= 4000 * 4096  # as long as until the first checkpoint
        copy = tmp_path / "copy"
        copy.mkdir()
        for name in (path.name, log.name):  # as after a crash
            (copy / name).write_bytes((tmp_path / name).read_bytes())
    for found in (path, copy / path.name):
        with SqliteDatabase(found) as database:
            assert database.read("SELECT count FROM probe") == [(21,)]


def test_room_in_the_log_is_nobody_s_need(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    database = SqliteDatabase(path)
    database.close()
    database.take_room()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("small_disk", [12 * 1024 * 1024], indirect=True)
def test_no_room_in_the_log_is_taken_from_others(small_disk: SmallDisk) -> None:
    with SqliteDatabase(small_disk.path / "a.sqlite3") as database:
        free = shutil.disk_usage(small_disk.path).free
        database.take_room()
        assert shutil.disk_usage(small_disk.path).free == free


class TestSettings:
    def test_an_acknowledged_write_is_on_disk(self, database: SqliteDatabase) -> None:
        assert _pragma(database, "journal_mode") == "wal"
        assert _pragma(database, "synchronous") == 2  # FULL

    def test_pages_can_be_given_back(self, database: SqliteDatabase) -> None:
        assert _pragma(database, "auto_vacuum") == 2  # INCREMENTAL

    def test_readers_cannot_write(self, database: SqliteDatabase) -> None:
        with pytest.raises(StoreUnavailable, match="readonly"):
            database.read("UPDATE probe SET count = 9")


class TestWriter:
    def test_a_failed_operation_undoes_only_itself(self, database: SqliteDatabase) -> None:
        def add(number: int) -> None:
            def operation(connection: sqlite3.Connection) -> None:
                _blob(connection, number)
                if number % 2:
                    raise ValueError(str(number))

            database.write(operation)

        results = together(add)

        assert [str(it) for it in results[1::2]] == [str(number) for number in range(1, 32, 2)]
        assert results[::2] == [None] * 16
        kept = {len(row[0]) for row in database.read("SELECT upload_id FROM upload_uses")}
        assert kept == {number + len(str(number)) for number in range(0, 32, 2)}

    def test_callers_share_a_commit(self, database: SqliteDatabase) -> None:
        """What waits while the writer works goes into one transaction."""
        working, go_on = threading.Event(), threading.Event()
        sizes: list[int] = []

        def hold(connection: sqlite3.Connection) -> None:
            working.set()
            assert go_on.wait(30)

        def changes_so_far(connection: sqlite3.Connection) -> None:
            before = connection.total_changes
            connection.execute("UPDATE probe SET count = count + 1")
            sizes.append(before)

        holder = threading.Thread(target=database.write, args=(hold,))
        holder.start()
        assert working.wait(30)
        callers = [
            threading.Thread(target=database.write, args=(changes_so_far,)) for _ in range(20)
        ]
        for caller in callers:
            caller.start()
        while database._writer._queue.qsize() < 20:
            threading.Event().wait(0.001)
        wal = Path(f"{database._path}-wal")
        before = wal.stat().st_size
        go_on.set()
        for caller in (holder, *callers):
            caller.join()

        frame = 4096 + 24
        assert len(sizes) == 20
        assert wal.stat().st_size - before <= 4 * frame  # 20 commits would take 20 frames

    def test_a_full_disk_is_told_and_survived(
        self, database: SqliteDatabase, runs: SqliteRunStore, samples: Samples
    ) -> None:
        pages = _pragma(database, "page_count")
        _pragma(database, f"max_page_count = {pages}")

        with pytest.raises(StoreUnavailable, match="full"):
            database.write(lambda connection: _blob(connection, 500_000))
        results = together(lambda n: database.write(lambda it: _blob(it, 100_000 + n)))
        assert {type(it) for it in results} == {StoreUnavailable}

        _pragma(database, f"max_page_count = {2**30}")
        change = samples.new()
        runs.create(change)
        assert runs.get(change.run.id) == change.run
        assert database.read("SELECT upload_id FROM upload_uses") == []

    def test_a_read_only_file_is_told_and_survived(
        self, database: SqliteDatabase, runs: SqliteRunStore, samples: Samples
    ) -> None:
        connection = database._writer._connection
        connection.execute("PRAGMA query_only = ON")

        with pytest.raises(StoreUnavailable, match="readonly"):
            runs.create(samples.new())
        with pytest.raises(StoreUnavailable, match="readonly"):
            runs.check()

        connection.execute("PRAGMA query_only = OFF")
        runs.check()

    def test_a_lost_transaction_fails_all_who_were_in_it(self, database: SqliteDatabase) -> None:
        """SQLite may end a transaction by itself; then nobody is told it was kept."""
        working, go_on = threading.Event(), threading.Event()

        def hold(connection: sqlite3.Connection) -> None:
            working.set()
            assert go_on.wait(30)

        def lose(connection: sqlite3.Connection) -> None:
            _blob(connection, 3)
            connection.rollback()
            raise sqlite3.OperationalError("disk I/O error")

        results: list[object] = []

        def call(operation: object) -> None:
            try:
                database.write(operation)  # type: ignore[arg-type]
                results.append("kept")
            except StoreUnavailable as ex:
                results.append(str(ex))

        operations = [hold, lambda it: _blob(it, 1), lose, lambda it: _blob(it, 2)]
        threads = [threading.Thread(target=call, args=(it,)) for it in operations]
        threads[0].start()
        assert working.wait(30)
        for number, thread in enumerate(threads[1:], start=1):
            thread.start()
            while database._writer._queue.qsize() < number:
                threading.Event().wait(0.001)
        go_on.set()
        for thread in threads:
            thread.join()

        assert results.count("kept") == 1  # the one that held up the others
        assert sum("disk I/O error" in str(it) for it in results) == 3
        assert database.read("SELECT upload_id FROM upload_uses") == []
        database.check()

    def test_a_defect_is_not_dressed_as_an_outage(self, database: SqliteDatabase) -> None:
        with pytest.raises(sqlite3.IntegrityError):
            database.write(
                lambda connection: connection.execute("INSERT INTO probe (id, count) VALUES (1, 1)")
            )

    def test_another_process_may_write_too(
        self, path: Path, database: SqliteDatabase, samples: Samples
    ) -> None:
        with SqliteDatabase(path) as other:
            stores = [SqliteRunStore(database), SqliteRunStore(other)]
            changes = [samples.new() for _ in range(32)]
            together(lambda number: stores[number % 2].create(changes[number]))

            assert len(stores[0].list(RunQuery(), limit=99).rows) == 32
            assert stores[1].totals(now=samples.now).queued == 32


class TestClose:
    def test_a_closed_database_says_so(self, path: Path) -> None:
        database = SqliteDatabase(path)
        database.close()
        database.close()

        with pytest.raises(StoreUnavailable, match="closed"):
            database.write(lambda connection: None)
        with pytest.raises(StoreUnavailable, match="closed"):
            database.read("SELECT 1")

    def test_what_was_handed_in_is_finished(self, path: Path, samples: Samples) -> None:
        database = SqliteDatabase(path)
        runs = SqliteRunStore(database)
        changes = [samples.new() for _ in range(32)]

        def create(number: int) -> None:
            runs.create(changes[number])
            if number == 16:
                database.close()

        results = together(create)

        with SqliteDatabase(path) as again:
            kept = {run.id for run in SqliteRunStore(again).list(RunQuery(), limit=99).rows}
        told = {change.run.id for change, it in zip(changes, results, strict=True) if it is None}
        assert kept == told
        assert {type(it) for it in results} <= {type(None), StoreUnavailable}

    def test_no_connection_stays_open(self, path: Path) -> None:
        with SqliteDatabase(path) as database:
            together(lambda _: database.read("SELECT count FROM probe"))

        assert not Path(f"{path}-wal").exists()  # the last connection removes it

    def test_a_file_that_cannot_be_opened_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable):
            SqliteDatabase(tmp_path / "absent" / "floom.db")
        (tmp_path / "text.db").write_text("This is no database at all. " * 50)
        with pytest.raises(StoreUnavailable, match="not a database"):
            SqliteDatabase(tmp_path / "text.db")


class TestReaders:
    def test_no_more_connections_than_allowed(self, path: Path) -> None:
        with SqliteDatabase(path, readers=2) as database:
            inside = threading.Semaphore(2)

            def read(_: int) -> None:
                with database.reading() as connection:
                    assert inside.acquire(blocking=False)
                    connection.execute("SELECT count FROM probe").fetchall()
                    inside.release()

            assert together(read) == [None] * 32
            assert database._readers._open <= 2

    def test_a_snapshot_stands_still(self, database: SqliteDatabase) -> None:
        statement = "SELECT count FROM probe"
        with database.snapshot() as connection:
            before = connection.execute(statement).fetchall()
            database.check()
            assert connection.execute(statement).fetchall() == before
        assert database.read(statement) != before

    def test_a_connection_is_as_new_after_an_error(self, path: Path) -> None:
        with SqliteDatabase(path, readers=1) as database:
            with pytest.raises(ValueError, match="mine"), database.snapshot():
                raise ValueError("mine")
            with pytest.raises(StoreUnavailable):
                database.read("SELECT nothing FROM nowhere")

            assert database.read("SELECT 1") == [(1,)]


def test_a_claim_that_can_find_nothing_does_not_wait_for_the_writer(
    path: Path, samples: Samples
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        entered.set()
        go_on.wait(DEADLINE_SECONDS)

    with SqliteDatabase(path) as database:
        writing = threading.Thread(target=database.write, args=(hold,))
        writing.start()
        assert entered.wait(DEADLINE_SECONDS)
        found = SqliteRunStore(database).claim(starting(samples.now), now=samples.now, limit=1)
        was_held = writing.is_alive()
        go_on.set()
        writing.join()
    assert (found, was_held) == ([], True)


def test_retention_makes_the_file_smaller(path: Path, samples: Samples) -> None:
    with SqliteDatabase(path) as database:
        runs = SqliteRunStore(database)
        for _ in range(300):
            change = samples.new(effect_key="x" * 8_000)
            runs.create(change)
            runs.claim(starting(samples.now), now=samples.now, limit=1)
            runs.change(change.run.id, ending(samples.now))
        samples.clock.advance(seconds=1)
        pages = _pragma(database, "page_count")

        runs.delete(runs.list_finished(before=samples.now, limit=1_000), before=samples.now)

        assert runs.list_finished(before=samples.now, limit=1_000) == []
        assert isinstance(pages, int)
        assert int(str(_pragma(database, "page_count"))) < pages / 4
        assert _pragma(database, "integrity_check") == "ok"


def test_the_schema_is_whole(database: SqliteDatabase, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA user_version").fetchone()[0] >= 1
