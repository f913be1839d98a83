"""Runs the daemon between what a scenario simulates, and plays its acts as stdin numbers them."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from qsticky import config, signals
from qsticky.daemon import Daemon
from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.player import API_KEY, variables
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.scenarios import SCENARIOS, Stage


def main(scenario: str, folder: Path) -> int:
    """Run it until it is told to stop; what is between it and Gluetun is in the folder."""
    signals.block()
    with GluetunSimulator(api_key=API_KEY) as gluetun, QBittorrentSimulator() as qbittorrent:
        stage = Stage(gluetun, qbittorrent, folder / "forwarded_port", folder / "pass")
        # Evidence that the VPN came back just after a change of the port is taken for its own.
        qbittorrent.listen_port = stage.port
        stage.set_up()
        played = folder / "played"
        threading.Thread(target=_play, args=(scenario, stage, played), daemon=True).start()
        settings = config.load({**os.environ, **variables(stage)})
        return Daemon(settings, kernel=stage.kernel).run()


def _play(scenario: str, stage: Stage, played: Path) -> None:
    for line in sys.stdin:
        SCENARIOS[scenario].acts[int(line)].play(stage)
        played.write_text(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
