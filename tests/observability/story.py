"""Plays a script of outages to real daemons, while a real Prometheus scrapes them."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from tests.end_to_end.command import BOUND, QSticky
from tests.observability.dashboard import View
from tests.observability.prometheus import Prometheus, Target
from tests.real import free_port, require, wait_until

SCRAPE_INTERVAL = 1.0
_SCRAPED_EVERY = 0.5  # more often than Grafana is told, so that a rate always has its two samples
_KEY = "the-key-of-the-role"


@dataclass
class Story:
    """What was played: a Prometheus that saw it all, and the time of each moment.

    At a moment, every state that it is named after was scraped.
    """

    prometheus: Prometheus
    start: float
    ports: Mapping[str, int]
    moments: dict[str, float] = field(default_factory=dict)

    def view(self, moment: str, *instances: str) -> View:
        """Return what somebody sees at a moment, with some instances chosen, or none for all."""
        return View(self.start, self.moments[moment], SCRAPE_INTERVAL, instances=instances)


class Instance:
    """A daemon between its own simulators, and the socket that qBittorrent would have."""

    def __init__(self, folder: Path, port: int, **variables: object) -> None:
        self.gluetun = GluetunSimulator(api_key=_KEY, ports=[port])
        self.qbittorrent = QBittorrentSimulator()
        self._folder = folder
        self._variables = variables
        self._sockets: dict[int, socket.socket] = {}

    @contextmanager
    def running(self) -> Iterator[QSticky]:
        """Start it, and at the end stop it."""
        self._folder.mkdir()
        with ExitStack() as stack:
            stack.callback(self.close)
            stack.enter_context(self.gluetun)
            stack.enter_context(self.qbittorrent)
            variables: Mapping[str, object] = {
                "GLUETUN_HOST": self.gluetun.host,
                "GLUETUN_PORT": self.gluetun.port,
                "GLUETUN_APIKEY": _KEY,
                "QBITTORRENT_HOST": self.qbittorrent.host,
                "QBITTORRENT_PORT": self.qbittorrent.port,
                "VPN_INTERFACE": "absent0",
                "CHECK_INTERVAL": 1,
                **self._variables,
            }
            yield stack.enter_context(QSticky(self._folder, variables))

    def listen(self, port: int) -> None:
        """Have a socket listen, and no other."""
        self.close()
        self._sockets[port] = socket.create_server(("127.0.0.1", port))

    def close(self) -> None:
        """Have none listen."""
        while self._sockets:
            self._sockets.popitem()[1].close()


@contextmanager
def play(folder: Path) -> Iterator[Story]:
    """Play the script; Prometheus can be asked until the end of the context.

    Three daemons: ``steady``, which sees no VPN interface, and all is well; ``troubled``, which
    does, the loopback serving as one, and what it goes through are the moments; ``gone``, which
    can't write its health file, is disconnected in the end and ends before the last moment. And two
    targets that are no qSticky: Prometheus itself, and ``other``, which can't be scraped.
    """
    require("prometheus")
    ports = {name: free_port() for name in ("first", "second", "third")}
    steady = Instance(folder / "steady", free_port())
    troubled = Instance(folder / "troubled", ports["first"], VPN_INTERFACE="lo")
    gone = Instance(
        folder / "gone",
        free_port(),
        HEALTH_FILE="/proc/nowhere/status.json",
        QBITTORRENT_REBIND="false",
    )
    troubled.listen(ports["first"])
    with ExitStack() as stack:
        daemons = {
            name: stack.enter_context(one.running())
            for name, one in {"steady": steady, "troubled": troubled, "gone": gone}.items()
        }
        prometheus = Prometheus(
            folder / "prometheus",
            [
                Target(f"127.0.0.1:{daemon.port}", name, "home" if name == "steady" else "box")
                for name, daemon in daemons.items()
            ]
            + [Target(f"127.0.0.1:{free_port()}", "other", "other")],
            scrapes_itself=True,
            interval=_SCRAPED_EVERY,
        )
        stack.enter_context(prometheus)
        story = Story(prometheus, time.time(), ports)
        _play(story, daemons, troubled, gone)
        yield story


def _play(story: Story, daemons: dict[str, QSticky], stage: Instance, gone: Instance) -> None:
    daemon, gluetun, qbittorrent = daemons["troubled"], stage.gluetun, stage.qbittorrent
    first, second, third = story.ports.values()

    def moment(name: str) -> None:
        """Name a whole second at which the last scrape of each is newer than now."""
        since = time.time()

        def scraped() -> bool:
            at = math.floor(time.time() - _SCRAPED_EVERY)  # what began before is over
            story.moments[name] = at
            return all(_scraped(story.prometheus, target, at) > since for target in daemons)

        wait_until(scraped, BOUND, f"all to be scraped, {name}")

    daemons["steady"].wait_for("synced")
    daemon.wait_for_port(first)
    moment("well")

    stage.listen(second)
    gluetun.ports = (second,)
    daemon.wait_for_port(second)
    qbittorrent.connection_status = "connected"
    daemon.sync()
    moment("changed")

    gluetun.ports = ()
    qbittorrent.connection_status = "disconnected"
    daemon.wait_for("waiting")
    moment("no port")

    gluetun.stop()
    daemon.wait_for("failing", "gluetun_unreachable")
    moment("gluetun away")

    gluetun.start()
    gluetun.ports = (second,)
    daemon.wait_for("synced")
    qbittorrent.stop()
    daemon.wait_for("failing", "qbittorrent_unreachable")
    moment("qbittorrent away")

    qbittorrent.start()
    daemon.wait_for("synced")
    moment("back")

    stage.close()
    daemon.wait_for("failing", "not_listening")
    moment("not listening")

    stage.listen(second)
    daemon.wait_for("synced")
    qbittorrent.deaf = True
    stage.close()
    gluetun.ports = (third,)
    daemon.wait_for("failing", "port_rejected")
    moment("rejected")

    qbittorrent.deaf = False
    stage.listen(third)
    daemon.wait_for_port(third)
    gone.qbittorrent.connection_status = "disconnected"
    wait_until(lambda: daemons["gone"].metric("healthy") == 0, BOUND, "gone to notice it")
    qbittorrent.password = "changed"
    qbittorrent.expire_sessions()
    daemon.wait_for("failing", "qbittorrent_unauthorized")
    moment("refused")

    daemon.stop()
    qbittorrent.password = "adminadmin"
    gluetun.stop()
    daemon.start()
    daemon.wait_for("failing", "gluetun_unreachable")
    moment("restarted")

    gluetun.start()
    daemon.wait_for_port(third)
    daemons.pop("gone").stop()
    moment("in the end")


def _scraped(prometheus: Prometheus, instance: str, at: float) -> float:
    """Return when the last scrape of an instance before a time was, 0 when it failed."""
    up = f'up{{instance="{instance}"}}'
    found = prometheus.query(f"timestamp({up}) and {up} == 1", at)
    return found[0].value if found else 0
