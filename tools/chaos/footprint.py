"""What a running `qsticky` takes of its machine, and whether that has grown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.end_to_end.command import QSticky

_MIB = 1024 * 1024
SETTLES_WITHIN = 15.0
_MEASURED_EVERY = 2.5  # seconds: spare threads of the HTTP server end after 2 s without a request


@dataclass(frozen=True)
class Footprint:
    """Resident memory in bytes, threads, open descriptors, and the series in /metrics."""

    memory: int
    threads: int
    descriptors: int
    series: frozenset[str]

    def __str__(self) -> str:
        return (
            f"{self.memory / _MIB:.2f} MiB, {self.threads} threads, "
            f"{self.descriptors} descriptors, {len(self.series)} series"
        )

    def growth(self, before: Footprint) -> float:
        """By what part the memory has grown."""
        return self.memory / before.memory - 1

    def grown(self, before: Footprint, memory: float) -> Iterator[str]:
        """Tell what has grown, the memory by more than the part `memory`."""
        if self.growth(before) > memory:
            yield f"memory grew by {self.growth(before):.1%}, which is more than {memory:.0%}"
        if self.threads > before.threads:
            yield f"threads grew from {before.threads} to {self.threads}"
        if self.descriptors > before.descriptors:
            yield f"descriptors grew from {before.descriptors} to {self.descriptors}"
        if self.series != before.series:
            yield f"series differ: {sorted(self.series ^ before.series)}"


def measure(qsticky: QSticky, within: float, at_most: Footprint | None = None) -> Footprint:
    """Measure a process that has nothing to do now.

    Connections and their threads take a moment to end: it is measured until they are no more than
    `at_most`, or for `within` seconds, and what was least counts.
    """
    deadline = time.monotonic() + within
    least = _measure(qsticky)
    while time.monotonic() < deadline and not (at_most and not [*least.grown(at_most, 1.0)]):
        time.sleep(_MEASURED_EVERY)
        now = _measure(qsticky)
        least = Footprint(
            now.memory,
            min(least.threads, now.threads),
            min(least.descriptors, now.descriptors),
            now.series,
        )
    return least


def _measure(qsticky: QSticky) -> Footprint:
    metrics = qsticky.metrics()
    return Footprint(
        memory=int(metrics["process_resident_memory_bytes"]),
        threads=qsticky.threads,
        descriptors=int(metrics["process_open_fds"]),
        series=frozenset(metrics),
    )
