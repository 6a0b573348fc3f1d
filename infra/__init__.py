"""The twinflow command, embedded Kafka and ClickHouse, supervisor, migrations."""
