"""Measures, prints the table, and writes it as JSON: `python -m tools.bench --help`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tools.bench import measure
from tools.bench.figures import Figure, compare, document, table
from tools.bench.looks import looks
from tools.bench.notifications import notifications
from tools.bench.reaction import reaction
from tools.bench.stage import QUICK, Plan, qbittorrent_name

BENCHES: dict[str, Callable[[Plan], Iterator[Figure]]] = {
    "memory": measure.memory,
    "notifications": notifications,
    "cpu": measure.cpu,
    "rest": measure.rest,
    "start": measure.start,
    "healthcheck": measure.healthcheck,
    "reaction": reaction,
    "requests": measure.requests,
    "scrape": measure.scrape,
    "soak": measure.soak,
    "looks": looks,
}
OF_THIS_CHECKOUT = {"soak", "looks"}
QUICK_ONES = ["memory", "start", "healthcheck", "reaction", "requests"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are asked for, or compare two earlier runs."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)}")
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    parser.add_argument("--compare", type=Path, metavar="BASE", help="with an earlier run's JSON")
    parser.add_argument("--quick", action="store_true", help="what matters most, in fewer runs")
    parser.add_argument("--of", type=Path, metavar="FOLDER", help="another checkout with a .venv")
    wanted = parser.parse_args(arguments)
    if wanted.compare:
        base, now = (json.loads(path.read_text()) for path in (wanted.compare, wanted.output))
        print(compare(base, now))
        return 0
    if unknown := set(wanted.benches) - BENCHES.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    plan, benches = Plan(), wanted.benches or [*BENCHES]
    if wanted.quick:
        plan, benches = QUICK, wanted.benches or QUICK_ONES
    if wanted.of:
        plan = replace(plan, checkout=wanted.of.absolute())
        benches = [name for name in benches if name not in OF_THIS_CHECKOUT]
    machine = _machine(plan)
    figures: list[Figure] = []
    for name in benches:
        for figure in BENCHES[name](plan):
            figures.append(figure)
            print("  ".join(filter(None, figure.row())), file=sys.stderr, flush=True)
            wanted.output.write_text(json.dumps(document(machine, figures), indent=2) + "\n")
    print(f"{machine}\n\n{table([figure.row() for figure in figures])}")
    return 0


def _machine(plan: Plan) -> str:
    cpu = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    name = subprocess.run([*plan.command, "--version"], capture_output=True, text=True, check=True)
    return (
        f"{name.stdout.strip()}, Python {platform.python_version()}, {qbittorrent_name()}, "
        f"{os.cpu_count()} cores of {cpu.partition(': ')[2] or cpu}"
    )


if __name__ == "__main__":
    sys.exit(main())
