"""A figure: what was measured in several runs, its floor, what to reach, and the table of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured figure: each run's value, each run's floor, and the bounds to reach.

    `most_ratio` bounds the median beside the floor's, `most` the median itself, in `unit`.
    """

    name: str
    unit: str
    values: Sequence[float]
    floor: Sequence[float] = ()
    most_ratio: float | None = None
    most: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the floor it is."""
        return median(self.values) / median(self.floor) if self.floor else None

    @property
    def reached(self) -> bool:
        """Whether the bounds are kept."""
        if self.most_ratio is not None and (self.ratio is None or self.ratio > self.most_ratio):
            return False
        return self.most is None or median(self.values) <= self.most

    def row(self) -> list[str]:
        """Its cells in the table."""
        bounds = [f"≤ {self.most_ratio:g} times"] if self.most_ratio is not None else []
        bounds += [f"≤ {self.most:g} {self.unit}"] if self.most is not None else []
        return [
            self.name,
            f"{median(self.values):.4g} {self.unit}",
            f"{min(self.values):.4g} to {max(self.values):.4g}" if len(self.values) > 1 else "",
            f"{median(self.floor):.4g} {self.unit}" if self.floor else "",
            f"{self.ratio:.2f}" if self.ratio is not None else "",
            " and ".join(bounds),
            ("yes" if self.reached else "no") if bounds else "",
        ]


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile, by nearest rank."""
    return sorted(values)[math.ceil(len(values) * 0.99) - 1]


_HEADINGS = ["figure", "median", "spread", "floor", "ratio", "to reach", "reached"]


def table(rows: Sequence[Sequence[str]], headings: Sequence[str] = _HEADINGS) -> str:
    """Lay rows out as a Markdown table, aligned."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    text = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([text[0], rule, *text[1:]])


def document(machine: str, figures: Sequence[Figure]) -> dict[str, Any]:
    """Make the JSON document of a run."""
    return {"machine": machine, "figures": [asdict(figure) for figure in figures]}


def compare(base: dict[str, Any], now: dict[str, Any]) -> str:
    """Lay two documents side by side: the medians, and how the second differs from the first.

    The floors' change tells how much of that is the machine's.
    """
    before = {figure["name"]: figure for figure in base["figures"]}
    rows = []
    for figure in now["figures"]:
        if (old := before.get(figure["name"])) is None:
            continue
        was, is_now = median(old["values"]), median(figure["values"])
        cells = [f"{was:.4g}", f"{is_now:.4g}", figure["unit"]]
        changes = [_change(old[part], figure[part]) for part in ("values", "floor")]
        rows.append([figure["name"], *cells, *changes])
    return table(rows, ["figure", "base", "now", "unit", "change", "floor's change"])


def _change(before: Sequence[float], now: Sequence[float]) -> str:
    if not (before and now and median(before)):
        return ""
    return f"{median(now) / median(before) - 1:+.1%}"
