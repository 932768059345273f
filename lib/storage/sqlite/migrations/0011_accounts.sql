-- People, and what lets them in. Of secrets there are hashes only.

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    email TEXT,                   -- lower case
    role TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX users_by_email ON users (email) WHERE email IS NOT NULL;
CREATE INDEX users_admins ON users (email, id) WHERE role = 'admin' AND disabled = 0;

CREATE TABLE sessions (
    sha256 TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,        -- of no user: the built-in account
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    renewed_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    binding TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE TABLE access_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    sha256 TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    binding TEXT
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX access_tokens_by_sha256 ON access_tokens (sha256);
CREATE INDEX access_tokens_by_user ON access_tokens (user_id, id);
CREATE INDEX access_tokens_by_end ON access_tokens (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE sign_in_links (
    sha256 TEXT NOT NULL PRIMARY KEY,
    purpose TEXT NOT NULL,
    user_id TEXT,
    email TEXT,
    role TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    binding TEXT,
    used_at INTEGER,
    revoked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_links_by_user ON sign_in_links (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX sign_in_links_by_email ON sign_in_links (email) WHERE email IS NOT NULL;
CREATE INDEX sign_in_links_by_maker ON sign_in_links (created_by);
CREATE INDEX sign_in_links_by_end ON sign_in_links (expires_at);
