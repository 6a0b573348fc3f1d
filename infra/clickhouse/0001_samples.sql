-- What was measured. Times are int64 ns UTC. Every row says when it was known (known_ns: arrival at the broker) and where
-- it stands in the log: kp partition, ko offset, kr row within the record; (kp, ko, kr) is unique, so a row that came
-- twice falls together in merges. No PARTITION BY: one insert is one part, there as a whole or not at all.

-- by series: charts
CREATE TABLE IF NOT EXISTS samples (
    twin_type     LowCardinality(String),
    device        LowCardinality(String),
    signal        LowCardinality(String),
    ts_ns         Int64   CODEC(DoubleDelta, ZSTD(3)),
    known_ns      Int64   CODEC(Delta, ZSTD(3)),
    value         Float64 CODEC(ZSTD(3)),
    quality       UInt8   CODEC(ZSTD(3)),
    seq           Int64   CODEC(Delta, ZSTD(3)),
    source_offset Int64   CODEC(Delta, ZSTD(3)),
    kp            UInt8   CODEC(ZSTD(3)),
    ko            UInt64  CODEC(Delta, ZSTD(3)),
    kr            UInt32  CODEC(Delta, ZSTD(3))
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device, signal, ts_ns)
ORDER BY (device, signal, ts_ns, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

-- the same rows for a short while in log order: the tail behind a snapshot of all twins, for asof
CREATE TABLE IF NOT EXISTS samples_recent (
    twin_type     LowCardinality(String),
    device        LowCardinality(String),
    signal        LowCardinality(String),
    ts_ns         Int64   CODEC(Delta, LZ4),
    known_ns      Int64   CODEC(Delta, LZ4),
    value         Float64 CODEC(LZ4),
    quality       UInt8   CODEC(LZ4),
    seq           Int64   CODEC(Delta, LZ4),
    kp            UInt8   CODEC(LZ4),
    ko            UInt64  CODEC(Delta, LZ4),
    kr            UInt32  CODEC(Delta, LZ4),
    INDEX by_ts    ts_ns    TYPE minmax GRANULARITY 1,
    INDEX by_known known_ns TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
ORDER BY (kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

-- newest sample of every series of one partition: of its records below snapshot_ko, those with ts_ns <= snapshot_ns,
-- which is the newest arrival among those records; one row per twin, `twins` rows in all
CREATE TABLE IF NOT EXISTS twin_snapshots (
    snapshot_ko UInt64,
    snapshot_ns Int64,
    twins       UInt32,
    twin_type   LowCardinality(String),
    device      String,
    signal      Array(LowCardinality(String)) CODEC(ZSTD(3)),
    ts_ns       Array(Int64)   CODEC(Delta, ZSTD(3)),
    known_ns    Array(Int64)   CODEC(Delta, ZSTD(3)),
    value       Array(Float64) CODEC(ZSTD(3)),
    quality     Array(UInt8)   CODEC(ZSTD(3)),
    seq         Array(Int64)   CODEC(Delta, ZSTD(3)),
    kp          UInt8,
    ko          Array(UInt64)  CODEC(Delta, ZSTD(3)),
    kr          Array(UInt32)  CODEC(Delta, ZSTD(3)),
    INDEX by_time snapshot_ns TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
ORDER BY (kp, snapshot_ko, device);

-- step_s 1, 60, 3600; each insert adds the sums of its own rows, merges add them up
CREATE TABLE IF NOT EXISTS rollups (
    step_s    UInt16,
    device    LowCardinality(String),
    signal    LowCardinality(String),
    start_ns  Int64 CODEC(DoubleDelta, ZSTD(3)),
    kp        UInt8,
    ko        SimpleAggregateFunction(max, UInt64) CODEC(Delta, ZSTD(3)),
    known_ns  SimpleAggregateFunction(max, Int64)  CODEC(Delta, ZSTD(3)),
    count     SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(3)),
    sum       SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(3)),
    min       SimpleAggregateFunction(min, Float64) CODEC(ZSTD(3)),
    max       SimpleAggregateFunction(max, Float64) CODEC(ZSTD(3))
) ENGINE = AggregatingMergeTree
ORDER BY (step_s, device, signal, start_ns, kp)
SETTINGS non_replicated_deduplication_window = 1000;
