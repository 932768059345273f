-- Times are milliseconds since the epoch; documents are JSON text.

CREATE TABLE runs (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    worker_id TEXT NOT NULL,
    "trigger" TEXT NOT NULL,
    cap INTEGER NOT NULL,         -- how many runs of the worker may run, 0: any number
    status TEXT NOT NULL,
    priority INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    waits TEXT,                   -- 'time' or 'cap': why a queued run cannot be claimed
    not_before INTEGER,
    lease_owner TEXT,
    lease_until INTEGER,
    fence INTEGER NOT NULL,
    finished_at INTEGER,
    summary TEXT NOT NULL,        -- what lists show
    detail TEXT NOT NULL          -- the rest, but waits and lease_until
) STRICT;

-- Lists. Ids grow with time, so the id is the order and the place in it.
CREATE UNIQUE INDEX runs_by_id ON runs (id);
CREATE INDEX runs_by_worker ON runs (worker_id, id);
CREATE INDEX runs_by_status ON runs (status, id);
CREATE INDEX runs_by_worker_status ON runs (worker_id, status, id);
CREATE INDEX runs_by_trigger ON runs ("trigger", id);

-- Work. Partial, so that a finished run is in none of them.
CREATE INDEX runs_claimable ON runs (priority DESC, queued_at, id)
    WHERE status = 'queued' AND waits IS NULL;
CREATE INDEX runs_waiting_for_cap ON runs (worker_id, priority DESC, queued_at, id)
    WHERE status = 'queued' AND waits = 'cap';
CREATE INDEX runs_waiting_for_time ON runs (not_before)
    WHERE status = 'queued' AND waits = 'time';
CREATE INDEX runs_lease_end ON runs (lease_until) WHERE status = 'running';

CREATE INDEX runs_finished ON runs (finished_at)
    WHERE status IN ('completed', 'failed', 'cancelled');

CREATE TABLE run_events (
    run_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE artifacts (
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE approvals (
    run_id TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (run_id, id)
) STRICT;

CREATE TABLE claims (
    key TEXT NOT NULL PRIMARY KEY,
    body_digest TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    answer TEXT NOT NULL
) STRICT;
CREATE INDEX claims_by_end ON claims (expires_at);

-- Counters; the worker '' is the whole workspace.
CREATE TABLE counts (
    worker_id TEXT NOT NULL PRIMARY KEY,
    queued INTEGER NOT NULL DEFAULT 0,
    running INTEGER NOT NULL DEFAULT 0,
    pending_approval INTEGER NOT NULL DEFAULT 0,
    failure_streak INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE hours (
    worker_id TEXT NOT NULL,
    hour INTEGER NOT NULL,        -- since the epoch
    created INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (worker_id, hour)
) STRICT, WITHOUT ROWID;

-- Who names a blob: owner is a run, a claim or an upload; item a part of it.
CREATE TABLE blob_refs (
    owner TEXT NOT NULL,
    item TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (owner, item, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_refs_by_sha256 ON blob_refs (sha256);

-- Blobs whose last name is gone, until the retention sweep takes them.
CREATE TABLE released_blobs (
    sha256 TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE log_chunks (
    row INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    severity INTEGER NOT NULL,    -- of the most severe line
    lines BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX log_chunks_by_run ON log_chunks (run_id, last_seq);

CREATE TABLE uploads (
    id TEXT NOT NULL PRIMARY KEY,
    unused_until INTEGER,         -- when it goes; null once it is used
    document TEXT NOT NULL
) STRICT;
CREATE INDEX uploads_unused ON uploads (unused_until) WHERE unused_until IS NOT NULL;

CREATE TABLE worker_settings (
    worker_id TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
) STRICT;

CREATE TABLE probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL
) STRICT;
INSERT INTO probe (id, count) VALUES (1, 0);
