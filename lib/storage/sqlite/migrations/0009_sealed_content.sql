-- The key that opens secrets opens proposals, too: once there was one, the check record stays.

ALTER TABLE secret_check ADD COLUMN is_kept INTEGER NOT NULL DEFAULT 0;
