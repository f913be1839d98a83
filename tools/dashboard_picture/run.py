"""Plays three minutes to real daemons, and asks a real Prometheus all that the picture shows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.end_to_end.command import QSticky
from tests.observability import dashboard
from tests.observability.dashboard import Query, View
from tests.observability.prometheus import Prometheus, Target
from tests.observability.story import Instance
from tests.real import free_port, wait_until

_SECONDS = 180
_CHOSEN = ("nas",)
# The dashboard's rows in the picture, and the instances chosen in each: none is all.
_ROWS: dict[str, Sequence[str]] = {
    "Fleet": (),
    "Status of the chosen instance": _CHOSEN,
    "History": _CHOSEN,
    "Syncs": _CHOSEN,
}
_DRAWABLE = ("stat", "table", "timeseries")  # Grafana's library has no component for the others
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
        self._stage = Instance(folder / name, self._port, VPN_INTERFACE=interface, CHECK_INTERVAL=2)
        self._stage.listen(self._port)
        self.qsticky: QSticky = running.enter_context(self._stage.running())

    def change_port(self) -> None:
        """Have Gluetun forward another port, and tell qSticky as its up command would."""
        self._port = free_port()
        self._stage.listen(self._port)
        self.open_port()
        self.qsticky.sync()

    def open_port(self) -> None:
        self._stage.gluetun.ports = (self._port,)

    def lose_port(self) -> None:
        self._stage.gluetun.ports = ()

    def lose_socket(self) -> None:
        self._stage.close()

    def listen(self) -> None:
        self._stage.listen(self._port)

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
    (15, "nas", _Host.change_port),
    (30, "boat", _Host.change_port),
    (40, "nas", _Host.stop_qbittorrent),
    (48, "nas", _Host.change_port),
    (50, "cabin", _Host.stop_gluetun),
    (58, "nas", _Host.start_qbittorrent),
    (70, "cabin", _Host.start_gluetun),
    (84, "attic", _Host.change_port),
    (92, "nas", _Host.lose_port),
    (92, "nas", _Host.lose_socket),
    (100, "nas", _Host.stop_gluetun),
    (114, "nas", _Host.start_gluetun),
    (120, "boat", _Host.lose_port),
    (124, "nas", _Host.listen),
    (132, "garage", _Host.lose_socket),
    (133, "nas", _Host.change_port),
    (152, "office", _Host.end),
)


def play(folder: Path) -> Picture:
    """Play the script, and return the dashboard's rows with what their queries gave at its end."""
    with ExitStack() as running:
        names = ("attic", "boat", "cabin", "garage", "nas", "office")
        hosts = {name: _Host(folder, name, running) for name in names}
        for host in hosts.values():
            host.qsticky.wait_for("synced")
        targets = [Target(f"127.0.0.1:{hosts[name].qsticky.port}", name) for name in names]
        prometheus = Prometheus(folder / "prometheus", targets, interval=_SCRAPED_EVERY)
        running.enter_context(prometheus)
        wait_until(lambda: prometheus.value("sum(up)") == len(hosts), 20, "the first scrapes")
        time.sleep((_BEGIN - time.time()) % 60)
        start = time.time()
        for second, name, happens in _SCRIPT:
            time.sleep(max(0.0, start + second - time.time()))
            happens(hosts[name])
        time.sleep(max(0.0, start + _SECONDS - time.time()))
        return _ask(prometheus, start, time.time())


def _ask(prometheus: Prometheus, start: float, end: float) -> Picture:
    document = dashboard.load()
    queries = dashboard.queries(document, width=500)
    rows = []
    for row, panels in _rows(document):
        view = View(start, end, _SCRAPE_INTERVAL, instances=_ROWS[row])
        for panel in panels:
            panel["frames"] = [
                frame
                for query, target in zip(
                    (query for query in queries if query.title == panel["title"]),
                    panel["targets"],
                    strict=True,
                )
                for frame in _frames(prometheus, view, query, target.get("format", "time_series"))
            ]
        rows.append({"title": row, "chosen": _ROWS[row], "panels": panels})
    return {"from": 1000 * start, "to": 1000 * end, "rows": rows}


def _rows(document: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    row, panels = "", list[dict[str, Any]]()
    for panel in [*document["panels"], {"type": "row", "title": ""}]:
        if panel["type"] != "row":
            panels.append(panel)
            continue
        if row in _ROWS:
            yield row, [one for one in panels if one["type"] in _DRAWABLE]
        row, panels = panel["title"], []


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
