"""Runs the daemon between what a demonstration simulates, and plays the acts that stdin names."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from qsticky import config, signals
from qsticky.daemon import Daemon
from qsticky.demo import kernel_simulator
from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.player import API_KEY, variables
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.scenarios import SCENARIOS, Stage


def main(folder: Path) -> int:
    """Run it until it is told to stop; what is between it and Gluetun is in the folder."""
    signals.block()
    # Each peer comes and goes five times as fast, so that nobody has to wait for one to be gone.
    kernel_simulator._COMES_EVERY, kernel_simulator._STAYS = 0.4, 2.0
    with GluetunSimulator(api_key=API_KEY) as gluetun, QBittorrentSimulator() as qbittorrent:
        stage = Stage(gluetun, qbittorrent, folder / "forwarded_port", folder / "pass")
        # Evidence that the VPN came back just after a change of the port is taken for its own.
        qbittorrent.listen_port = stage.port
        stage.set_up()
        played = folder / "played"
        threading.Thread(target=_play, args=(stage, played), daemon=True).start()
        settings = config.load({**os.environ, **variables(stage)})
        return Daemon(settings, kernel=stage.kernel).run()


def _play(stage: Stage, played: Path) -> None:
    for line in sys.stdin:
        scenario, act = line.split()
        SCENARIOS[scenario].acts[int(act)].play(stage)
        played.write_text(line)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
