-- Up to which arrival everything has gone through and is stored: what asof says of an earlier instant is final.

CREATE TABLE IF NOT EXISTS frontier (
    source   LowCardinality(String),
    known_ns Int64,
    at_ns    Int64
) ENGINE = ReplacingMergeTree(known_ns)
ORDER BY source;
