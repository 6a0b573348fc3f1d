-- Windows that a twin type names under `windows`, with the statistics it asks for; told again as those in `windows` are.

CREATE TABLE IF NOT EXISTS named_windows (
    twin_type       LowCardinality(String),
    device          LowCardinality(String),
    signal          LowCardinality(String),
    window          LowCardinality(String),
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
    statistics      Map(LowCardinality(String), Float64) CODEC(ZSTD(3)),
    source_offset   Int64   CODEC(Delta, ZSTD(3)),
    known_ns        Int64   CODEC(Delta, ZSTD(3)),
    kp              UInt8,
    ko              UInt64  CODEC(Delta, ZSTD(3)),
    kr              UInt32  CODEC(Delta, ZSTD(3))
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device, signal, window, window_start_ns)
ORDER BY (device, signal, window, window_start_ns, window_end_ns, revision, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;
