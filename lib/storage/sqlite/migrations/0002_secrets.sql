-- Values are sealed above this store; names and times are not.

CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    key_id TEXT NOT NULL,
    nonce BLOB NOT NULL,
    box BLOB NOT NULL,            -- ciphertext and tag
    updated_at INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;

-- A known text under the same key, there as long as there are secrets.
CREATE TABLE secret_check (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    key_id TEXT NOT NULL,
    nonce BLOB NOT NULL,
    box BLOB NOT NULL
) STRICT;
