-- Public links to workers, one a worker.

CREATE TABLE shares (
    worker_id TEXT NOT NULL PRIMARY KEY,
    token TEXT NOT NULL,
    document TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX shares_by_token ON shares (token);
