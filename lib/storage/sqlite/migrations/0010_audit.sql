-- Who did what, and how often somebody called of late.

CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    route TEXT,                   -- URI template; no route had the path: null
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_by_user ON audit (user_id, id);
CREATE INDEX audit_by_route ON audit (route, id);
CREATE INDEX audit_by_user_and_route ON audit (user_id, route, id);

CREATE TABLE rates (
    ends_at INTEGER NOT NULL,     -- of the window
    key TEXT NOT NULL,
    hits INTEGER NOT NULL,
    PRIMARY KEY (ends_at, key)
) STRICT, WITHOUT ROWID;
