-- What people say of runs, and failures that nobody made an issue of yet.

CREATE TABLE feedback (
    run_id TEXT NOT NULL,
    id TEXT NOT NULL,
    feedback_id TEXT NOT NULL,    -- the caller's name for it
    document TEXT NOT NULL,
    PRIMARY KEY (run_id, id),
    UNIQUE (run_id, feedback_id)
) STRICT;

ALTER TABLE runs ADD COLUMN feedback_count INTEGER NOT NULL DEFAULT 0;

CREATE TABLE failure_reports (
    run_id TEXT NOT NULL PRIMARY KEY,
    tried_since INTEGER           -- the issue may be in git since
) STRICT, WITHOUT ROWID;
