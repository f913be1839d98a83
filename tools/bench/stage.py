"""What is measured: a daemon of some checkout, beside both services, and how often."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from qsticky.demo.gluetun_simulator import PORT_ROUTE, GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from tests.end_to_end.command import QSticky
from tests.real import RealQBittorrent, free_port
from tools import unpaced
from tools.bench import floor

_HERE = Path(__file__).parents[2]
_MODULES = {"python-json-logger": "pythonjsonlogger"}  # where it isn't the package's name


@dataclass(frozen=True)
class Plan:
    """Which checkout is measured, and how many runs a figure has."""

    checkout: Path = _HERE
    rounds: int = 5
    starts: int = 40
    health_checks: int = 80
    reactions: int = 100  # a round

    @property
    def python(self) -> str:
        """The Python that it is installed in."""
        return sys.executable if self.checkout == _HERE else f"{self.checkout}/.venv/bin/python"

    @property
    def command(self) -> list[str]:
        """Its `qsticky`."""
        return [str(Path(self.python).with_name("qsticky"))]

    @property
    def floor_imports(self) -> list[str]:
        """What imports its run-time dependencies, and prints the memory that this takes."""
        project = tomllib.loads((self.checkout / "pyproject.toml").read_text())["project"]
        names = [re.split(r"[^\w.-]", wanted)[0] for wanted in project["dependencies"]]
        modules = [_MODULES.get(name, name.replace("-", "_")) for name in names]
        return self.floor("imports", *modules)

    def floor(self, *arguments: str) -> list[str]:
        """What does the least, by that Python."""
        return [self.python, floor.__file__, *arguments]


QUICK = Plan(rounds=3, starts=15, health_checks=40, reactions=40)


@dataclass
class Stage:
    """Both services, and a running daemon's folder and variables."""

    gluetun: GluetunSimulator
    qbittorrent: QBittorrentSimulator | RealQBittorrent
    folder: Path
    variables: dict[str, object]
    plan: Plan

    def unpaced_daemon(self, **others: object) -> QSticky:
        """Make one that runs each triggered sync at once, however many there are."""
        daemon = self.daemon(**others)
        daemon.command = [self.plan.python, unpaced.__file__]
        return daemon

    def daemon(self, **others: object) -> QSticky:
        """Make a daemon of its own folder, not yet started."""
        folder = self.folder / f"daemon-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        daemon = QSticky(folder, self.variables | others)
        daemon.command = self.plan.command
        return daemon


@contextmanager
def stage(plan: Plan, *, real: bool, routes: Collection[str] = (PORT_ROUTE,)) -> Iterator[Stage]:
    """Set both services up; a real qBittorrent where that is asked for and there is one.

    `routes` are Gluetun's. With the port's alone, a sync is three requests, as beside a VPN.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        gluetun = stack.enter_context(GluetunSimulator(ports=[free_port()], routes={*routes}))
        qbittorrent: QBittorrentSimulator | RealQBittorrent
        if real and shutil.which("qbittorrent-nox"):
            (folder / "profile").mkdir()
            qbittorrent = RealQBittorrent(folder / "profile", listen_port=gluetun.ports[0])
        else:
            qbittorrent = QBittorrentSimulator(listen_port=gluetun.ports[0])
        stack.enter_context(qbittorrent)
        variables: dict[str, object] = {
            "GLUETUN_HOST": "127.0.0.1",
            "GLUETUN_PORT": gluetun.port,
            "GLUETUN_AUTH_TYPE": "none",
            "QBITTORRENT_HOST": "127.0.0.1",
            "QBITTORRENT_PORT": qbittorrent.port,
            "VPN_INTERFACE": "absent0",
            "CHECK_INTERVAL": 3600,
        }
        yield Stage(gluetun, qbittorrent, folder, variables, plan)


def qbittorrent_name() -> str:
    """Name the qBittorrent that is measured with."""
    program = shutil.which("qbittorrent-nox")
    if program is None:
        return "a simulated qBittorrent"
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    printed = subprocess.run(
        [program, "--version"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    return printed.strip()
