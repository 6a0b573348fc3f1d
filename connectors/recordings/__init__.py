"""Recordings as messages of the wire contract: CSV, Parquet and MCAP, by a mapping file that names every signal."""
