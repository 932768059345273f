"""Migrations: each once, all or none, never backwards."""

from __future__ import annotations

import json
import sqlite3  # noqa: TID251 - looks into our file
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from lib.storage.approval_records import ApprovalQuery
from lib.storage.documents import APPROVALS, encode_detail, encode_summary
from lib.storage.records import RunError, RunQuery, RunRecord, RunStatus, SealedValue
from lib.storage.sqlite import (
    OtherVersion,
    SqliteApprovalStore,
    SqliteDatabase,
    SqliteFeedbackStore,
    SqliteRunStore,
    SqliteSealedSecretStore,
)
from lib.storage.sqlite.migrations import NewerDatabase, apply, migrate, scripts
from lib.storage.stored import Stored
from tests.contract.samples import SMALL, Samples
from tests.contract.threads import together


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}


def test_a_new_file_gets_every_step(connection: sqlite3.Connection) -> None:
    migrate(connection)

    assert connection.execute("PRAGMA user_version").fetchone() == (len(scripts()),)
    assert "runs" in _tables(connection)


def test_a_file_of_this_version_is_left_alone(connection: sqlite3.Connection) -> None:
    migrate(connection)
    before = connection.total_changes

    migrate(connection)

    assert connection.total_changes == before


def test_only_missing_steps_are_applied(connection: sqlite3.Connection) -> None:
    apply(connection, ["CREATE TABLE one (a); -- ; no end\nCREATE TABLE two (a);"])
    apply(connection, ["CREATE TABLE one (a);", "CREATE TABLE three (a DEFAULT ';');"])

    assert _tables(connection) == {"one", "two", "three"}
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_step_that_fails_leaves_the_file_as_it_was(connection: sqlite3.Connection) -> None:
    apply(connection, ["CREATE TABLE one (a);"])

    with pytest.raises(sqlite3.OperationalError, match="exists"):
        apply(connection, ["-", "CREATE TABLE two (a);", "CREATE TABLE one (a);"])

    assert _tables(connection) == {"one"}
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_newer_file_is_refused_and_not_touched(path: Path, samples: Samples) -> None:
    with SqliteDatabase(path) as database:
        SqliteRunStore(database).create(samples.new())
        database.write(lambda connection: connection.execute("PRAGMA user_version = 999"))

    with pytest.raises(NewerDatabase, match="999"):
        SqliteDatabase(path)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (999,)


def test_a_statement_that_does_not_end_is_a_defect(connection: sqlite3.Connection) -> None:
    with pytest.raises(ValueError, match="semicolon"):
        apply(connection, ["CREATE TABLE one (a)"])


def test_of_many_that_open_a_new_file_one_makes_it(path: Path) -> None:
    results = together(lambda _: SqliteDatabase(path).close(), 8)

    assert results == [None] * 8


def test_runs_of_an_older_version_keep_their_uploads(
    connection: sqlite3.Connection, samples: Samples
) -> None:
    """What an upload's runs are is read from their inputs, where that can be."""
    apply(connection, scripts()[:2])
    used, unused, elsewhere = (samples.id("upl") for _ in range(3))
    naming = _inputs(f'{{"data":"{used}","who":"Ada","count":3}}')
    with_a_blob = Stored(20_000, sha256="1" * 64)
    runs = [samples.run(inputs=inputs) for inputs in (SMALL, naming, naming)]
    for run in runs:
        _insert_run(connection, run)
    for upload_id, until in ((used, None), (unused, 9), (elsewhere, None)):
        connection.execute("INSERT INTO uploads VALUES (?, ?, '')", (upload_id, until))
    older = "\n".join(connection.iterdump())

    migrate(connection)
    found = connection.execute("SELECT run_id, upload_id FROM upload_uses").fetchall()
    assert {*found} == {(runs[1].id, used), (runs[2].id, used), ("", elsewhere)}

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as other:
        other.executescript(older + "PRAGMA user_version = 2;")
        _insert_run(other, samples.run(inputs=with_a_blob))
        migrate(other)
        found = other.execute("SELECT upload_id FROM upload_uses WHERE run_id = ''").fetchall()
        assert {*found} == {(used,), (elsewhere,)}


def test_runs_of_an_older_version_take_feedback(path: Path, samples: Samples) -> None:
    run = samples.run()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        apply(connection, scripts()[:6])
        _insert_run(connection, run)

    with SqliteDatabase(path) as database:
        store = SqliteFeedbackStore(database)
        assert store.count(run.id) == 0
        store.add(samples.feedback(run.id), now=samples.now)
        assert store.count(run.id) == 1


def test_approvals_of_an_older_version_are_listed_and_expire(path: Path, samples: Samples) -> None:
    run = samples.run(status=RunStatus.PENDING_APPROVAL)
    approval = samples.approval(run)
    fields = json.loads(APPROVALS.encode(approval))
    for later in ("decided_from", "votes", "links", "follow_up_run_id"):
        del fields[later]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        apply(connection, scripts()[:7])
        _insert_run(connection, run)
        values = (run.id, approval.id, json.dumps(fields))
        connection.execute("INSERT INTO approvals VALUES (?, ?, ?)", values)

    with SqliteDatabase(path) as database:
        store = SqliteApprovalStore(SqliteRunStore(database))
        assert store.list(ApprovalQuery(worker_id=run.worker_id), limit=9).rows == (approval,)
        assert store.list_of_run(run.id) == [approval]
        just_before = approval.expires_at - timedelta(milliseconds=1)
        assert store.list_expired(now=just_before, limit=9) == []
        assert store.list_expired(now=approval.expires_at, limit=9) == [approval.id]


@pytest.mark.parametrize("is_kept", [True, False])
def test_the_check_record_of_an_older_version_is_used_on(
    path: Path, samples: Samples, is_kept: bool
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        apply(connection, scripts()[:7])
        connection.execute("INSERT INTO secrets VALUES ('A', 'key', x'00', x'01', 0, NULL)")
        connection.execute("INSERT INTO secret_check VALUES (1, 'key', x'02', x'03')")
    check = SealedValue("key", b"\2", b"\3")

    with SqliteDatabase(path) as database:
        store = SqliteSealedSecretStore(database)
        assert store.find_check() == check
        if is_kept:
            store.keep_check(SealedValue("key", b"\4", b"\5"))
        assert store.delete("A")
        assert store.find_check() == (check if is_kept else None)


def _inputs(text: str) -> Stored:
    return Stored(len(text), text=text)


def _insert_run(connection: sqlite3.Connection, run: RunRecord) -> None:
    values = (run.id, encode_summary(run), encode_detail(run))
    connection.execute(
        'INSERT INTO runs (id, worker_id, "trigger", cap, status, priority, queued_at, fence, '
        "summary, detail) VALUES (?, '', '', 0, '', 5, 0, 0, ?, ?)",
        values,
    )


TIMES = {
    "2026-01-01T09:30:00Z": "2026-01-01T09:30:00.000Z",
    "2026-01-01T09:30:00.007000Z": "2026-01-01T09:30:00.007Z",
    "2026-01-01T09:30:59.999000Z": "2026-01-01T09:30:59.999Z",
    None: None,
}


def test_summaries_of_older_files_get_the_times_that_lists_show(
    path: Path, samples: Samples
) -> None:
    runs = [samples.run(error=RunError("x", 'Küche "\\u00e9" 1e-7')) for _ in TIMES]
    older = [_with_times(run, time) for run, time in zip(runs, TIMES, strict=True)]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        apply(connection, scripts()[:3])
        for run, summary in zip(runs, older, strict=True):
            connection.execute(INSERT, (run.id, summary, encode_detail(run)))

    with SqliteDatabase(path) as database:
        store = SqliteRunStore(database)
        shown = store.list_json(RunQuery(), limit=50).rows[::-1]
        decoded = [store.get(run.id) for run in runs]

    assert list(shown) == [
        _with_times(run, time) for run, time in zip(runs, TIMES.values(), strict=True)
    ]
    assert [encode_summary(run) for run in decoded] == list(shown)


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_file_of_another_version_is_refused_where_nothing_may_change(
    tmp_path: Path, difference: int
) -> None:
    path, newest = tmp_path / "floom.db", len(scripts())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        apply(connection, scripts()[: newest + min(difference, 0)])
        connection.execute(f"PRAGMA user_version = {newest + difference}")
    before = path.read_bytes()

    with pytest.raises(OtherVersion if difference < 0 else NewerDatabase):
        SqliteDatabase(path, migrates=False)

    assert path.read_bytes() == before


def test_a_file_of_this_version_is_opened_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "floom.db"
    SqliteDatabase(path).close()
    with SqliteDatabase(path, migrates=False) as database:
        database.check()


INSERT = """
INSERT INTO runs (id, worker_id, "trigger", cap, status, priority, queued_at, fence, summary, detail)
VALUES (?, 'hello', 'manual', 0, 'completed', 5, 0, 0, ?, ?)
"""


def _with_times(run: RunRecord, time: str | None) -> str:
    """Return the summary's text with `time` in every place that takes it."""
    shown = json.loads(encode_summary(run))
    always = time or "2026-01-01T09:30:00.000Z"
    times = {"created_at": always, "queued_at": always, "started_at": time, "finished_at": time}
    return json.dumps(shown | times, ensure_ascii=False, separators=(",", ":"))
