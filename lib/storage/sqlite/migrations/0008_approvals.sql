-- Approvals in lists of their own, and those whose time is over.

CREATE TABLE all_approvals (
    id TEXT NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL,
    worker_id TEXT NOT NULL,
    status TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT;

INSERT INTO all_approvals (id, run_id, worker_id, status, expires_at, document)
SELECT id, run_id, json_extract(document, '$.worker_id'), json_extract(document, '$.status'),
    CAST(round((julianday(json_extract(document, '$.expires_at')) - 2440587.5) * 86400000) AS INTEGER),
    document
FROM approvals;

DROP TABLE approvals;
ALTER TABLE all_approvals RENAME TO approvals;

-- Ids grow with time, so the id is the order and the place in it.
CREATE INDEX approvals_by_run ON approvals (run_id, id);
CREATE INDEX approvals_by_status ON approvals (status, id);
CREATE INDEX approvals_by_worker ON approvals (worker_id, status, id);
CREATE INDEX approvals_due ON approvals (expires_at) WHERE status = 'pending';
