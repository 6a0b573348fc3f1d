"""Doors to the world: Kafka, ClickHouse, files, devices."""
