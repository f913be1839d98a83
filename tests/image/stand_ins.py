"""Runs a simulated Gluetun or qBittorrent in a container, in place of the real one.

Gluetun's takes its role from the file that the real one reads, and writes the forwarded port's.
"""

import os
import signal
import sys
import tomllib
from pathlib import Path

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.simulator import Simulator

FORWARDED = 41537


def gluetun() -> Simulator:
    """Set up the control server as the mounted files say."""
    assert Path("/run/secrets/wireguard_private_key").read_text().strip(), "no key for the VPN"
    assert os.environ["VPN_SERVICE_PROVIDER"], "no provider"
    (role,) = tomllib.loads(Path("/gluetun/auth/config.toml").read_text())["roles"]
    assert role["auth"] == "apikey", role
    Path("/tmp/gluetun/forwarded_port").write_text(str(FORWARDED))
    return GluetunSimulator(
        port=8000, host="0.0.0.0", api_key=role["apikey"], routes=role["routes"], ports=[FORWARDED]
    )


def qbittorrent() -> Simulator:
    """Set up the WebUI, with the password that the test chose."""
    port = int(os.environ["WEBUI_PORT"])
    return QBittorrentSimulator(port=port, host="0.0.0.0", password=os.environ["PASSWORD"])


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with {"gluetun": gluetun, "qbittorrent": qbittorrent}[sys.argv[1]]():
    signal.sigwait([signal.SIGTERM])
