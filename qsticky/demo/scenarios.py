"""The bad days that `qsticky demo` can play, as data: what happens when, and what shows it."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.kernel_simulator import KernelSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.errors import Reason

CALM = 30.0
RESTART = 15.0
RECOVERY = 60.0


@dataclass
class Stage:
    """What is simulated, and the files between it and qSticky; `port` is what Gluetun forwards."""

    gluetun: GluetunSimulator
    qbittorrent: QBittorrentSimulator
    port_file: Path
    password_file: Path
    port: int = field(default_factory=lambda: random.randint(20000, 60000))
    kernel: KernelSimulator = field(init=False)

    def __post_init__(self) -> None:
        self.kernel = KernelSimulator(self.qbittorrent)

    def set_up(self) -> None:
        """Have everything as it should be, before qSticky starts."""
        self.password_file.write_text(self.qbittorrent.password)
        self.open_port()

    def open_port(self) -> None:
        """Have Gluetun forward the port, and tell it in its file."""
        self.gluetun.ports = (self.port,)
        self.port_file.write_text(str(self.port))

    def close_port(self) -> None:
        """Have Gluetun forward no port, and empty its file."""
        self.gluetun.ports = ()
        self.port_file.write_text("")

    def change_port(self) -> None:
        """Have Gluetun forward another port."""
        self.port = 20000 + (self.port - 20000 + random.randint(2, 40000)) % 40001
        self.open_port()


@dataclass(frozen=True)
class Act:
    """What happens, in a sentence and as a function, and for how many seconds it is left so.

    `seconds` is None for a trouble that lasts as long as the audience wants; `every` is after how
    many seconds it happens again meanwhile.
    """

    sentence: str
    play: Callable[[Stage], None]
    seconds: float | None = None
    every: float = math.inf


@dataclass(frozen=True)
class Scenario:
    """A bad day: its acts, which can be played again and again in this order.

    `reason` is that of the failed syncs, if they fail; `shown_by` are metrics that differ from
    those of the calm before, once the trouble has run its course. `variables` are what qSticky is
    told for it.
    """

    summary: str
    acts: tuple[Act, ...]
    reason: Reason | None
    shown_by: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


def _calm(stage: Stage) -> None:
    stage.qbittorrent.connection_status = "connected"


def _lose_the_port(stage: Stage) -> None:
    """Have no port, until somebody restarts the VPN."""
    stage.close_port()
    stage.gluetun.next_ports = (stage.port,)


def _stop_qbittorrent(stage: Stage) -> None:
    stage.qbittorrent.stop()


def _start_qbittorrent(stage: Stage) -> None:
    stage.qbittorrent.start()


def _stop_gluetun(stage: Stage) -> None:
    stage.gluetun.stop()


def _empty_port_file(stage: Stage) -> None:
    stage.port_file.write_text("")


def _start_gluetun(stage: Stage) -> None:
    stage.gluetun.start()
    stage.open_port()


def _ban(stage: Stage) -> None:
    stage.qbittorrent.banned = True
    stage.qbittorrent.expire_sessions()


def _change_password(stage: Stage) -> None:
    stage.qbittorrent.password += "-changed"
    stage.qbittorrent.expire_sessions()


def _tell_password(stage: Stage) -> None:
    stage.password_file.write_text(stage.qbittorrent.password)


def _stop_vpn(stage: Stage) -> None:
    stage.close_port()
    stage.kernel.stop_vpn()
    stage.qbittorrent.connection_status = "disconnected"


def _start_vpn(stage: Stage) -> None:
    stage.kernel.start_vpn()
    stage.open_port()


def _keep_peers_out(stage: Stage) -> None:
    stage.kernel.peers_come = False


def _let_peers_in(stage: Stage) -> None:
    stage.kernel.peers_come = True


def _reject_port(stage: Stage) -> None:
    stage.qbittorrent.ignores_settings = True
    stage.change_port()


def _accept_port(stage: Stage) -> None:
    stage.qbittorrent.ignores_settings = False


def _occupy_next_port(stage: Stage) -> None:
    stage.port = stage.port + 7 if stage.port < 60000 else 20000
    stage.qbittorrent.busy = {stage.port: ["10.2.0.2"]}
    stage.open_port()


def _free_port_and_stop_qbittorrent(stage: Stage) -> None:
    stage.qbittorrent.busy = {}
    stage.qbittorrent.stop()


_ALL_WORKS = Act("All works", _calm, CALM)

FOLLOWING = Scenario(
    "A simulated Gluetun changes its forwarded port every 10 seconds, and qSticky has\n"
    "a simulated qBittorrent follow it. Its peers and the VPN are simulated, too.",
    (Act("Gluetun changes its port", Stage.change_port, seconds=math.inf, every=10.0),),
    reason=None,
    shown_by=("qsticky_port_changes_total", "qsticky_last_port_change_timestamp_seconds"),
)

SCENARIOS: Mapping[str, Scenario] = {
    "outage": Scenario(
        "qBittorrent is down for a while.",
        (
            _ALL_WORKS,
            Act("qBittorrent ends: connections to its WebUI are refused", _stop_qbittorrent),
            Act("qBittorrent is started again", _start_qbittorrent, RECOVERY),
        ),
        Reason.QBITTORRENT_UNREACHABLE,
        ("qsticky_qbittorrent_up", "qsticky_healthy", "qsticky_in_sync"),
    ),
    "gluetun-outage": Scenario(
        "Gluetun's control server is down; for a while the port file serves in its place.",
        (
            _ALL_WORKS,
            Act("Gluetun's control server ends, its port file stays", _stop_gluetun, CALM),
            Act("The port file is emptied too", _empty_port_file),
            Act("Gluetun is back, with the same port", _start_gluetun, RECOVERY),
        ),
        Reason.GLUETUN_UNREACHABLE,
        ("qsticky_gluetun_up", "qsticky_healthy", "qsticky_in_sync"),
    ),
    "wrong-password": Scenario(
        "Somebody changes qBittorrent's password, and doesn't tell qSticky.",
        (
            _ALL_WORKS,
            Act("qBittorrent's password is changed, and its sessions end", _change_password),
            Act("The new password is in QBITTORRENT_PASS_FILE", _tell_password, RECOVERY),
        ),
        Reason.QBITTORRENT_UNAUTHORIZED,
        ("qsticky_qbittorrent_login_failures_total", "qsticky_healthy", "qsticky_in_sync"),
    ),
    "ban": Scenario(
        "Another program's wrong password has qBittorrent ban their common address.",
        (
            _ALL_WORKS,
            Act("qBittorrent bans the address that both have, and its sessions end", _ban),
            Act("qBittorrent is restarted, which lifts the ban", _stop_qbittorrent, RESTART),
            Act("qBittorrent is back", _start_qbittorrent, RECOVERY),
        ),
        Reason.QBITTORRENT_BANNED,
        ("qsticky_qbittorrent_login_failures_total", "qsticky_healthy", "qsticky_in_sync"),
    ),
    "vpn-restart": Scenario(
        "The VPN restarts and gets the same port, and qBittorrent has lost its socket.",
        (
            _ALL_WORKS,
            Act("The VPN goes down: no port, and no interface any more", _stop_vpn, 20.0),
            Act("The VPN is back with the same port", _start_vpn, RECOVERY),
        ),
        None,
        ("qsticky_forwarded_port_losses_total", "qsticky_rebinds_total"),
    ),
    "no-peers": Scenario(
        "The VPN's provider stops forwarding the port, and says nothing of it.",
        (
            _ALL_WORKS,
            Act("No peer comes in any more, though all looks right", _keep_peers_out),
            Act("The provider forwards the port again", _let_peers_in, RECOVERY),
        ),
        None,
        ("qsticky_incoming_connections",),
    ),
    "no-port": Scenario(
        "The VPN runs, and its provider forwards no port, until qSticky restarts the VPN.",
        (
            _ALL_WORKS,
            Act("Gluetun has no forwarded port; after a minute, qSticky acts", _lose_the_port),
            Act("Gluetun has another port", Stage.change_port, RECOVERY),
        ),
        Reason.NO_FORWARDED_PORT,
        ("qsticky_forwarded_port", "qsticky_healthy", "qsticky_in_sync"),
        {"GLUETUN_RESTART_AFTER": "60"},
    ),
    "rejected": Scenario(
        "qBittorrent takes a new port and doesn't keep it: another program sets it too.",
        (
            _ALL_WORKS,
            Act("Gluetun has another port, which qBittorrent doesn't keep", _reject_port),
            Act("qBittorrent keeps what it is told", _accept_port, RECOVERY),
        ),
        Reason.PORT_REJECTED,
        ("qsticky_sync_failures_total", "qsticky_healthy", "qsticky_in_sync"),
    ),
    "not-listening": Scenario(
        "qBittorrent shows the right port, and another program listens on it.",
        (
            _ALL_WORKS,
            Act("Gluetun has another port, which another program uses", _occupy_next_port),
            Act(
                "The other program ends, and qBittorrent is restarted",
                _free_port_and_stop_qbittorrent,
                RESTART,
            ),
            Act("qBittorrent is back", _start_qbittorrent, RECOVERY),
        ),
        Reason.NOT_LISTENING,
        ("qsticky_rebinds_total", "qsticky_healthy"),
    ),
    "flapping": Scenario(
        "The VPN can't hold its port: every 15 seconds it has another one.",
        (
            _ALL_WORKS,
            Act("Gluetun changes its port, and will every 15 s", Stage.change_port, every=15.0),
            Act("Gluetun holds its port", _calm, RECOVERY),
        ),
        None,
        ("qsticky_port_changes_total", "qsticky_last_port_change_timestamp_seconds"),
    ),
}
