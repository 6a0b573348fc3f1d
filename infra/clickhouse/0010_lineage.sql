-- The whole record as it was told, with its lineage: what `twinflow explain` shows and compares byte by byte.

ALTER TABLE alerts ADD COLUMN IF NOT EXISTS document String CODEC(ZSTD(3));
ALTER TABLE command_requests ADD COLUMN IF NOT EXISTS document String CODEC(ZSTD(3));
ALTER TABLE commands ADD COLUMN IF NOT EXISTS document String CODEC(ZSTD(3));
ALTER TABLE command_events ADD COLUMN IF NOT EXISTS document String CODEC(ZSTD(3));
