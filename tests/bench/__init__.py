"""Benchmarks and the oracles they share with the tests; run through `twinflow bench NAME --json`."""
