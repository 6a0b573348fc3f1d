"""Makes jars.lock: resolves the roots with all they need at run time, hashes every jar, reads its licence."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from jgo.maven import POM, MavenContext

from infra.kafka.errors import JarError
from infra.kafka.jars import LOCK, Jar, maven, sha256_of

ROOTS = (
    "org.apache.kafka:kafka_2.13:4.1.1",
    "org.apache.kafka:kafka-clients:4.1.1",  # pinned: beside other roots an older one may be chosen
    "org.slf4j:slf4j-simple:1.7.36",  # the binding that belongs to Kafka's own slf4j-api; a 2.x one logs nothing
)
HEAD = "# made by: python -m {} --lock\n# group:artifact:version size sha256 licence (SPDX)\n"
SPDX = (
    (r"\bapache\b.*\b2\b", "Apache-2.0"),
    (r"\bmit\b", "MIT"),
    (r"\bbsd.2\b", "BSD-2-Clause"),
    (r"\b3.clause bsd\b", "BSD-3-Clause"),
    (r"^mpl 1\.1$", "MPL-1.1"),
    (r"^lgpl 2\.1$", "LGPL-2.1-only"),
    (r"^gnu general public license, version 2$", "GPL-2.0-only"),
    (r"^epl-2\.0$", "EPL-2.0"),
    (r"\bcc0\b", "CC0-1.0"),
    (r"^go license$", "BSD-3-Clause"),  # re2j: the text is that of the Go project
)


def resolve(roots: Iterable[str] = ROOTS, *, mirror: str | None = None) -> list[Jar]:
    """The roots and all they need, downloaded afresh into a scratch folder; sorted, so that the lock is stable.

    Raises:
        JarError: a jar states a licence that SPDX above does not know.
    """
    with tempfile.TemporaryDirectory() as scratch:
        context = maven(Path(scratch), mirror)
        inputs, rest = context.resolver.resolve([context.create_dependency(root) for root in roots])
        jars = []
        for needed in (*inputs, *rest):
            path = needed.artifact.resolve()
            group, artifact, version = needed.groupId, needed.artifactId, needed.version
            terms = _licence(context, group, artifact, version)
            jars.append(Jar(group, artifact, version, path.stat().st_size, sha256_of(path), terms))
    return sorted(jars, key=lambda jar: jar.coordinate)


def write_lock(jars: Iterable[Jar], path: Path = LOCK, *, module: str = "infra.kafka.jars") -> None:
    """Replaces a lock; `module` is the one that makes it anew."""
    lines = (f"{jar.coordinate} {jar.size} {jar.sha256} {jar.licence}\n" for jar in jars)
    path.write_text(HEAD.format(module) + "".join(lines), encoding="utf-8")


def _licence(context: MavenContext, group: str, artifact: str, version: str) -> str:
    """From the jar's own POM, else from the nearest parent that states one."""
    pom: POM | None = context.project(group, artifact).at_version(version).pom()
    while pom is not None:
        stated = [(entry.findtext("name") or "").strip() for entry in pom.elements("licenses/license")]
        if stated:
            return " OR ".join(spdx(name) for name in stated)
        pom = context.pom_parent(pom)
    raise JarError(what=f"{group}:{artifact}:{version}", why="its POM states no licence", fix="read it in the jar")


def spdx(name: str) -> str:
    """SPDX id of a licence as POMs write it.

    >>> spdx("The Apache Software License, Version 2.0"), spdx("BSD 2-Clause License")
    ('Apache-2.0', 'BSD-2-Clause')
    """
    for pattern, identifier in SPDX:
        if re.search(pattern, name.lower()):
            return identifier
    raise JarError(
        what=f"licence {name!r}", why="not known", fix="read it and add it to SPDX in infra/kafka/resolve.py"
    )
