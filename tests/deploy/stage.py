"""Runs a simulated Gluetun and qBittorrent on their usual ports, not in sync, until stdin ends."""

import sys

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator


def main(key: str, password: str) -> None:
    """Run both, and tell with a line that they answer."""
    with (
        GluetunSimulator(port=8000, api_key=key, ports=[51500]),
        QBittorrentSimulator(port=8080, password=password, listen_port=50001),
    ):
        print("both answer", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
