"""The house rules that a machine can check: who may import whom, how long a file may be, what must load what."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VOCABULARY = {
    "operators.compiled",
    "operators.machine",
    "operators.touched",
    "operators.types",
    "operators.errors",
    "operators.definition",
    "operators.definition_yaml",
    "operators.units",
}
ROOMS = ("flows", "operators", "connectors", "models", "dashboards", "infra")
MAY_IMPORT: dict[str, set[str]] = {
    "operators": {"operators"},
    "models": {"models", *VOCABULARY},
    "connectors": {"connectors", "operators.frames", "operators.meter", *VOCABULARY},
    "flows": {"flows", "operators", "models", "connectors"},
    "dashboards": {"dashboards", "connectors", *VOCABULARY},
    "infra": set(ROOMS),
}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (p for p in (ROOT / folder).rglob("*.py") if "typings" not in p.parts)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def allowed(room: str, module: str) -> bool:
    return any(module == m or module.startswith(m + ".") for m in MAY_IMPORT[room])


def test_every_import_between_rooms_follows_the_layer_contract() -> None:
    broken = [
        f"{path.relative_to(ROOT)} imports {module}"
        for room in ROOMS
        for path in sources(room)
        for module in imports(path)
        if module.split(".")[0] in ROOMS and not allowed(room, module)
    ]
    assert broken == []


def test_the_contract_would_catch_an_operator_that_imports_a_model() -> None:
    assert not allowed("operators", "models.ewma")
    assert allowed("flows", "models.ewma")


def test_loops_are_compiled_by_the_two_decorators_of_operators_compiled_alone() -> None:
    users = {p.name for p in sources(*ROOMS) if any(m.split(".")[0] == "numba" for m in imports(p))}
    assert users <= {"compiled.py", "machine.py", "warm.py"}


def test_no_file_is_over_400_lines_and_the_median_stays_readable() -> None:
    lengths = {p: len(p.read_text().splitlines()) for p in sources(*ROOMS, "tests")}
    assert {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > 400} == {}
    assert statistics.median(n for p, n in lengths.items() if p.name != "__init__.py") <= 200


def test_package_inits_hold_one_docstring_and_nothing_else() -> None:
    for room in ROOMS:
        body = ast.parse((ROOT / room / "__init__.py").read_text()).body
        assert len(body) == 1, room
        assert isinstance(body[0], ast.Expr), room


def test_importing_the_column_types_loads_numpy_and_nothing_heavier() -> None:
    heavy = "{'numba', 'pyarrow', 'bytewax', 'msgspec', 'pandas', 'sklearn', 'torch', 'yaml'}"
    code = f"import sys, operators.types; sys.exit(','.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_gate_starts_without_kernels_arrow_or_a_dataflow() -> None:
    heavy = "{'numba', 'pyarrow', 'bytewax', 'chdb'}"
    code = f"import sys, flows.commands; sys.exit(','.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_type_check_is_silenced() -> None:
    marker = "type: " + "ignore"
    assert [str(p.relative_to(ROOT)) for p in sources(*ROOMS, "tests") if marker in p.read_text()] == []
