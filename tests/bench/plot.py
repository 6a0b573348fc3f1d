"""The report of `bench peers` as one SVG: a bar per job, the median of its rounds, a line from least to most."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

NAMES = {
    "twinflow": "twinflow, exactly once",
    "bytewax_naive_full": "naive Bytewax",
    "kafka_streams": "Kafka Streams, 1 thread",
    "flink_java": "Flink in Java",
    "rust_hand": "Rust by hand, librdkafka",
}
WIDTH, LABELS, BAR, GAP, HEAD = 860, 210, 22, 10, 46
OURS, THEIRS, INK = "#0b7285", "#868e96", "#495057"


def svg(report: Mapping[str, Any]) -> str:
    """Two panels: messages a second (more is better), CPU seconds per million messages (less is better)."""
    rows = [row for row in report["rounds"] if "per_s" in row]
    sizes = sorted({row["n"] for row in rows})
    short = [row for row in rows if row["n"] == sizes[0]]
    long = [row for row in rows if row["n"] == sizes[-1]]
    rates, top = _panel(f"messages a second, {sizes[0]:,} messages", short, "per_s", 0)
    costs, bottom = _panel(f"CPU seconds per million, {sizes[-1]:,} messages", long, "cpu_s_per_million", top + 24)
    style = "<style>text{font:13px system-ui,sans-serif}.h{font-weight:600;font-size:15px}</style>"
    size = f'width="{WIDTH}" height="{bottom}" viewBox="0 0 {WIDTH} {bottom}"'
    ground = f'<rect width="{WIDTH}" height="{bottom}" fill="#ffffff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{style}\n{ground}\n{rates}{costs}</svg>\n'


def _panel(title: str, rows: Sequence[Mapping[str, Any]], figure: str, top: int) -> tuple[str, int]:
    """One panel from `top` on, on a logarithmic scale; the SVG and where it ends."""
    jobs: dict[str, list[float]] = {}
    for row in rows:
        jobs.setdefault(row["job"], []).append(float(row[figure]))
    low = 10 ** math.floor(math.log10(min(min(v) for v in jobs.values())))
    high = 10 ** math.ceil(math.log10(max(max(v) for v in jobs.values())))
    room = WIDTH - LABELS - 110

    def at(value: float) -> float:
        return LABELS + room * math.log(value / low) / math.log(high / low)

    bottom = top + HEAD + len(jobs) * (BAR + GAP) + 8
    parts = [f'<text class="h" x="10" y="{top + 24}" fill="{INK}">{escape(title)} (logarithmic)</text>']
    tick = low
    while tick <= high:
        x = at(tick)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + 36}" y2="{bottom - 8}" stroke="#dee2e6"/>')
        parts.append(f'<text x="{x + 3:.1f}" y="{top + 44}" fill="{THEIRS}" font-size="10">{_short(tick)}</text>')
        tick *= 10
    for number, (job, found) in enumerate(jobs.items()):
        y, middle = top + HEAD + number * (BAR + GAP), statistics.median(found)
        colour = OURS if job == "twinflow" else THEIRS
        wide = max(at(middle) - LABELS, 2)
        parts += [
            f'<text x="{LABELS - 8}" y="{y + 16}" text-anchor="end" fill="{INK}">{escape(NAMES.get(job, job))}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{wide:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
            f'<line x1="{at(min(found)):.1f}" x2="{at(max(found)):.1f}" y1="{y + 11}" y2="{y + 11}" stroke="#212529"/>',
            f'<text x="{at(max(found)) + 6:.1f}" y="{y + 16}" fill="{INK}">{_short(middle)}</text>',
        ]
    return "\n".join(parts) + "\n", bottom


def _short(value: float) -> str:
    """A figure in three digits.

    >>> _short(1_234_567), _short(48_900), _short(16.42), _short(0.5)
    ('1.23 M', '48.9 k', '16.4', '0.5')
    """
    for unit, name in ((10**6, " M"), (10**3, " k"), (1, "")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"
