"""The embedded Apache Kafka: its jars, its one broker, its topics."""
