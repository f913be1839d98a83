"""The versions of both services, asked for once for each process that may be behind them."""

from typing import NamedTuple


class Versions(NamedTuple):
    """What was told. Gluetun is asked anew after it was away, qBittorrent for another `process`."""

    gluetun: str | None = None
    gluetun_asked: bool = False
    qbittorrent: str | None = None
    process: int | None = None
