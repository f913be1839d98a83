"""Plays three minutes to real daemons, and asks a real Prometheus all that the pictures show."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.end_to_end.command import QSticky
from tests.observability import dashboard
from tests.observability.dashboard import FLEET, ONE, Query, View
from tests.observability.outside import DialsBack
from tests.observability.prometheus import Prometheus, Target
from tests.observability.story import Instance
from tests.real import free_port, wait_until

_SECONDS = 180
_NAMES = ("attic", "boat", "cabin", "garage", "nas", "office")
_CHOSEN: Mapping[str, tuple[str, ...]] = {ONE: ("nas",), FLEET: ()}  # none is all
_SEES_NO_INTERFACE = "attic"
_BEGIN = 20  # seconds into a minute: no time is written where a graph begins or ends
_SCRAPE_INTERVAL = 2.0
_SCRAPED_EVERY = 1.0  # so that a rate always has its two samples

Picture = dict[str, Any]


class _Host:
    """One of the hosts, and what can happen to it."""

    def __init__(self, folder: Path, name: str, running: ExitStack) -> None:
        self._port = free_port()
        interface = "absent0" if name == _SEES_NO_INTERFACE else "lo"
        outside = running.enter_context(DialsBack())
        self._stage = Instance(
            folder / name,
            self._port,
            VPN_INTERFACE=interface,
            CHECK_INTERVAL=2,
            PORT_CHECK_URL=outside.port_check_url,
            PORT_CHECK_INTERVAL=5,
        )
        self._stage.qbittorrent.external_address = self._stage.gluetun.public_ip
        self._stage.peers.listen(self._port)
        self.qsticky: QSticky = running.enter_context(self._stage.running())

    def change_port(self) -> None:
        """Have Gluetun forward another port, and tell qSticky as its up command would."""
        self._port = free_port()
        self.listen()
        self.open_port()
        self.qsticky.sync()

    def open_port(self) -> None:
        self._stage.gluetun.ports = (self._port,)

    def lose_port(self) -> None:
        self._stage.gluetun.ports = ()

    def lose_socket(self) -> None:
        self._stage.peers.close()

    def listen(self) -> None:
        self._stage.peers.listen(self._port)

    def meet_peers(self) -> None:
        """Have two more peers come in."""
        for _ in range(2):
            self._stage.peers.come()
        self._stage.qbittorrent.dht_nodes += 9

    def forget_peers(self) -> None:
        self._stage.peers.leave()
        self._stage.qbittorrent.dht_nodes -= 31

    def stop_gluetun(self) -> None:
        self._stage.gluetun.stop()

    def start_gluetun(self) -> None:
        self._stage.gluetun.start()
        self.open_port()

    def stop_qbittorrent(self) -> None:
        self._stage.qbittorrent.stop()

    def start_qbittorrent(self) -> None:
        self._stage.qbittorrent.start()

    def end(self) -> None:
        self.qsticky.stop()


# What happens at which second, and to whom.
_SCRIPT: tuple[tuple[float, str, Callable[[_Host], None]], ...] = (
    *((second, "nas", _Host.meet_peers) for second in (4, 9)),
    (15, "nas", _Host.change_port),
    *((second, "nas", _Host.meet_peers) for second in (20, 25, 30)),
    (30, "boat", _Host.change_port),
    (34, "boat", _Host.meet_peers),
    (40, "nas", _Host.stop_qbittorrent),
    (50, "cabin", _Host.stop_gluetun),
    (54, "nas", _Host.start_qbittorrent),
    (56, "nas", _Host.forget_peers),
    *((second, "nas", _Host.meet_peers) for second in (60, 66, 72, 78)),
    (70, "cabin", _Host.start_gluetun),
    (84, "attic", _Host.change_port),
    (92, "nas", _Host.lose_port),
    (104, "nas", _Host.open_port),
    (112, "nas", _Host.lose_socket),
    (122, "nas", _Host.listen),
    (126, "boat", _Host.lose_port),
    *((second, "nas", _Host.meet_peers) for second in (127, 132)),
    (133, "garage", _Host.lose_socket),
    (140, "nas", _Host.change_port),
    *((second, "nas", _Host.meet_peers) for second in (144, 150, 158, 166)),
    (152, "office", _Host.end),
)


def play(folder: Path) -> dict[str, Picture]:
    """Play the script, and return each dashboard with what its queries gave at the end."""
    with ExitStack() as running:
        hosts = {name: _Host(folder, name, running) for name in _NAMES}
        for host in hosts.values():
            host.qsticky.wait_for("synced")
        targets = [Target(f"127.0.0.1:{hosts[name].qsticky.port}", name) for name in _NAMES]
        prometheus = Prometheus(folder / "prometheus", targets, interval=_SCRAPED_EVERY)
        running.enter_context(prometheus)
        wait_until(lambda: prometheus.value("sum(up)") == len(hosts), 20, "the first scrapes")
        time.sleep((_BEGIN - time.time()) % 60)
        start = time.time()
        for second, name, happens in _SCRIPT:
            time.sleep(max(0.0, start + second - time.time()))
            happens(hosts[name])
        time.sleep(max(0.0, start + _SECONDS - time.time()))
        end = time.time()
        return {board: _ask(prometheus, board, start, end) for board in dashboard.BOARDS}


def _ask(prometheus: Prometheus, board: str, start: float, end: float) -> Picture:
    document = dashboard.load(board)
    queries = dashboard.queries(document, width=500)
    view = View(start, end, _SCRAPE_INTERVAL, instances=_CHOSEN[board])
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]
    for panel in panels:
        of_panel = (query for query in queries if query.title == panel["title"])
        panel["frames"] = [
            frame
            for query, target in zip(of_panel, panel["targets"], strict=False)
            for frame in _frames(prometheus, view, query, target.get("format", "time_series"))
        ]
    times = {"from": 1000 * start, "to": 1000 * end}
    return {**times, "title": document["title"], "chosen": _CHOSEN[board], "panels": panels}


def _frames(
    prometheus: Prometheus, view: View, query: Query, form: str
) -> Iterator[dict[str, Any]]:
    for series in view.series(prometheus, query):
        yield {
            "refId": query.ref,
            "format": form,
            "name": dashboard.legend(query, series.labels),
            "labels": series.labels,
            "step": 1000 * view.step(query.max_points),
            "times": [1000 * at for at, _ in series.points],
            "values": [value if math.isfinite(value) else None for value in series.values],
        }
