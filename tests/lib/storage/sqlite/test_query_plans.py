"""Every list and every claim goes by its index: no scan, no sort."""

from __future__ import annotations

import itertools
import re

import pytest

from lib.clock import to_milliseconds
from lib.storage.audit_records import AuditQuery
from lib.storage.records import RunQuery, RunStatus, TriggerType
from lib.storage.sqlite import (
    SqliteDatabase,
    account_rows,
    approval_rows,
    approvals,
    audit,
    belongings,
    blob_refs,
    changes,
    claims,
    counters,
    failure_reports,
    feedback,
    logs,
    rates,
    retention,
    run_lists,
    run_rows,
    secrets,
    shares,
    uploads,
    work,
    worker_settings,
)
from tests.contract.samples import START

STATEMENTS = {
    "run": (run_rows.LOAD, "runs_by_id"),
    "claimable": (work.LIST_CLAIMABLE, "runs_claimable"),
    "any claimable": (work.FIND_CLAIMABLE, "runs_claimable"),
    "any due": (work.FIND_DUE, "runs_waiting_for_time"),
    "wake": (work.WAKE, "runs_waiting_for_time"),
    "hold": (work.HOLD, "runs_by_id"),
    "renew": (work.RENEW, "runs_by_id"),
    "next due": (work.NEXT_DUE, "runs_waiting_for_time"),
    "leased": (work.LIST_LEASED, "runs_by_status"),
    "expired leases": (work.LIST_EXPIRED, "runs_lease_end"),
    "waiting for the cap": (changes.LONGEST_WAITING, "runs_waiting_for_cap"),
    "finished": (retention.LIST_FINISHED, "runs_finished"),
    "events": (belongings.LIST_EVENTS, "PRIMARY KEY"),
    "artifacts": (belongings.LIST_ARTIFACTS, "PRIMARY KEY"),
    "artifact": (belongings.FIND_ARTIFACT, "PRIMARY KEY"),
    "approval": (approval_rows.LOAD, "sqlite_autoindex_approvals_1"),
    "a run's approvals": (approvals.LIST_OF_RUN, "approvals_by_run"),
    "approvals": (approvals.BY_STATUS, "approvals_by_status"),
    "a worker's approvals": (approvals.BY_WORKER, "approvals_by_worker"),
    "expired approvals": (approvals.LIST_EXPIRED, "approvals_due"),
    "feedback": (feedback.LIST, "sqlite_autoindex_feedback_1"),
    "one feedback": (feedback.FIND, "sqlite_autoindex_feedback_2"),
    "feedback count": (feedback.COUNT, "runs_by_id"),
    "one feedback more": (feedback.COUNT_ONE, "runs_by_id"),
    "failure reports": (failure_reports.LIST, "PRIMARY KEY"),
    "one failure report": (failure_reports.BEGIN, "PRIMARY KEY"),
    "claim": (claims.FIND, "sqlite_autoindex_claims_1"),
    "expired claims": (claims.LIST_EXPIRED, "claims_by_end"),
    "share": (shares.FIND, "shares_by_token"),
    "pending claim": (claims.FIND_PENDING, "sqlite_autoindex_pending_claims_1"),
    "expired pending claims": (claims.LIST_EXPIRED_PENDING, "pending_claims_by_end"),
    "workers": (counters.LIST_WORKERS, "runs_by_worker"),
    "weeks": (counters.LIST_WEEKS, "PRIMARY KEY"),
    "one worker": (counters.FIND_WORKER, "runs_by_worker"),
    "one week": (counters.FIND_WEEK, "PRIMARY KEY"),
    "hours": (counters.LIST_HOURS, "PRIMARY KEY"),
    "log": (logs.LIST_CHUNKS, "log_chunks_by_run"),
    "log tail": (logs.LIST_LAST_CHUNKS, "log_chunks_by_run"),
    "last seq": (logs.LAST_SEQ, "log_chunks_by_run"),
    "upload": (uploads.GET, "sqlite_autoindex_uploads_1"),
    "expired uploads": (uploads.LIST_EXPIRED, "uploads_unused"),
    "secret": (secrets.FIND, "sqlite_autoindex_secrets_1"),
    "use of a secret": (secrets.USE, "sqlite_autoindex_secrets_1"),
    "is an upload used": (uploads.IS_USED, "upload_uses_by_upload"),
    "old audit entries": (audit.DELETE, "PRIMARY KEY"),
    "rates that are over": (rates.LIST_EXPIRED, "PRIMARY KEY"),
    "settings": (worker_settings.GET, "sqlite_autoindex_worker_settings_1"),
    "user": (account_rows.USER, "PRIMARY KEY"),
    "user by address": (account_rows.USER_OF, "users_by_email"),
    "users": (account_rows.LIST_USERS, "PRIMARY KEY"),
    "operator": (account_rows.OPERATOR, "users_admins"),
    "session": (account_rows.SESSION_AND_USER, "PRIMARY KEY"),
    "sessions of a user": (account_rows.DELETE_SESSIONS, "sessions_by_user"),
    "expired sessions": (account_rows.EXPIRED_SESSIONS, "sessions_by_end"),
    "access token": (account_rows.TOKEN_AND_USER, "access_tokens_by_sha256"),
    "owner of an access token": (account_rows.OWNER_OF_TOKEN, "PRIMARY KEY"),
    "access tokens": (account_rows.LIST_TOKENS, "access_tokens_by_user"),
    "number of access tokens": (account_rows.COUNT_TOKENS, "access_tokens_by_user"),
    "access tokens of a user": (account_rows.DELETE_TOKENS, "access_tokens_by_user"),
    "expired access tokens": (account_rows.EXPIRED_TOKENS, "access_tokens_by_end"),
    "sign-in link": (account_rows.LINK, "PRIMARY KEY"),
    "links for a user": (account_rows.REVOKE_FOR_USER, "sign_in_links_by_user"),
    "links for an address": (account_rows.REVOKE_FOR_EMAIL, "sign_in_links_by_email"),
    "links of a maker": (account_rows.REVOKE_BY_MAKER, "sign_in_links_by_maker"),
    "expired links": (account_rows.EXPIRED_LINKS, "sign_in_links_by_end"),
}

TRIGGERS: tuple[TriggerType | None, ...] = (None, "manual")
QUERIES = [
    RunQuery(
        worker_id=worker_id, statuses=frozenset(statuses), trigger=trigger, since=since, text=text
    )
    for worker_id, statuses, trigger, since, text in itertools.product(
        (None, "hello"),
        ((), (RunStatus.FAILED,), (RunStatus.FAILED, RunStatus.QUEUED, RunStatus.RUNNING)),
        TRIGGERS,
        (None, START),
        (None, "text"),
    )
]


def plan_of(database: SqliteDatabase, statement: str, values: tuple[object, ...]) -> list[str]:
    rows = database.read(f"EXPLAIN QUERY PLAN {statement}", values)
    return [row[3] for row in rows]


def check(plan: list[str]) -> None:
    for step in plan:
        assert not step.startswith("SCAN") or "USING INDEX runs_claimable" in step, plan
        assert "TEMP B-TREE" not in step, plan


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_goes_by_its_index(database: SqliteDatabase, name: str) -> None:
    statement, index = STATEMENTS[name]

    plan = plan_of(database, statement, (to_milliseconds(START),) * statement.count("?"))

    check(plan)
    assert any(index in step for step in plan), plan


def named(query: RunQuery) -> str:
    """Return a test id that does not depend on the order of a set."""
    filters = (query.worker_id, *sorted(query.statuses), query.trigger, query.since, query.text)
    return "-".join(str(value) for value in filters if value) or "all"


def test_whether_blobs_are_named_is_one_look_each(database: SqliteDatabase) -> None:
    plan = plan_of(database, blob_refs.FIND_UNNAMED, ("[]",))

    assert any("USING COVERING INDEX blob_refs_by_sha256 (sha256=?)" in step for step in plan)
    assert [step for step in plan if step.startswith("SCAN")] == [
        "SCAN json_each VIRTUAL TABLE INDEX 1:"
    ]


@pytest.mark.parametrize("query", QUERIES, ids=named)
def test_a_list_goes_by_its_index(database: SqliteDatabase, query: RunQuery) -> None:
    chosen = run_lists.plan(query, "run_7")

    plan = plan_of(database, chosen.statement, (*chosen.values, 50))

    check(plan)
    assert all("(id>? AND id<?)" in s or "id>? AND id<?" in s for s in plan if "SEARCH" in s), plan


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (AuditQuery(), "PRIMARY KEY"),
        (AuditQuery(user_id="usr_1"), "audit_by_user "),
        (AuditQuery(route="/runs"), "audit_by_route "),
        (AuditQuery(user_id="usr_1", route="/runs"), "audit_by_user_and_route "),
        (AuditQuery(user_id="usr_1", since=START, until=START), "audit_by_user "),
    ],
)
@pytest.mark.parametrize("after", [None, "aud_7"])
def test_a_page_of_the_audit_log_goes_by_its_index(
    database: SqliteDatabase, query: AuditQuery, index: str, after: str | None
) -> None:
    statement, values = audit.plan(query, after)

    plan = plan_of(database, statement, (*values, 50))

    check(plan)
    assert len(plan) == 1
    assert index in plan[0]
    assert "id>? AND id<?" in plan[0]


def test_no_list_counts_or_skips_rows() -> None:
    modules = (run_lists, work, counters, retention, logs, belongings, changes, feedback, audit)
    text = " ".join(
        value for module in modules for value in vars(module).values() if isinstance(value, str)
    )
    assert not re.search(r"count\(|\bOFFSET\b", text, re.IGNORECASE)


def test_plans_hold_without_hints_from_statistics(database: SqliteDatabase) -> None:
    """`ANALYZE` on an empty file must not make a forced index unusable."""
    database.write(lambda connection: connection.execute("ANALYZE").fetchall())

    for statement, _ in STATEMENTS.values():
        check(plan_of(database, statement, (1,) * statement.count("?")))
