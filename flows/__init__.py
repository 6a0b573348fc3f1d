"""Wiring only: each flow is a file that reads top-down as the picture of its dataflow."""
