"""Plays a script of outages to real daemons, while a real Prometheus scrapes them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from tests.end_to_end.command import BOUND, QSticky
from tests.observability.dashboard import View
from tests.observability.outside import DialsBack, Peers
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
    """A daemon between its own simulators, and the socket that qBittorrent would have.

    The simulator logs that it listens on the loopback's address, whether a socket does or not.
    """

    def __init__(self, folder: Path, port: int, **variables: object) -> None:
        self.gluetun = GluetunSimulator(api_key=_KEY, ports=[port])
        self.qbittorrent = QBittorrentSimulator()
        self._folder = folder
        self._variables = variables
        self.peers = Peers()

    @contextmanager
    def running(self) -> Iterator[QSticky]:
        """Start it, and at the end stop it."""
        self._folder.mkdir()
        with ExitStack() as stack:
            stack.enter_context(self.peers)
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


@contextmanager
def play(folder: Path) -> Iterator[Story]:
    """Play the script; Prometheus can be asked until the end of the context.

    Three daemons: ``steady``, which sees no VPN interface, and all is well but for its address;
    ``troubled``, which does, the loopback serving as one, and what it goes through are the moments;
    ``gone``, which can't write its health file or notify anybody, is disconnected and loses its
    port in the end, and ends before the last moment. And two targets that are no qSticky:
    Prometheus itself, and ``other``, which can't be scraped.
    """
    require("prometheus")
    ports = {name: free_port() for name in ("first", "second", "third")}
    outside = DialsBack()
    steady = Instance(folder / "steady", free_port())
    steady.qbittorrent.external_address = steady.gluetun.public_ip
    steady.qbittorrent.preferences["current_network_interface"] = "tun0"  # by whose log it listens
    gone = Instance(
        folder / "gone",
        free_port(),
        HEALTH_FILE="/proc/nowhere/status.json",
        QBITTORRENT_REBIND="false",
        GLUETUN_RESTART_AFTER=5,
        NOTIFY_URLS=f"json://127.0.0.1:{free_port()}/",
        NOTIFY_ON="port_changed",
    )
    with ExitStack() as stack:
        stack.enter_context(outside)
        troubled = Instance(
            folder / "troubled",
            ports["first"],
            VPN_INTERFACE="lo",
            PORT_CHECK_URL=outside.port_check_url,
            PORT_CHECK_INTERVAL=1,
        )
        troubled.peers.listen(ports["first"])
        stages = {"steady": steady, "troubled": troubled, "gone": gone}
        daemons = {name: stack.enter_context(one.running()) for name, one in stages.items()}
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
        _play(story, daemons, stages, outside)
        yield story


def _play(
    story: Story, daemons: dict[str, QSticky], stages: Mapping[str, Instance], outside: DialsBack
) -> None:
    daemon, stage = daemons["troubled"], stages["troubled"]
    gluetun, qbittorrent, peers = stage.gluetun, stage.qbittorrent, stage.peers
    first, second, third = story.ports.values()

    def moment(name: str) -> None:
        """Name a whole second at which the last scrape of each is newer than now."""
        since = time.time()

        def scraped() -> bool:
            at = math.floor(time.time() - _SCRAPED_EVERY)  # what began before is over
            story.moments[name] = at
            return all(_scraped(story.prometheus, target, at) > since for target in daemons)

        wait_until(scraped, BOUND, f"all to be scraped, {name}")

    def until(name: str, metric: str, value: float, **labels: str) -> None:
        """Wait until a daemon exports at least that value."""
        daemon = daemons[name]
        wait_until(lambda: daemon.metric(metric, **labels) >= value, BOUND, f"{metric} of {name}")

    moment("begun")  # so that at each later one there are two scrapes of each

    daemons["steady"].wait_for("synced")
    until("steady", "vpn_listener_up", 1)
    until("gone", "healthy", 1)
    daemon.wait_for_port(first)
    peers.come()
    until("troubled", "last_incoming_connection_timestamp_seconds", 1)
    until("troubled", "port_reachable", 1)
    moment("well")

    peers.listen(second)
    gluetun.ports = (second,)
    daemon.wait_for_port(second)
    qbittorrent.connection_status = "connected"
    daemon.sync()
    stages["steady"].gluetun.public_ip = "203.0.113.8"
    until("steady", "public_address_changes_total", 1)
    failed = daemons["gone"].metric("notifications_total", result="failed")  # that of the start
    stages["gone"].gluetun.ports = (free_port(),)
    until("gone", "notifications_total", failed + 1, result="failed")
    moment("changed")

    qbittorrent.connection_status = "disconnected"  # first, so that who sees no port sees it too
    gluetun.ports = ()
    daemon.wait_for("waiting")
    moment("no port")

    gluetun.stop()
    daemon.wait_for("failing", "gluetun_unreachable")
    moment("gluetun away")

    gluetun.start()
    gluetun.ports = (second,)
    daemon.wait_for("synced")
    retries = daemon.metric("syncs_total", trigger="retry")  # of which there is one an outage
    qbittorrent.stop()
    daemon.wait_for("failing", "qbittorrent_unreachable")
    until("troubled", "syncs_total", retries + 1, trigger="retry")
    moment("qbittorrent away")

    qbittorrent.start()
    daemon.wait_for("synced")
    moment("back")

    until("troubled", "port_reachable", 1)
    moment("open again")

    outside.is_open = False
    daemon.wait_for("failing", "port_closed")
    moment("closed")

    outside.is_open = True
    daemon.wait_for("synced")
    peers.close()
    daemon.wait_for("failing", "not_listening")
    moment("not listening")

    peers.listen(second)
    daemon.wait_for("synced")
    qbittorrent.ignores_settings = True
    peers.close()
    gluetun.ports = (third,)
    daemon.wait_for("failing", "port_rejected")
    steady = daemons["steady"]
    wait_until(
        lambda: steady.metrics().get("qsticky_vpn_listener_up") == 1, BOUND, "steady to listen"
    )
    moment("rejected")

    qbittorrent.ignores_settings = False
    peers.listen(third)
    daemon.wait_for_port(third)
    stages["gone"].qbittorrent.connection_status = "disconnected"
    wait_until(lambda: daemons["gone"].metric("healthy") == 0, BOUND, "gone to notice it")
    qbittorrent.password = "changed"
    qbittorrent.expire_sessions()
    daemon.wait_for("failing", "qbittorrent_unauthorized")
    moment("refused")

    stages["gone"].gluetun.ports = ()
    until("gone", "vpn_restarts_total", 1)
    moment("vpn restarted")

    daemon.stop()
    qbittorrent.password = "adminadmin"
    gluetun.stop()
    daemon.start()
    daemon.wait_for("failing", "gluetun_unreachable")
    moment("restarted")

    gluetun.start()
    daemon.wait_for_port(third)
    daemons.pop("gone").stop()
    wait_until(
        lambda: not _scraped(story.prometheus, "gone", time.time()), BOUND, "gone not to be scraped"
    )
    moment("in the end")


def _scraped(prometheus: Prometheus, instance: str, at: float) -> float:
    """Return when the last scrape of an instance before a time was, 0 when it failed."""
    up = f'up{{instance="{instance}"}}'
    found = prometheus.query(f"timestamp({up}) and {up} == 1", at)
    return found[0].value if found else 0
