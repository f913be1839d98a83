"""Very many syncs in a row, after which nothing has grown: `python -m tools.chaos.soak`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from qsticky.demo.gluetun_simulator import PORT_ROUTE, GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.simulator import Request, Response
from tests.end_to_end.command import QSticky
from tests.real import wait_until
from tools import unpaced
from tools.chaos.footprint import SETTLES_WITHIN, Footprint, measure

WARM_UP = 500
CHANGE_EVERY = 100
GROWTH = 0.02
_PORTS = range(20_000, 30_000)
_STALLED_AFTER = 10.0
_TELL_EVERY = 5000


class _Gluetun(GluetunSimulator):
    """Tells of each sync, as soon as it asks for the port."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        # Without the public address's route, a sync is three requests, as it is beside a VPN.
        super().__init__(ports=_PORTS[:1], routes={PORT_ROUTE})

    def answer(self, request: Request) -> Response:
        if request.line == PORT_ROUTE:
            self.asked.release()
        return super().answer(request)


@dataclass
class Summary:
    """What a run measured, and which promises it broke."""

    syncs: int = 0
    seconds: float = 0.0
    changes: int = 0
    requests: int = 0
    before: Footprint | None = None
    after: Footprint | None = None
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{self.syncs} syncs in {self.seconds:.0f} s, {self.syncs / self.seconds:.1f} a second",
            f"{self.changes} port changes, {self.requests} requests to both services",
        ]
        if self.before and self.after:
            lines += [
                f"after the warm-up: {self.before}",
                f"in the end:        {self.after}",
                f"memory: {self.after.growth(self.before):+.2%}",
            ]
        return "\n".join([*lines, *(f"BROKEN: {promise}" for promise in self.broken)])


class Soak:
    """One daemon between both simulators, for so many syncs, one right after the other.

    The daemon's interval is longer than the run: each sync is owed to the request for it that
    was made while the one before ran, so that a single request that is lost ends the run. The
    memory may grow by the part `growth` after `warm_up` syncs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        within: float,
        warm_up: int = WARM_UP,
        growth: float = GROWTH,
        settles_within: float = SETTLES_WITHIN,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.summary = Summary()
        self._within = within
        self._warm_up = warm_up
        self._growth = growth
        self._settles_within = settles_within
        self._tell = tell
        self._gluetun = _Gluetun()
        self._qbittorrent = QBittorrentSimulator()
        self._folder = folder
        self._began = time.monotonic()

    def run(self, syncs: int) -> Summary:
        """Run them all; what went wrong is in the summary."""
        self._began = time.monotonic()
        with self._gluetun, self._qbittorrent:
            variables = {
                "GLUETUN_HOST": self._gluetun.host,
                "GLUETUN_PORT": self._gluetun.port,
                "GLUETUN_AUTH_TYPE": "none",
                "QBITTORRENT_HOST": self._qbittorrent.host,
                "QBITTORRENT_PORT": self._qbittorrent.port,
                "VPN_INTERFACE": "absent0",
                "CHECK_INTERVAL": 3600,
            }
            try:
                qsticky = QSticky(self._folder, variables)
                qsticky.leave_unmeasured()
                qsticky.command = [sys.executable, unpaced.__file__]
                with qsticky:
                    self._run(qsticky, syncs)
            except AssertionError as error:
                self.summary.broken.append(str(error))
        self.summary.seconds = time.monotonic() - self._began
        return self.summary

    def _run(self, qsticky: QSticky, syncs: int) -> None:
        summary = self.summary
        qsticky.wait_for("synced")
        self._sync(qsticky, min(self._warm_up, syncs))
        summary.before = measure(qsticky, self._settles_within)
        assert qsticky.get("/-/sync", "POST").status == 202
        self._sync(qsticky, syncs)
        summary.after = measure(qsticky, self._settles_within, summary.before)
        summary.broken += summary.after.grown(summary.before, self._growth)
        metrics = qsticky.metrics()
        summary.requests = sum(
            int(value)
            for name, value in metrics.items()
            if name.startswith("qsticky_api_requests_total")
        )
        expected = {
            "qsticky_current_port": self._gluetun.ports[0],
            "qsticky_port_changes_total": summary.changes + 1,
            "qsticky_qbittorrent_logins_total": 1,
            'qsticky_syncs_total{trigger="request"}': summary.syncs - 1,
        }
        expected |= {
            name: 0 for name in metrics if "failures_total" in name or "errors_total" in name
        }
        summary.broken += [
            f"{name} is {metrics[name]:g}, and not {value}"
            for name, value in expected.items()
            if metrics[name] != value
        ]
        if self._qbittorrent.listen_port != self._gluetun.ports[0]:
            summary.broken.append(f"qBittorrent's port is {self._qbittorrent.listen_port}")
        if {line["level"] for line in qsticky.log()} != {"info"}:
            summary.broken.append("a log line tells of a problem")

    def _sync(self, qsticky: QSticky, target: int) -> None:
        """Go on until so many syncs have run since the start, and the last has ended."""
        summary = self.summary
        while summary.syncs < target:
            assert self._gluetun.asked.acquire(timeout=_STALLED_AFTER), (
                f"a request for a sync was lost: none ran for {_STALLED_AFTER:g} s"
            )
            lasted = time.monotonic() - self._began
            assert lasted < self._within, f"not done within {self._within:g} s"
            summary.syncs += 1
            if summary.syncs < target:
                if summary.syncs % CHANGE_EVERY == 0:
                    summary.changes += 1
                    self._gluetun.ports = (_PORTS[summary.changes % len(_PORTS)],)
                assert qsticky.get("/-/sync", "POST").status == 202
            if summary.syncs % _TELL_EVERY == 0:
                memory = int(qsticky.metrics()["process_resident_memory_bytes"]) / 1024
                rate = summary.syncs / lasted
                self._tell(f"{summary.syncs} syncs, {rate:.1f} a second, {memory:.0f} KiB")
        wait_until(lambda: qsticky.syncs() >= target, _STALLED_AFTER, "the last sync to end")


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, tell what came of it, and return 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tools.chaos.soak", description=__doc__)
    parser.add_argument("--syncs", type=int, default=50_000, help="how many (%(default)s)")
    parser.add_argument(
        "--within", type=float, default=1200, help="seconds that it may take (%(default)g)"
    )
    wanted = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        tell = partial(print, flush=True)
        summary = Soak(Path(folder), within=wanted.within, tell=tell).run(wanted.syncs)
    print(summary)
    return 1 if summary.broken else 0


if __name__ == "__main__":
    sys.exit(main())
