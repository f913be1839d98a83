"""The real daemon against a simulated Gluetun and qBittorrent, for a first look without a VPN."""

import os
import random
import tempfile
import threading
from pathlib import Path

from qsticky import config
from qsticky.daemon import Daemon
from qsticky.simulator import GluetunSimulator, QBittorrentSimulator

_CHANGE_EVERY = 5.0
_API_KEY = "demonstration"


def main() -> int:
    """Run until Ctrl-C; what the environment sets of METRICS_…, LOG_… and HEALTH_FILE is kept."""
    with (
        tempfile.TemporaryDirectory(prefix="qsticky-demo-") as folder,
        GluetunSimulator(api_key=_API_KEY, ports=[_any_port()]) as gluetun,
        QBittorrentSimulator() as qbittorrent,
    ):
        port_file = Path(folder, "forwarded_port")
        os.environ |= {
            "GLUETUN_HOST": gluetun.host,
            "GLUETUN_PORT": str(gluetun.port),
            "GLUETUN_APIKEY": _API_KEY,
            "GLUETUN_PORT_FILE": str(port_file),
            "QBITTORRENT_HOST": qbittorrent.host,
            "QBITTORRENT_PORT": str(qbittorrent.port),
            "VPN_INTERFACE": "demo",  # none of that name: a real one would be looked at
        }
        os.environ.setdefault("HEALTH_FILE", str(Path(folder, "status.json")))
        os.environ.setdefault("METRICS_ADDRESS", "127.0.0.1")
        os.environ.setdefault("LOG_FORMAT", "text")
        settings = config.load()
        print(
            f"A simulated Gluetun changes its forwarded port every {_CHANGE_EVERY:g} seconds, and "
            "qSticky has\na simulated qBittorrent follow it. While it runs, look at\n\n"
            f"  the page         {settings.metrics_url}/\n"
            f"  the metrics      {settings.metrics_url}/metrics\n"
            f"  the health file  {settings.health_file}\n\n"
            "Ctrl-C ends it. This is its log:\n",
            flush=True,
        )
        daemon = Daemon(settings)
        ended = threading.Event()
        change = threading.Thread(target=_change_ports, args=(gluetun, port_file, ended))
        change.start()
        try:
            return daemon.run()
        finally:
            ended.set()
            change.join()


def _change_ports(gluetun: GluetunSimulator, port_file: Path, ended: threading.Event) -> None:
    while not ended.wait(_CHANGE_EVERY):
        gluetun.ports = (_any_port(),)
        port_file.write_text(str(gluetun.ports[0]))


def _any_port() -> int:
    return random.randint(20000, 60000)
