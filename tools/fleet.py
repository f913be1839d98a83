"""Runs every query of the dashboards over some hours of a fleet: each must answer in half a second.

    python -m tools.fleet --instances 1000 --hours 3

The series are those of a real daemon's /metrics, once for each instance, with values as they may
be; a real Prometheus takes them by remote write. The exit code is 1 when a query takes longer, or
gives more series than a panel can show.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import requests
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.observability import dashboard, remote_write
from tests.observability.dashboard import FLEET, ONE, Query, View
from tests.observability.prometheus import Prometheus
from tests.observability.story import Instance
from tests.real import free_port, wait_until

WITHIN = 0.5
_MOST_SERIES = 30  # drawn over time in one panel
_LIVES = 20  # each instance lives one of so many lives
_PART = 1800  # seconds; Prometheus takes what is at most an hour older than the newest
_HEAD = 3 * 3600  # seconds; what is older, Prometheus moves into blocks
_BATCH = 500  # series in one request
_SYNC_EVERY = 30
_LATENCY = 0.01
_REASONS = ("gluetun_unreachable", "qbittorrent_unreachable", "not_listening")
# How often something is counted, in seconds; what is not named is counted in an outage only.
_EVERY = {
    "qsticky_syncs_total": _SYNC_EVERY,
    "qsticky_api_requests_total": _SYNC_EVERY,
    "qsticky_api_request_duration_seconds": _SYNC_EVERY,
    "qsticky_sync_duration_seconds": _SYNC_EVERY,
    "qsticky_log_messages_total": 600,
    "python_gc_collections_total": 120,
    "python_gc_objects_collected_total": 2,
    "process_cpu_seconds_total": 7,
}


@dataclass(frozen=True)
class Answer:
    """How long a query took, and what came of it.

    On a machine that has other work, the processors' seconds are what is the query's own.
    """

    query: Query
    seconds: float
    processor: float
    series: int

    @property
    def bad(self) -> bool:
        """Whether it took too long, or is too much to draw."""
        drawn = not self.query.instant
        slow = min(self.seconds, self.processor) > WITHIN
        return slow or (drawn and self.series > _MOST_SERIES)

    def __str__(self) -> str:
        return (
            f"{self.seconds:6.2f} s {self.processor:6.2f} s of processors {self.series:5} series  "
            f"{self.query}"
        )


class Life:
    """What an instance goes through from `start` to `end`; `number` makes it another one.

    The first one ends early, and is down then.
    """

    def __init__(self, number: int, start: float, end: float) -> None:
        chance = random.Random(number)
        self.start = start
        self.phase = chance.uniform(0, _SYNC_EVERY)
        self.changes = sorted(chance.uniform(start, end) for _ in range(chance.randint(0, 6)))
        self.outages = [
            (begin, begin + chance.uniform(60, 1200), chance.choice(_REASONS))
            for begin in (chance.uniform(start, end) for _ in range(chance.randint(0, 3)))
        ]
        self.visible = float(chance.random() < 0.8)
        self.ends = end - 600 if number == 0 else math.inf

    def value(self, real: Sample, now: float) -> float | None:
        """Return what a series shows at a time, if anything; a real sample tells which it is."""
        name = real.name
        if name == "up":
            return float(now < self.ends)
        if now >= self.ends:
            return None
        outage = next((reason for begin, end, reason in self.outages if begin <= now < end), "")
        if name == "qsticky_healthy":
            return float(not outage)
        if name == "qsticky_in_sync":
            return float(not outage)
        if name == "qsticky_vpn_listener_up":
            return float(not outage) if self.visible else None
        if name == "qsticky_status":
            return float(real.labels["status"] == ("failing" if outage else "synced"))
        if name == "qsticky_failing":
            return float(real.labels["reason"] == outage)
        if name == "qsticky_vpn_interface_visible":
            return self.visible
        if name in ("qsticky_gluetun_up", "qsticky_qbittorrent_up"):
            return float(outage.split("_")[0] not in name)
        if name == "qsticky_qbittorrent_connection_status":
            return float(real.labels["status"] == ("firewalled" if outage else "connected"))
        changes = [change for change in self.changes if change <= now]
        if name in ("qsticky_forwarded_port", "qsticky_current_port"):
            return 20000 + 37 * len(changes)
        if name == "qsticky_port_changes_total":
            return len(changes)
        last_sync = now - (now + self.phase) % _SYNC_EVERY
        times = {
            "process_start_time_seconds": self.start,
            "qsticky_last_sync_timestamp_seconds": last_sync,
            "qsticky_last_success_timestamp_seconds": next(
                (begin for begin, end, _ in self.outages if begin <= last_sync < end), last_sync
            ),
            "qsticky_last_port_change_timestamp_seconds": max(changes, default=self.start),
        }
        if name in times:
            return times[name]
        if name == "process_resident_memory_bytes":
            return real.value + 4096 * ((now - self.start) // 60 % 50)
        return self._counted(real, now)

    def _counted(self, real: Sample, now: float) -> float:
        family, _, kind = real.name.rpartition("_")
        every = _EVERY.get(real.name) or _EVERY.get(family)
        if every is None or real.labels.get("trigger", "interval") != "interval":
            failed = sum(
                max(0.0, min(end, now) - begin)
                for begin, end, reason in self.outages
                if real.labels.get("reason") in (reason, "connection")
            )
            return real.value + failed // _SYNC_EVERY
        count = (now - self.start + self.phase) // every
        if kind == "bucket":
            return count - count // math.exp(min(50, float(real.labels["le"]) / _LATENCY))
        return count * (_LATENCY if kind == "sum" or family.endswith("seconds") else 1)


def main() -> int:
    """Make the fleet, ask everything, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=3)
    parser.add_argument("--scrape-interval", type=int, default=_SYNC_EVERY)
    wanted = parser.parse_args()
    every, scrapes = wanted.scrape_interval, int(wanted.hours * 3600 / wanted.scrape_interval)
    end = time.time() // every * every
    times = [end - every * number for number in reversed(range(scrapes))]
    with tempfile.TemporaryDirectory(prefix="qsticky-fleet-") as folder:
        template = _template(Path(folder))
        options = ["--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=10y"]
        with Prometheus(Path(folder), options=options) as prometheus:
            began = time.monotonic()
            fill(prometheus, template, wanted.instances, times)
            series = len(template) * wanted.instances
            print(
                f"{wanted.instances} instances, {wanted.hours:g} hours scraped every {every} s: "
                f"{series:,} series, {series * scrapes:,} samples, written in "
                f"{time.monotonic() - began:.0f} s",
                flush=True,
            )
            return report(ask(prometheus, View(times[0], end, every)))


def fill(
    prometheus: Prometheus, template: Sequence[Sample], instances: int, times: Sequence[float]
) -> None:
    """Write the fleet's series, and wait until Prometheus has tidied them away."""
    lives = [Life(number, times[0], times[-1]) for number in range(_LIVES)]
    with requests.Session() as session:
        session.trust_env = False
        for _, part in itertools.groupby(times, lambda now: int(now // _PART)):
            for body in _bodies(template, instances, lives, [*part]):
                answer = session.post(
                    f"{prometheus.url}/api/v1/write", body, headers=remote_write.HEADERS, timeout=60
                )
                assert answer.ok, answer.text
    wait_until(lambda: _head(prometheus) <= _HEAD, 300, "the older half to be in blocks")


def ask(prometheus: Prometheus, everything: View) -> list[Answer]:
    """Ask every query: the fleet's with all instances chosen, the other dashboard's with one."""
    one = replace(everything, instances=[_instance(7)])
    return [
        _timed(prometheus, query, view)
        for board, view in ((FLEET, everything), (ONE, one))
        for query in dashboard.queries(dashboard.load(board))
    ]


def report(answers: Sequence[Answer]) -> int:
    """Print the slowest answers, and return the exit code."""
    slowest_first = sorted(answers, key=lambda answer: -answer.seconds)
    print("\n".join(map(str, slowest_first[:20])))
    bad = [answer for answer in slowest_first if answer.bad]
    print(f"{len(answers)} answers; slower than {WITHIN:g} s or more than {_MOST_SERIES} series:")
    print("\n".join(map(str, bad)) or "none")
    return bool(bad)


def _template(folder: Path) -> list[Sample]:
    """Return the samples of a real daemon that is in sync, and those that a scrape adds."""
    port = free_port()
    stage = Instance(folder / "real", port, VPN_INTERFACE="lo")
    stage.peers.listen(port)
    with stage.running() as daemon:
        daemon.wait_for_port(port)
        families = [*text_string_to_metric_families(daemon.exposition())]
    added = ("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_series_added")
    real = [sample for family in families for sample in family.samples]
    return [*real, *(Sample(name, {}, 1.0) for name in added)]


def _bodies(
    template: Sequence[Sample], instances: int, lives: Sequence[Life], times: Sequence[float]
) -> Iterator[bytes]:
    for real in template:
        lived = [
            b"".join(
                remote_write.sample(value, now)
                for now in times
                if (value := life.value(real, now)) is not None
            )
            for life in lives
        ]
        for first in range(0, instances, _BATCH):
            yield remote_write.body(
                remote_write.series(
                    real.name,
                    {**real.labels, "instance": _instance(number), "job": "qsticky"},
                    lived[number % _LIVES],
                )
                for number in range(first, min(first + _BATCH, instances))
                if lived[number % _LIVES]
            )


def _instance(number: int) -> str:
    return f"qsticky-{number:04}:10058"


def _timed(prometheus: Prometheus, query: Query, view: View) -> Answer:
    began, used = time.monotonic(), prometheus.processor_seconds()
    answer = view.series(prometheus, query)
    seconds, processor = time.monotonic() - began, prometheus.processor_seconds() - used
    return Answer(query, seconds, processor, len(answer))


def _head(prometheus: Prometheus) -> float:
    """Return how many seconds are in Prometheus's head."""
    stats = prometheus.get("status/tsdb")["headStats"]
    return float(stats["maxTime"] - stats["minTime"]) / 1000


if __name__ == "__main__":
    sys.exit(main())
