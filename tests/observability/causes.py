"""What raises each alert, and what ends that, on a `qsticky` with services of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.player import variables
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.scenarios import Stage
from qsticky.demo.simulator import Answer, Hang
from tests.end_to_end.command import BOUND, QSticky
from tests.real import wait_until


@dataclass(frozen=True)
class Scene:
    """One `qsticky`, between a simulated Gluetun and a simulated qBittorrent in sync with it."""

    name: str
    stage: Stage
    qsticky: QSticky

    @property
    def discovered(self) -> Path:
        """The targets of the Prometheus that begins without any."""
        return self.qsticky.folder / "discovered.json"

    def restart_qbittorrent(self) -> None:
        """Restart qBittorrent, and have `qsticky` notice that it was gone."""
        self.stage.qbittorrent.stop()
        self.qsticky.sync()
        self.stage.qbittorrent.start()
        self.qsticky.sync()


Step = Callable[[Scene], None]


@dataclass(frozen=True)
class Cause:
    """How an alert's cause is made and ended.

    `again` has it made over and over until the alert fires. `variables` are what `qsticky` needs
    for it. `beside` are alerts that may come with it here, where nothing but time in the rules is
    quickened.
    """

    make: Step
    end: Step
    again: bool = False
    variables: Mapping[str, object] = field(default_factory=dict)
    beside: frozenset[str] = frozenset()


@contextmanager
def scene(folder: Path, name: str, cause: Cause) -> Iterator[Scene]:
    """Set a scene, all being well; `qsticky` need not be up yet."""
    folder.mkdir(parents=True)
    (folder / "writable").mkdir()
    (folder / "health").symlink_to("writable")
    with ExitStack() as running:
        gluetun = running.enter_context(GluetunSimulator(api_key="demonstration"))
        qbittorrent = QBittorrentSimulator(connection_status="connected")
        running.enter_context(qbittorrent)
        stage = Stage(gluetun, qbittorrent, folder / "forwarded_port", folder / "password")
        stage.set_up()
        qbittorrent.preferences["listen_port"] = stage.port  # no change, and peers stay
        given = {**variables(stage), "CHECK_INTERVAL": 1, "PORT_GRACE": 1, **cause.variables}
        qsticky = QSticky(folder, given)
        for variable in [name for name in qsticky.environment if name.startswith("COVERAGE_")]:
            del qsticky.environment[variable]  # which would make so many of them slow
        yield Scene(name, stage, running.enter_context(qsticky))


def _let_prometheus_discover_it(scene: Scene) -> None:
    """Replace the file in one step, as Prometheus reads it whenever it changes."""
    fresh = scene.discovered.with_suffix(".new")
    fresh.write_text(json.dumps([{"targets": [f"127.0.0.1:{scene.qsticky.port}"]}]))
    fresh.replace(scene.discovered)


def _restart(scene: Scene) -> None:
    scene.qsticky.kill()
    scene.qsticky.start()
    wait_until(lambda: _answers(scene.qsticky), BOUND, "qsticky to be back")


def _answers(qsticky: QSticky) -> bool:
    try:
        return qsticky.get("/-/healthy").status == 200
    except OSError:
        return False


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


def _hold_port(scene: Scene) -> None:
    scene.qsticky.wait_for_port(scene.stage.port)
    _send_peers(scene)


def _have_qbittorrent_reject_ports(scene: Scene) -> None:
    scene.stage.qbittorrent.deaf = True
    scene.stage.change_port()


def _have_qbittorrent_take_ports(scene: Scene) -> None:
    scene.stage.qbittorrent.deaf = False


def _occupy_the_next_port(scene: Scene) -> None:
    scene.stage.port = scene.stage.port + 7 if scene.stage.port < 60000 else 20000
    scene.stage.qbittorrent.busy = {scene.stage.port: ["10.2.0.2"]}
    scene.stage.open_port()


def _free_the_port_and_get_another(scene: Scene) -> None:
    scene.stage.qbittorrent.busy = {}
    scene.stage.change_port()


def _occupy_the_next_port_for_long(scene: Scene) -> None:
    """A second attempt comes only after 30 s, but at once where qBittorrent was restarted."""
    _occupy_the_next_port(scene)
    scene.qsticky.wait_for("failing", "not_listening")
    scene.restart_qbittorrent()


def _free_the_port_and_restart_qbittorrent(scene: Scene) -> None:
    scene.stage.qbittorrent.busy = {}
    scene.restart_qbittorrent()


def _take_the_health_folder(scene: Scene) -> None:
    """Put a file in its place, which keeps root out too."""
    _point_health_folder_to(scene, "stdout")


def _give_the_health_folder_back(scene: Scene) -> None:
    _point_health_folder_to(scene, "writable")


def _point_health_folder_to(scene: Scene, name: str) -> None:
    link = scene.qsticky.folder / "link"
    link.symlink_to(name)
    os.replace(link, scene.qsticky.folder / "health")


def _send_no_peers(scene: Scene) -> None:
    scene.stage.qbittorrent.connection_status = "firewalled"


def _send_peers(scene: Scene) -> None:
    scene.stage.qbittorrent.connection_status = "connected"


CAUSES: Mapping[str, Cause] = {
    "QStickyAbsent": Cause(lambda _: None, _let_prometheus_discover_it),
    "QStickyDown": Cause(lambda s: s.qsticky.kill(), lambda s: s.qsticky.start()),
    "QStickyRestarting": Cause(_restart, lambda _: None, again=True),
    "QStickyGluetunUnreachable": Cause(_stop_gluetun_and_its_file, _start_gluetun),
    "QStickyGluetunUnauthorized": Cause(_have_gluetun_refuse, _have_gluetun_answer),
    "QStickyPortFileOnly": Cause(lambda s: s.stage.gluetun.stop(), _start_gluetun),
    "QStickyQBittorrentUnreachable": Cause(
        lambda s: s.stage.qbittorrent.stop(), lambda s: s.stage.qbittorrent.start()
    ),
    "QStickyQBittorrentUnauthorized": Cause(_change_password, _tell_password),
    "QStickyBanned": Cause(_ban, Scene.restart_qbittorrent),
    "QStickyNoForwardedPort": Cause(lambda s: s.stage.close_port(), lambda s: s.stage.open_port()),
    "QStickyNotInSync": Cause(_have_qbittorrent_reject_ports, _have_qbittorrent_take_ports),
    "QStickyNotListening": Cause(
        _occupy_the_next_port,
        _free_the_port_and_get_another,
        variables={"QBITTORRENT_REBIND": "false"},
    ),
    "QStickyRebindsDontHelp": Cause(
        _occupy_the_next_port_for_long,
        _free_the_port_and_restart_qbittorrent,
        # Until the second attempt, and while qBittorrent restarts, which takes minutes here.
        beside=frozenset({"QStickyNotListening", "QStickyQBittorrentUnreachable"}),
    ),
    "QStickyPortFlapping": Cause(lambda s: s.stage.change_port(), _hold_port, again=True),
    "QStickyHealthFileNotWritten": Cause(_take_the_health_folder, _give_the_health_folder_back),
    "QStickyFirewalled": Cause(_send_no_peers, _send_peers),
    "QStickyLastSuccessTooOld": Cause(
        _have_gluetun_hang, _have_gluetun_answer, variables={"REQUEST_TIMEOUT": 300}
    ),
}
