-- The bytes of a small artifact; null: they are the blob that its document names.
ALTER TABLE artifacts ADD COLUMN data BLOB;
