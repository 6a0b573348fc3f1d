-- Fewer bytes a sample. Times count in ns and mostly step by whole ms: GCD takes that out of them. A block of 1 MB instead
-- of 64 KB lets ZSTD find what comes again in a series of values; a question reads as many blocks as it has columns.
-- Parts that are there already take it when they are merged.

ALTER TABLE samples MODIFY COLUMN ts_ns Int64 CODEC(GCD, DoubleDelta, ZSTD(3));
ALTER TABLE samples MODIFY COLUMN known_ns Int64 CODEC(GCD, Delta, ZSTD(3));
ALTER TABLE samples MODIFY SETTING min_compress_block_size = 1048576;
