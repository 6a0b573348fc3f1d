"""What can go wrong with the embedded Kafka; each error is one line (what, why, what next) and ends the start."""

from __future__ import annotations

from infra.errors import CannotStart


class JarError(CannotStart):
    """A jar of the lock cannot be had, or is not the file that was locked.

    >>> str(JarError(what="org.slf4j:slf4j-api:1.7.36", why="download failed", fix="start again"))
    'org.slf4j:slf4j-api:1.7.36: download failed; start again'
    """


class BrokerError(CannotStart):
    """The broker cannot be prepared, or does not answer."""


class TopicError(CannotStart):
    """infra/topics.yaml does not hold together, or the cluster holds something else than it says."""
