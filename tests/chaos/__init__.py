"""Mishaps on purpose (`twinflow chaos NAME`): a scenario per module, one world, one checker."""
