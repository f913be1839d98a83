"""Where qSticky runs, and so how its variables are set, and the other programs restarted."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path


class Place(StrEnum):
    """A container of Docker's, or one of Podman's; a Pod of Kubernetes; a machine itself."""

    CONTAINER = "container"
    PODMAN = "podman"
    KUBERNETES = "kubernetes"
    MACHINE = "machine"


def place(environ: Mapping[str, str], root: Path = Path("/")) -> Place:
    """Tell where this process runs; `root` is the root of its file system.

    Docker makes /.dockerenv, Podman /run/.containerenv, and Kubernetes sets the address of its
    API in every container. Others show in the control group of the first process.
    """
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return Place.KUBERNETES
    if (root / "run/.containerenv").exists():
        return Place.PODMAN
    if (root / ".dockerenv").exists():
        return Place.CONTAINER
    try:
        groups = (root / "proc/1/cgroup").read_text(errors="replace")
    except OSError:
        return Place.MACHINE
    if "kubepods" in groups:
        return Place.KUBERNETES
    return Place.CONTAINER if re.search("docker|containerd|libpod", groups) else Place.MACHINE
