-- What happened, one row per record.

-- raised and returned; the same id is the same alert told again
CREATE TABLE IF NOT EXISTS alerts (
    id            String,
    device        LowCardinality(String),
    twin_type     LowCardinality(String),
    signal        LowCardinality(String),
    rule          LowCardinality(String),
    detector      LowCardinality(String),
    state         LowCardinality(String),
    severity      LowCardinality(String),
    ts_ns         Int64,
    value         Nullable(Float64),
    `limit`       Nullable(Float64),
    score         Nullable(Float64),
    cause         String CODEC(ZSTD(3)),
    ranked        String CODEC(ZSTD(3)),
    source_offset Int64,
    shard         LowCardinality(String),
    known_ns      Int64 CODEC(Delta, ZSTD(3)),
    kp            UInt8,
    ko            UInt64,
    kr            UInt32
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device, ts_ns)
ORDER BY (device, ts_ns, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

-- the whole twin after a change; ts_ns is the newest event time it reports
CREATE TABLE IF NOT EXISTS twin_states (
    device        String,
    twin_type     LowCardinality(String),
    ts_ns         Int64 CODEC(Delta, ZSTD(3)),
    revision      Int64,
    source_offset Int64,
    document      String CODEC(ZSTD(3)),
    known_ns      Int64 CODEC(Delta, ZSTD(3)),
    kp            UInt8,
    ko            UInt64,
    kr            UInt32
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device, ts_ns)
ORDER BY (device, ts_ns, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

-- raw_base64 where the record was no text; topic, partition, offset: where it stood
CREATE TABLE IF NOT EXISTS dead_letters (
    reason     LowCardinality(String),
    detail     String CODEC(ZSTD(3)),
    topic      LowCardinality(String),
    partition  Int32,
    offset     Int64,
    arrival_ns Int64,
    device     String,
    key        String,
    raw        String CODEC(ZSTD(3)),
    raw_base64 String CODEC(ZSTD(3)),
    known_ns   Int64 CODEC(Delta, ZSTD(3)),
    kp         UInt8,
    ko         UInt64,
    kr         UInt32
) ENGINE = ReplacingMergeTree
PRIMARY KEY (reason, arrival_ns)
ORDER BY (reason, arrival_ns, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

-- sequence numbers that never came
CREATE TABLE IF NOT EXISTS gaps (
    device        String,
    boot          String,
    from_seq      Int64,
    to_seq        Int64,
    missing       Int64,
    source_offset Int64,
    known_ns      Int64 CODEC(Delta, ZSTD(3)),
    kp            UInt8,
    ko            UInt64,
    kr            UInt32
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device)
ORDER BY (device, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

-- what became of the records from_offset (in) to end_offset (out) of a partition of samples
CREATE TABLE IF NOT EXISTS ledger (
    shard       LowCardinality(String),
    partition   Int32,
    from_offset Int64,
    end_offset  Int64,
    skipped     Int64,
    at_ns       Int64,
    document    String CODEC(ZSTD(3)),
    known_ns    Int64 CODEC(Delta, ZSTD(3)),
    kp          UInt8,
    ko          UInt64,
    kr          UInt32
) ENGINE = ReplacingMergeTree
PRIMARY KEY (partition, from_offset)
ORDER BY (partition, from_offset, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;
