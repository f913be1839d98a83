"""What raises each alert, and what ends that, on a `qsticky` with services of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.player import variables
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.scenarios import Stage
from qsticky.demo.simulator import Answer, Hang
from tests.end_to_end.command import BOUND, QSticky
from tests.observability.outside import DialsBack, Peers
from tests.real import free_port, wait_until


@dataclass(frozen=True)
class Scene:
    """One `qsticky`, between a simulated Gluetun and a simulated qBittorrent in sync with it."""

    name: str
    stage: Stage
    qsticky: QSticky
    peers: Peers
    outside: DialsBack

    @property
    def discovered(self) -> Path:
        """The targets of the Prometheus that begins without any."""
        return self.qsticky.folder / "discovered.json"


NO_TARGET = "no target"

Step = Callable[[Scene], None]


@dataclass(frozen=True)
class Cause:
    """How an alert's cause is made and ended.

    `again` has it made over and over until the alert fires. `variables` are what `qsticky` needs
    for it. `visible` lets it see the VPN's interface, the loopback serving as one, and gives
    qBittorrent a socket there. `alert` is the alert's name, where the cause has another one.
    """

    make: Step
    end: Step
    again: bool = False
    variables: Mapping[str, object] = field(default_factory=dict)
    visible: bool = False
    alert: str = ""


@contextmanager
def scene(folder: Path, name: str, cause: Cause) -> Iterator[Scene]:
    """Set a scene, all being well; `qsticky` need not be up yet."""
    folder.mkdir(parents=True)
    (folder / "writable").mkdir()
    (folder / "health").symlink_to("writable")
    with ExitStack() as running:
        gluetun = running.enter_context(GluetunSimulator(api_key="demonstration"))
        port = free_port()
        qbittorrent = QBittorrentSimulator(listen_port=port)  # no change, and peers stay
        running.enter_context(qbittorrent)
        files = (folder / "forwarded_port", folder / "password")
        stage = Stage(gluetun, qbittorrent, *files, port)
        stage.set_up()
        given = {**variables(stage), "CHECK_INTERVAL": 1, "PORT_GRACE": 1, **cause.variables}
        peers, outside = running.enter_context(Peers()), DialsBack()
        if cause.visible:
            peers.listen(port)
            running.enter_context(outside)
            given.update(
                VPN_INTERFACE="lo", PORT_CHECK_URL=outside.port_check_url, PORT_CHECK_INTERVAL=1
            )
        qsticky = QSticky(folder, given)
        qsticky.leave_unmeasured()
        yield Scene(name, stage, running.enter_context(qsticky), peers, outside)


def discover(scene: Scene, *, there: bool) -> None:
    """Replace the file in one step, as Prometheus reads it whenever it changes."""
    targets = [f"127.0.0.1:{scene.qsticky.port}"] if there else []
    labels = {"instance": scene.name}
    fresh = scene.discovered.with_suffix(".new")
    fresh.write_text(json.dumps([{"targets": targets, "labels": labels}]))
    fresh.replace(scene.discovered)


def _start_gluetun(scene: Scene) -> None:
    scene.stage.gluetun.start()
    scene.stage.open_port()


def _stop_gluetun_and_its_file(scene: Scene) -> None:
    scene.stage.close_port()
    scene.stage.gluetun.stop()


def _have_gluetun_refuse(scene: Scene) -> None:
    scene.stage.gluetun.fault = Answer(status=401, body="Unauthorized\n", content_type="text/plain")
    scene.stage.port_file.write_text("")


def _have_gluetun_hang(scene: Scene) -> None:
    scene.stage.gluetun.fault = Hang()


def _have_gluetun_answer(scene: Scene) -> None:
    scene.stage.gluetun.fault = None
    scene.stage.open_port()


def _change_password(scene: Scene) -> None:
    scene.stage.qbittorrent.password += "-changed"
    scene.stage.qbittorrent.expire_sessions()


def _tell_password(scene: Scene) -> None:
    scene.stage.password_file.write_text(scene.stage.qbittorrent.password)


def _ban(scene: Scene) -> None:
    scene.stage.qbittorrent.banned = True
    scene.stage.qbittorrent.expire_sessions()


def _forgive(scene: Scene) -> None:
    """End the ban, and have another password be reason to try again at once."""
    scene.stage.qbittorrent.banned = False
    scene.stage.qbittorrent.password += "-changed"
    _tell_password(scene)


def _have_qbittorrent_reject_ports(scene: Scene) -> None:
    scene.stage.qbittorrent.ignores_settings = True
    scene.stage.change_port()


def _have_qbittorrent_take_ports(scene: Scene) -> None:
    scene.stage.qbittorrent.ignores_settings = False


def _occupy_the_next_port(scene: Scene) -> None:
    scene.stage.port += 7
    scene.stage.qbittorrent.busy = {scene.stage.port: ["10.2.0.2"]}
    scene.stage.open_port()


def _free_the_port_and_get_another(scene: Scene) -> None:
    scene.stage.qbittorrent.busy = {}
    scene.stage.change_port()


def _change_port_and_have_it_scraped(scene: Scene) -> None:
    scene.stage.change_port()
    scene.qsticky.wait_for_port(scene.stage.port)
    time.sleep(1)


def _set_another_port(scene: Scene) -> None:
    changes = scene.qsticky.metric("port_changes_total")
    scene.stage.qbittorrent.listen_port += 1
    wait_until(
        lambda: scene.qsticky.metric("port_changes_total") > changes, BOUND, "it to be set right"
    )


def _disconnect_until_it_rebinds(scene: Scene) -> None:
    """It counts as helped only when a look shows a connection again."""
    rebinds = partial(scene.qsticky.metric, "rebinds_total", cause="disconnected")
    before = rebinds()
    scene.stage.qbittorrent.connection_status = "disconnected"
    wait_until(lambda: rebinds() > before, BOUND, "the rebind")
    scene.qsticky.sync()


def _have_peers_see(address: str) -> Step:
    def see(scene: Scene) -> None:
        scene.stage.qbittorrent.external_address = address

    return see


def _take_the_health_folder(scene: Scene) -> None:
    """Put a file in its place, which keeps root out too."""
    _point_health_folder_to(scene, "stdout")


def _give_the_health_folder_back(scene: Scene) -> None:
    _point_health_folder_to(scene, "writable")


def _point_health_folder_to(scene: Scene, name: str) -> None:
    link = scene.qsticky.folder / "link"
    link.symlink_to(name)
    os.replace(link, scene.qsticky.folder / "health")


def _close_to_the_outside(scene: Scene) -> None:
    scene.outside.is_open = False


def _open_to_the_outside(scene: Scene) -> None:
    scene.outside.is_open = True


def _have_a_peer_come_and_go(scene: Scene) -> None:
    before = scene.qsticky.metric("last_incoming_connection_timestamp_seconds")
    scene.peers.come()
    wait_until(
        lambda: scene.qsticky.metric("last_incoming_connection_timestamp_seconds") > before,
        BOUND,
        "the peer to be seen",
    )
    scene.peers.leave()


def _nothing(scene: Scene) -> None:
    """Leave it to time."""


_PEERS_CANNOT_CONNECT: Mapping[str, Cause] = {
    "gluetun_unreachable": Cause(_stop_gluetun_and_its_file, _start_gluetun),
    "gluetun_unauthorized": Cause(_have_gluetun_refuse, _have_gluetun_answer),
    "no_forwarded_port": Cause(lambda s: s.stage.close_port(), lambda s: s.stage.open_port()),
    "qbittorrent_unreachable": Cause(
        lambda s: s.stage.qbittorrent.stop(), lambda s: s.stage.qbittorrent.start()
    ),
    "qbittorrent_unauthorized": Cause(_change_password, _tell_password),
    "qbittorrent_banned": Cause(_ban, _forgive),
    "port_rejected": Cause(_have_qbittorrent_reject_ports, _have_qbittorrent_take_ports),
    "not_listening": Cause(_occupy_the_next_port, _free_the_port_and_get_another),
}

# By the reason where a sync fails, and else by the alert.
CAUSES: Mapping[str, Cause] = {
    **{
        reason: replace(cause, alert="QStickyPeersCannotConnect")
        for reason, cause in _PEERS_CANNOT_CONNECT.items()
    },
    "port_closed": Cause(
        _close_to_the_outside, _open_to_the_outside, visible=True, alert="QStickyPortClosed"
    ),
    "QStickyGone": Cause(lambda s: s.qsticky.kill(), lambda s: s.qsticky.start()),
    NO_TARGET: Cause(
        lambda s: discover(s, there=False), lambda s: discover(s, there=True), alert="QStickyGone"
    ),
    "QStickyNoSync": Cause(
        _have_gluetun_hang, _have_gluetun_answer, variables={"REQUEST_TIMEOUT": 300}
    ),
    "QStickyPortFlapping": Cause(_change_port_and_have_it_scraped, _nothing, again=True),
    "QStickyPortContested": Cause(_set_another_port, _nothing, again=True),
    "QStickyRebindsDontHelp": Cause(_disconnect_until_it_rebinds, _nothing, again=True),
    "QStickyAddressDiffers": Cause(_have_peers_see("198.51.100.9"), _have_peers_see("203.0.113.7")),
    "QStickyNotificationsFail": Cause(
        lambda s: s.stage.change_port(),
        _nothing,
        variables={"NOTIFY_URLS": "json://127.0.0.1:9/", "NOTIFY_ON": "port_changed"},
    ),
    "QStickyHealthFileFails": Cause(_take_the_health_folder, _give_the_health_folder_back),
    "QStickyNobodyCameIn": Cause(_have_a_peer_come_and_go, _have_a_peer_come_and_go, visible=True),
}
