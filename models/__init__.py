"""Detectors, forecasters, planners and the shipped twin types."""
