-- What telemetry made of the samples. A window or row that is told again is a new row; readers take the newest revision.

CREATE TABLE IF NOT EXISTS windows (
    twin_type       LowCardinality(String),
    device          LowCardinality(String),
    signal          LowCardinality(String),
    window_start_ns Int64   CODEC(DoubleDelta, ZSTD(3)),
    window_end_ns   Int64   CODEC(DoubleDelta, ZSTD(3)),
    count           Int64   CODEC(T64, ZSTD(3)),
    mean            Float64 CODEC(ZSTD(3)),
    sd              Float64 CODEC(ZSTD(3)),
    min             Float64 CODEC(ZSTD(3)),
    max             Float64 CODEC(ZSTD(3)),
    slope           Float64 CODEC(ZSTD(3)),
    rms             Float64 CODEC(ZSTD(3)),
    revision        Int64   CODEC(T64, ZSTD(3)),
    is_final        Bool,
    source_offset   Int64   CODEC(Delta, ZSTD(3)),
    known_ns        Int64   CODEC(Delta, ZSTD(3)),
    kp              UInt8,
    ko              UInt64  CODEC(Delta, ZSTD(3)),
    kr              UInt32  CODEC(Delta, ZSTD(3))
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device, signal, window_start_ns)
ORDER BY (device, signal, window_start_ns, window_end_ns, revision, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS rows (
    twin_type     LowCardinality(String),
    device        LowCardinality(String),
    ts_ns         Int64  CODEC(DoubleDelta, ZSTD(3)),
    values        Map(LowCardinality(String), Float64) CODEC(ZSTD(3)),
    skew_ns       Int64  CODEC(T64, ZSTD(3)),
    degraded      Bool,
    source_offset Int64  CODEC(Delta, ZSTD(3)),
    known_ns      Int64  CODEC(Delta, ZSTD(3)),
    kp            UInt8,
    ko            UInt64 CODEC(Delta, ZSTD(3)),
    kr            UInt32 CODEC(Delta, ZSTD(3))
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device, ts_ns)
ORDER BY (device, ts_ns, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS anomalies (
    twin_type     LowCardinality(String),
    device        LowCardinality(String),
    signal        LowCardinality(String),
    detector      LowCardinality(String),
    ts_ns         Int64 CODEC(DoubleDelta, ZSTD(3)),
    score         Float64,
    threshold     Float64,
    severity      Float64,
    level         LowCardinality(String),
    cause         String CODEC(ZSTD(3)),
    ranked        String CODEC(ZSTD(3)),
    source_offset Int64,
    known_ns      Int64 CODEC(Delta, ZSTD(3)),
    kp            UInt8,
    ko            UInt64,
    kr            UInt32
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device, ts_ns)
ORDER BY (device, ts_ns, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

-- samples that no operator took any more
CREATE TABLE IF NOT EXISTS late (
    twin_type     LowCardinality(String),
    device        LowCardinality(String),
    signal        LowCardinality(String),
    ts_ns         Int64   CODEC(DoubleDelta, ZSTD(3)),
    known_ns      Int64   CODEC(Delta, ZSTD(3)),
    value         Float64 CODEC(ZSTD(3)),
    quality       UInt8,
    seq           Int64   CODEC(Delta, ZSTD(3)),
    source_offset Int64   CODEC(Delta, ZSTD(3)),
    kp            UInt8,
    ko            UInt64  CODEC(Delta, ZSTD(3)),
    kr            UInt32  CODEC(Delta, ZSTD(3))
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device, signal, ts_ns)
ORDER BY (device, signal, ts_ns, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;
