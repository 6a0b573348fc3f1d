"""Real servers, started once per test session and only when a test asks for one."""

from __future__ import annotations
