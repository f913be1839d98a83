"""How soon a changed port is listened on."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import requests as bare

from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from tests.real import free_port
from tools.bench.figures import Figure, p99
from tools.bench.measure import wall
from tools.bench.stage import Plan, Stage, stage


def reaction(plan: Plan) -> Iterator[Figure]:
    """Measure the time from a changed port to the socket that listens on it."""
    for name in ("port file written", "POST /-/sync"):
        values: list[list[float]] = []
        floor: list[list[float]] = []
        trigger: Callable[[], object]
        with stage(plan, real=True) as scene:
            file = scene.folder / "forwarded_port"
            file.touch()
            with scene.unpaced_daemon(GLUETUN_PORT_FILE=file) as daemon, bare.Session() as session:
                daemon.wait_for("synced")
                for count in range(plan.rounds * plan.reactions):
                    if count % plan.reactions == 0:
                        values.append([])
                        floor.append([])
                    floor[-1].append(wall(_bare_change, session, scene))
                    port = free_port()
                    scene.gluetun.ports = (port,)
                    if name == "port file written":
                        trigger = partial(file.write_text, str(port))
                    else:
                        trigger = partial(daemon.get, "/-/sync", "POST")
                    values[-1].append(wall(_until_listening, scene, trigger, port))
                    daemon.wait_for_port(port)
        medians, floors = [*map(median, values)], [*map(median, floor)]
        yield Figure(f"{name}, to the open socket", "ms", medians, floors, 1.4, 30)
        yield Figure(f"{name}, p99", "ms", [*map(p99, values)], [*map(p99, floor)], most=60)


def _bare_change(session: bare.Session, scene: Stage) -> None:
    """Ask Gluetun, and qBittorrent twice: the least that a change of the port takes."""
    session.get(f"{scene.gluetun.url}/v1/portforward").json()
    url = f"http://127.0.0.1:{scene.qbittorrent.port}/api/v2"
    if session.get(f"{url}/app/preferences").status_code == 403:
        user = {"username": "admin", "password": "adminadmin"}
        session.post(f"{url}/auth/login", data=user).raise_for_status()
    wanted = {"json": json.dumps({"listen_port": free_port()})}
    session.post(f"{url}/app/setPreferences", data=wanted).raise_for_status()


def _until_listening(scene: Stage, trigger: Callable[[], object], port: int) -> None:
    trigger()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if isinstance(scene.qbittorrent, QBittorrentSimulator):
            if scene.qbittorrent.listen_port == port:
                return
        elif _takes_a_connection(port):
            return
        time.sleep(0.0005)
    raise AssertionError(f"nothing listens on {port} after 10 s")


def _takes_a_connection(port: int) -> bool:
    """Whether a socket listens: qBittorrent opens one for each address, the loopback's too."""
    with socket.socket() as peer:
        return peer.connect_ex(("127.0.0.1", port)) == 0
