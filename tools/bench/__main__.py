"""Measures, prints the table, and writes it as JSON: `python -m tools.bench --help`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from qsticky import __version__
from tools.bench import measure
from tools.bench.figures import Figure, compare, document, table

BENCHES: dict[str, Callable[[], Iterator[Figure]]] = {
    "memory": measure.memory,
    "cpu": measure.cpu,
    "rest": measure.rest,
    "start": measure.start,
    "healthcheck": measure.healthcheck,
    "reaction": measure.reaction,
    "requests": measure.requests,
    "scrape": measure.scrape,
    "soak": measure.soak,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are asked for, or compare two earlier runs."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)}")
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    parser.add_argument("--compare", type=Path, metavar="BASE", help="with an earlier run's JSON")
    wanted = parser.parse_args(arguments)
    if wanted.compare:
        base, now = (json.loads(path.read_text()) for path in (wanted.compare, wanted.output))
        print(compare(base, now))
        return 0
    if unknown := set(wanted.benches) - BENCHES.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    for name in wanted.benches or BENCHES:
        for figure in BENCHES[name]():
            figures.append(figure)
            print("  ".join(filter(None, figure.row())), file=sys.stderr, flush=True)
            wanted.output.write_text(json.dumps(document(_machine(), figures), indent=2) + "\n")
    print(f"{_machine()}\n\n{table([figure.row() for figure in figures])}")
    return 0


def _machine() -> str:
    cpu = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return (
        f"qSticky {__version__}, Python {platform.python_version()}, {measure.qbittorrent_name()}, "
        f"{os.cpu_count()} cores of {cpu.partition(': ')[2] or cpu}"
    )


if __name__ == "__main__":
    sys.exit(main())
