-- Commands from request to effect, and the definitions that were in force.

-- what rules, models and people ask for
CREATE TABLE IF NOT EXISTS command_requests (
    id        String,
    device    String,
    verb      LowCardinality(String),
    arguments String CODEC(ZSTD(3)),
    reason    String CODEC(ZSTD(3)),
    issuer    String,
    ts_ns     Int64,
    known_ns  Int64 CODEC(Delta, ZSTD(3)),
    kp        UInt8,
    ko        UInt64,
    kr        UInt32
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device, ts_ns)
ORDER BY (device, ts_ns, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

-- what was let through
CREATE TABLE IF NOT EXISTS commands (
    id        String,
    device    String,
    verb      LowCardinality(String),
    arguments String CODEC(ZSTD(3)),
    reason    String CODEC(ZSTD(3)),
    issuer    String,
    stage     LowCardinality(String),
    detail    String CODEC(ZSTD(3)),
    ts_ns     Int64,
    known_ns  Int64 CODEC(Delta, ZSTD(3)),
    kp        UInt8,
    ko        UInt64,
    kr        UInt32
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device, ts_ns)
ORDER BY (device, ts_ns, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

-- every stage of every command
CREATE TABLE IF NOT EXISTS command_events (
    id        String,
    device    String,
    verb      LowCardinality(String),
    arguments String CODEC(ZSTD(3)),
    reason    String CODEC(ZSTD(3)),
    issuer    String,
    stage     LowCardinality(String),
    detail    String CODEC(ZSTD(3)),
    ts_ns     Int64,
    known_ns  Int64 CODEC(Delta, ZSTD(3)),
    kp        UInt8,
    ko        UInt64,
    kr        UInt32
) ENGINE = ReplacingMergeTree
PRIMARY KEY (device, ts_ns)
ORDER BY (device, ts_ns, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;

-- as published; an empty document takes one back
CREATE TABLE IF NOT EXISTS definitions (
    twin     String,
    document String CODEC(ZSTD(3)),
    known_ns Int64 CODEC(Delta, ZSTD(3)),
    kp       UInt8,
    ko       UInt64,
    kr       UInt32
) ENGINE = ReplacingMergeTree
PRIMARY KEY (twin)
ORDER BY (twin, kp, ko, kr)
SETTINGS non_replicated_deduplication_window = 1000;
