-- Keys that a request took before its effect outside this file; settled, they are in `claims`.

CREATE TABLE pending_claims (
    key TEXT NOT NULL PRIMARY KEY,
    body_digest TEXT NOT NULL,
    owner TEXT NOT NULL,          -- of the request that is at it; empty: given up
    taken_at INTEGER NOT NULL,    -- by the first request with this key
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX pending_claims_by_end ON pending_claims (expires_at);
