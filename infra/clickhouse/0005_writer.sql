-- What the history writer remembers of itself.

-- next offset to read, told every few seconds and at the end; the tables themselves are asked as well, so this matters
-- for records that made no row and for rows that retention has removed
CREATE TABLE IF NOT EXISTS ingested (
    topic    LowCardinality(String),
    kp       UInt8,
    ko       UInt64,
    known_ns Int64,
    at_ns    Int64
) ENGINE = ReplacingMergeTree(ko)
ORDER BY (topic, kp);

-- records that could not be read, and offsets that were gone before they were read
CREATE TABLE IF NOT EXISTS quarantine (
    topic    LowCardinality(String),
    kp       UInt8,
    ko       UInt64,
    known_ns Int64,
    reason   LowCardinality(String),
    detail   String CODEC(ZSTD(3)),
    records  UInt64,
    raw      String CODEC(ZSTD(3))
) ENGINE = ReplacingMergeTree
ORDER BY (topic, kp, ko);
