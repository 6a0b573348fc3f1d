"""Statements whose answers through the front are compared with chDB's own; they run in this order."""

from __future__ import annotations

COLUMNS = (
    "id UInt64, i8 Int8, i256 Int256, f32 Float32, f64 Float64, d Decimal(18, 4), d256 Decimal256(10), b Bool, "
    "s String, fs FixedString(4), lc LowCardinality(String), ln LowCardinality(Nullable(String)), n Nullable(Float64), "
    "u UUID, e Enum8('idle' = 1, 'busy' = 2), day Date, day32 Date32, dt DateTime('UTC'), dt64 DateTime64(9, 'UTC'), "
    "a Array(Nullable(Int32)), aa Array(Array(String)), m Map(String, Float64), t Tuple(x Float64, y String), "
    "ip4 IPv4, ip6 IPv6"
)
ROWS = (
    "(1, -8, -170141183460469231731687303715884105728, 0.1, nan, 12345.6789, 0.0000000001, true, 'tab\\there', 'abcd', "
    "'lc', NULL, NULL, '61f0c404-5cb3-11e7-907b-a6006ad3dba0', 'busy', '2024-02-29', '1925-01-01', "
    "'2024-02-29 23:59:59', '2024-02-29 23:59:59.123456789', [1, NULL, -3], [['a'], []], map('k', 1.5), "
    "(1.5, 'it''s'), '10.0.0.1', '2001:db8::1'), "
    "(2, 127, 0, -0.0, inf, -0.0001, 0, false, '', 'ab', '', 'x', -inf, '00000000-0000-0000-0000-000000000000', "
    "'idle', '1970-01-01', '2283-11-11', '1970-01-01 00:00:00', '1970-01-01 00:00:00.000000000', [], [], map(), "
    "(-inf, '\\0\\n\\\\'), '0.0.0.0', '::')"
)
NAMES = "i8 i256 f32 f64 d d256 b s fs lc ln n u e day day32 dt dt64 a aa m t t.y ip4 ip6".split()  # noqa: SIM905
TYPES = [
    f"CREATE TABLE every_type ({COLUMNS}) ENGINE = MergeTree ORDER BY id",
    f"INSERT INTO every_type VALUES {ROWS}",
    "SELECT * FROM every_type ORDER BY id",
    *(f"SELECT {name}, toTypeName({name}) FROM every_type ORDER BY id" for name in NAMES),
]
STATEMENTS = [
    *TYPES,
    "SELECT 1",
    "SELECT 1 AS a, 'b' AS `odd name`, NULL AS c",
    "SELECT nan, inf, -inf, 0.1 + 0.2, 1e308 * 10",
    "SELECT toDecimal64('1.10', 2) + 1, toDecimal128(-1, 18)",
    "SELECT toDateTime64('2024-06-01 12:00:00.123456', 6, 'Europe/Berlin')",
    "SELECT toDateTime('2024-06-01 12:00:00', 'UTC') + INTERVAL 1 MONTH",
    "SELECT number, number * 2 FROM numbers(5)",
    "SELECT number FROM numbers(70000) WHERE number % 10007 = 3",
    "SELECT sum(number), avg(number), quantileExact(0.9)(number) FROM numbers(1000)",
    "SELECT argMax(number, -number), uniqExact(number % 7) FROM numbers(100)",
    "SELECT number % 3 AS k, count() FROM numbers(10) GROUP BY k ORDER BY k",
    "SELECT number % 3 AS k, count() FROM numbers(10) GROUP BY k WITH TOTALS ORDER BY k",
    "SELECT number % 3 AS k, count() FROM numbers(10) GROUP BY ROLLUP(k) ORDER BY k",
    "SELECT groupArray((number, toString(number))) FROM numbers(3)",
    "SELECT arrayMap(x -> x * 2, [1, 2, 3]), arraySort([3, 1, 2])",
    "SELECT map('a', 1, 'b', 2)['b'], mapKeys(map('x', 1))",
    "SELECT tupleElement(tuple(1, 'a'), 2)",
    "SELECT JSONExtractFloat('{\"v\": 1.5}', 'v')",
    "SELECT splitByChar(',', 'a,b,c'), upper('µ'), length('µ'), lengthUTF8('µ')",
    "SELECT 'it''s', 'back\\\\slash', 'new\\nline', 'quote\"'",
    "SELECT toStartOfInterval(toDateTime('2024-01-01 00:07:31', 'UTC'), INTERVAL 5 MINUTE)",
    "SELECT if(number = 2, NULL, number) FROM numbers(4)",
    "SELECT CAST(1 AS Nullable(UInt8)), toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')",
    "WITH 3 AS three SELECT three + 1",
    "WITH t AS (SELECT number AS n FROM numbers(3)) SELECT n FROM t UNION ALL SELECT 100",
    "SELECT * FROM (SELECT 1 AS a) AS l LEFT JOIN (SELECT 2 AS a, 3 AS b) AS r USING a",
    "SELECT a.number, b.number FROM numbers(5) AS a ASOF JOIN numbers(3) AS b ON a.number % 2 = b.number % 2 AND "
    "a.number >= b.number ORDER BY 1",
    "SELECT number FROM numbers(1, 4) ORDER BY number WITH FILL FROM 0 TO 6",
    "SELECT row_number() OVER (ORDER BY number DESC) AS r, number FROM numbers(3) ORDER BY r",
    "SELECT 1 WHERE 0",
    "SELECT 1 -- comment; with a semicolon",
    "/* before */ SELECT ';' AS semicolon;",
    "SELECT 'FORMAT Native' AS trap, format('{} {}', 1, 2)",
    "SELECT 1 FORMAT JSONEachRow",
    "CREATE DATABASE other",
    "CREATE TABLE other.points (ts DateTime64(9), device LowCardinality(String), v Float64 CODEC(Gorilla, ZSTD)) "
    "ENGINE = ReplacingMergeTree ORDER BY (device, ts)",
    "INSERT INTO other.points SELECT toDateTime64(number, 9), 'd' || toString(number % 3), number / 4 "
    "FROM numbers(1000)",
    "INSERT INTO other.points (ts, device, v) VALUES (0, 'x', 1), (1, 'y', 2.5)",
    "SELECT device, count(), max(v), min(ts) FROM other.points GROUP BY device ORDER BY device",
    "SHOW TABLES FROM other",
    "DESCRIBE TABLE other.points",
    "SHOW CREATE TABLE other.points",
    "EXISTS TABLE other.points",
    "EXPLAIN SYNTAX SELECT 1 + 1",
    "ALTER TABLE other.points ADD COLUMN q UInt8 DEFAULT 7",
    "SELECT sum(q) FROM other.points",
    "ALTER TABLE other.points DELETE WHERE device = 'd0' SETTINGS mutations_sync = 1",
    "SELECT count() FROM other.points",
    "CREATE TABLE other.sums (device String, s AggregateFunction(sum, Float64)) "
    "ENGINE = AggregatingMergeTree ORDER BY device",
    "CREATE MATERIALIZED VIEW other.to_sums TO other.sums AS "
    "SELECT device, sumState(v) AS s FROM other.points GROUP BY device",
    "INSERT INTO other.points (ts, device, v) VALUES (5, 'm', 2), (6, 'm', 3)",
    "SELECT device, sumMerge(s) FROM other.sums GROUP BY device",
    "RENAME TABLE other.points TO other.renamed",
    "TRUNCATE TABLE other.renamed",
    "SELECT count() FROM other.renamed",
    "DROP DATABASE other SYNC",
    "SELECT * FROM nowhere",
    "SELECT nothing FROM every_type",
    "SELECT no_such_function(1)",
    "SELEC 1",
    "SELECT (1",
    "SELECT toUInt8('x')",
    "SELECT intDiv(1, 0)",
    "SELECT throwIf(1, 'thrown')",
    "SELECT 1 SETTINGS no_such_setting = 1",
    "SELECT 1 FORMAT NoSuchFormat",
    "SELECT {missing:UInt8}",
    "INSERT INTO every_type (id) VALUES ('x')",
    "INSERT INTO nowhere VALUES (1)",
    "CREATE TABLE every_type (a Int8) ENGINE = Memory",
    "SELECT * FROM no_database.t",
    "DROP TABLE nowhere",
    "SELECT CAST('a' AS Enum8('b' = 1))",
    "SELECT toDecimal32('1000000000000', 2)",
]  # fmt: skip
