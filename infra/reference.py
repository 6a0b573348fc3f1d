"""docs/reference.md from docstrings: the public classes and functions of operators and models, as they say themselves.

`python -m infra.reference` writes the page; a test fails when it is out of date.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {
    "operators": "Operators",
    "models": "Models",
}
Public = ast.ClassDef | ast.FunctionDef


def document() -> str:
    """The whole page."""
    parts = ["# Reference of operators and models", "", "Written by `python -m infra.reference` from the docstrings."]
    for room, title in ROOMS.items():
        parts += ["", f"## {title}"]
        for path in sorted((ROOT / room).rglob("*.py")):
            parts += _module(path)
    return "\n".join(parts) + "\n"


def _module(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    public = [n for n in tree.body if isinstance(n, Public) and not n.name.startswith("_") and ast.get_docstring(n)]
    if not public or path.name == "__init__.py":
        return
    yield from ("", f"### {name}", "", (ast.get_docstring(tree) or "").split("\n\n")[0])
    for node in public:
        yield from ("", f"**`{_signature(node)}`**", "", "```text")
        yield textwrap.indent(ast.get_docstring(node) or "", "")
        yield "```"


def _signature(node: Public) -> str:
    """Name and arguments; of a class those of its constructor."""
    if isinstance(node, ast.FunctionDef):
        return f"{node.name}({_arguments(node)})"
    made = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    return f"{node.name}({_arguments(made[0])})" if made else node.name


def _arguments(node: ast.FunctionDef) -> str:
    text = ast.unparse(node.args)
    return text.removeprefix("self, ").removeprefix("self")


if __name__ == "__main__":
    (ROOT / "docs" / "reference.md").write_text(document())
