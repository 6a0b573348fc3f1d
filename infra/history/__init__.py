"""The embedded history: chDB in one owner process that speaks ClickHouse's HTTP protocol."""
