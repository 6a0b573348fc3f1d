"""What all scenarios share: their options, a world of their own, and how they tell what came of it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from tests.flows.live_world import World

Figures: TypeAlias = dict[str, object]
MUST_BE_ZERO = (
    *("lost", "duplicates", "unexpected", "order_violations", "state_mismatches"),
    *("ledger_balance", "ledger_findings", "silent_ends", "failures"),
)
MUST_BE_TRUE = ("equal", "flat")


def faults(figures: Mapping[str, object]) -> Figures:
    """Figures that are not as they must be.

    >>> faults({"kills": 3, "lost": 0, "duplicates": 2, "equal": True})
    {'duplicates': 2}
    """
    wrong: Figures = {name: figures[name] for name in MUST_BE_ZERO if figures.get(name)}
    wrong |= {name: figures[name] for name in MUST_BE_TRUE if not figures.get(name, True)}
    if wrong and "examples" in figures:
        wrong["examples"] = figures["examples"]
    return wrong


def parser(scenario: str, about: str | None, **defaults: float | str) -> argparse.ArgumentParser:
    """Options of a scenario: those with their defaults, the seed, --json."""
    made = argparse.ArgumentParser(prog=f"twinflow chaos {scenario}", description=about)
    for name, default in defaults.items():
        made.add_argument(f"--{name}", type=type(default), default=default, help=f"default {default}")
    made.add_argument("--seed", type=int, default=1, help="same seed, same mishaps; default 1")
    made.add_argument("--json", action="store_true")
    return made


def alone(run: Callable[[World], Figures], new_world: Callable[[Path], World] = World) -> Figures:
    """Run a scenario in a world of its own."""
    with tempfile.TemporaryDirectory(prefix="twinflow-chaos-") as folder:
        world = new_world(Path(folder))
        try:
            return run(world)
        finally:
            world.close()


def tell(options: argparse.Namespace, run: Callable[[], Figures]) -> int:
    """Run, print, and exit 1 where a figure is not as it must be."""
    started = time.monotonic()
    figures = run() | {"seconds": round(time.monotonic() - started, 1), "seed": options.seed}
    sys.stdout.write(json.dumps(figures, indent=None if options.json else 2) + "\n")
    return 1 if faults(figures) else 0
