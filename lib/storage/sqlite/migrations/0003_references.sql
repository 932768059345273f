-- Who uses an upload: it goes with the last of these runs.

CREATE TABLE upload_uses (
    run_id TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    PRIMARY KEY (run_id, upload_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_uses_by_upload ON upload_uses (upload_id);

-- For runs of older versions: what their inputs say.
INSERT INTO upload_uses (run_id, upload_id)
SELECT DISTINCT runs.id, uploads.id
FROM runs, json_each(coalesce(json_extract(runs.detail, '$.inputs.text'), '{}')) AS input
JOIN uploads ON uploads.id = input.value;

-- Inputs that are kept in a blob cannot be read here. What they may name stays
-- for ever: an owner that no run is.
INSERT INTO upload_uses (run_id, upload_id)
SELECT '', id FROM uploads
WHERE unused_until IS NULL AND (
    id NOT IN (SELECT upload_id FROM upload_uses)
    OR EXISTS (SELECT 1 FROM runs WHERE json_extract(detail, '$.inputs.sha256') IS NOT NULL)
);

-- The sweep looks at blobs, not at a list of what lost its last name.
DROP TABLE released_blobs;

CREATE TABLE blob_sweep (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    swept_to TEXT NOT NULL        -- a SHA-256; empty at the start of a round
) STRICT;
INSERT INTO blob_sweep (id, swept_to) VALUES (1, '');
