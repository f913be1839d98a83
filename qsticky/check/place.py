"""Where qSticky runs: how its variables are set there, and the other programs restarted."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from qsticky.check.findings import Remedy


class Place(NamedTuple):
    """How a place has what is the same everywhere; the lines of a remedy are to be copied."""

    set_for_qsticky: str
    new_secret: str
    runs: Remedy
    here: str  # where both services are at localhost
    elsewhere: str | None  # where both are at the name gluetun
    recreate_gluetun: Remedy
    restart_qbittorrent: Remedy
    log_of_gluetun: Remedy
    password_in_the_log: str
    has_compose: bool = False


def _of_a_container(tool: str) -> Place:
    """Podman has Docker's commands."""
    return Place(
        set_for_qsticky=f"Set for qSticky, then have its container made anew ({tool} compose up -d "
        "qsticky; a NAS does that on Apply):",
        new_secret="Write the WebUI's password into this file, as its only line:",
        runs=Remedy(
            "See that it runs, and start it if it doesn't:",
            (f"{tool} compose ps --all", f"{tool} compose up -d"),
        ),
        here="With network_mode: service:gluetun, where all share Gluetun's network",
        elsewhere="With a network that Gluetun's container is in, too",
        recreate_gluetun=Remedy(
            "Then recreate Gluetun and what shares its network:",
            (f"{tool} compose up -d --force-recreate",),
        ),
        restart_qbittorrent=Remedy("Restart qBittorrent:", (f"{tool} restart qbittorrent",)),
        log_of_gluetun=Remedy("Gluetun's log says why:", (f"{tool} logs --tail 50 gluetun",)),
        password_in_the_log=f"{tool} logs qbittorrent 2>&1 | grep -i password",
        has_compose=True,
    )


DOCKER = _of_a_container("docker")
PODMAN = _of_a_container("podman")

_DEPLOYMENT = "kubectl -n qbittorrent {} deploy/qbittorrent"
KUBERNETES = Place(
    set_for_qsticky="Set for the container qsticky, then kubectl apply -k .:",
    new_secret="Have the Secret that is mounted here hold the WebUI's password:",
    runs=Remedy("See that its container runs:", ("kubectl -n qbittorrent get pods",)),
    here="In one Pod, whose containers share a network",
    elsewhere="With a Service of that name, in front of Gluetun's Pod",
    recreate_gluetun=Remedy(
        "Then apply it, and have a new Pod made:",
        ("kubectl apply -k .", _DEPLOYMENT.format("rollout restart")),
    ),
    restart_qbittorrent=Remedy("Restart qBittorrent:", (_DEPLOYMENT.format("rollout restart"),)),
    log_of_gluetun=Remedy(
        "Gluetun's log says why:", (f"{_DEPLOYMENT.format('logs')} -c gluetun --tail 50",)
    ),
    password_in_the_log=f"{_DEPLOYMENT.format('logs')} -c qbittorrent | grep -i password",
)

_ON_A_MACHINE = "systemctl {} 'qbittorrent*'"
MACHINE = Place(
    set_for_qsticky="Set for qSticky (under systemd in /etc/qsticky/qsticky.env, then "
    "systemctl restart qsticky):",
    new_secret="Write the WebUI's password into this file, as its only line, and restart "
    "qSticky, to which systemd shows a copy:",
    runs=Remedy("See that it runs; under systemd:", (_ON_A_MACHINE.format("status"),)),
    here="On this machine, or in a container that publishes its port to it",
    elsewhere=None,
    recreate_gluetun=Remedy("Then start Gluetun anew: a container has to be recreated."),
    restart_qbittorrent=Remedy(
        "Restart qBittorrent; under systemd:", (_ON_A_MACHINE.format("restart"),)
    ),
    log_of_gluetun=Remedy("Gluetun's log says why."),
    password_in_the_log="journalctl -u 'qbittorrent*' | grep -i password",
)


def place(environ: Mapping[str, str], root: Path = Path("/")) -> Place:
    """Tell where this process runs; `root` is the root of its file system.

    Docker makes /.dockerenv, Podman /run/.containerenv, and Kubernetes sets the address of its
    API in every container. Others show in the control group of the first process.
    """
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return KUBERNETES
    if (root / "run/.containerenv").exists():
        return PODMAN
    if (root / ".dockerenv").exists():
        return DOCKER
    try:
        groups = (root / "proc/1/cgroup").read_text(errors="replace")
    except OSError:
        return MACHINE
    if "kubepods" in groups:
        return KUBERNETES
    return DOCKER if re.search("docker|containerd|libpod", groups) else MACHINE
