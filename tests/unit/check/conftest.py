"""What the tests of `qsticky check` need: both services, a kernel, and a whole check."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from qsticky import config
from qsticky.check.command import examine as every_finding
from qsticky.check.facts import Facts
from qsticky.check.findings import Finding, Verdict
from qsticky.check.place import DOCKER, KUBERNETES, MACHINE, PODMAN, Place
from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.kernel.netlink import Connection, Listener
from tests.fakes import TUN0, FakeClock, FakeKernel
from tests.real import free_port

PORT = 51500
KEY = "a-key"
PLACES = (DOCKER, PODMAN, KUBERNETES, MACHINE)
PAGE = Path(__file__).parents[3] / "docs" / "check.md"
LISTENER = Listener(TUN0.addresses[0], PORT, 0)
PEER = Connection(ip_address("10.2.0.2"), ip_address("198.51.100.9"), 6881, established=True)


class Found:
    """All that one check found."""

    def __init__(self, findings: list[Finding]) -> None:
        self.all = findings

    def __getitem__(self, check: str) -> Finding:
        (finding,) = (finding for finding in self.all if finding.check == check)
        return finding

    def by(self, verdict: Verdict) -> list[str]:
        """The checks that ended so."""
        return [finding.check for finding in self.all if finding.verdict is verdict]

    @property
    def failed(self) -> list[str]:
        """The checks that failed."""
        return self.by(Verdict.FAILED)

    def copied(self, check: str) -> list[str]:
        """The lines to copy for it."""
        return [line for remedy in self[check].remedies for line in remedy.copy]


@pytest.fixture
def gluetun() -> Iterator[GluetunSimulator]:
    with GluetunSimulator(api_key=KEY, ports=[PORT]) as simulator:
        yield simulator


@pytest.fixture
def qbittorrent() -> Iterator[QBittorrentSimulator]:
    with QBittorrentSimulator(listen_port=PORT) as simulator:
        simulator.preferences["current_network_interface"] = "tun0"
        yield simulator


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel(listeners=[LISTENER])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.now(UTC).timestamp())


@pytest.fixture
def health_file(tmp_path: Path) -> Path:
    return tmp_path / "health" / "status.json"


@pytest.fixture
def variables(
    gluetun: GluetunSimulator,
    qbittorrent: QBittorrentSimulator,
    health_file: Path,
) -> dict[str, object]:
    """What is set where all holds; the environment has nothing else."""
    return {
        "GLUETUN_HOST": gluetun.host,
        "GLUETUN_PORT": gluetun.port,
        "GLUETUN_APIKEY": KEY,
        "QBITTORRENT_HOST": qbittorrent.host,
        "QBITTORRENT_PORT": qbittorrent.port,
        "METRICS_ADDRESS": "127.0.0.1",
        "METRICS_PORT": free_port(),
        "HEALTH_FILE": health_file,
        "REQUEST_TIMEOUT": 5,
    }


Examine = Callable[..., Found]


@pytest.fixture
def examine(
    variables: dict[str, object],
    kernel: FakeKernel,
    clock: FakeClock,
    tmp_path: Path,
) -> Examine:
    """Checks `variables` with what it is given; None unsets one of them."""

    def examine(place: Place = DOCKER, **others: object) -> Found:
        given = {**variables, **others}
        environ = {name: str(value) for name, value in given.items() if value is not None}
        loaded = config.load(environ, tmp_path / "secrets")
        found = list(every_finding(Facts(loaded, clock, kernel, place)))
        assert {finding.check for finding in found} <= documented()
        return Found(found)

    return examine


def documented() -> set[str]:
    """Every name of a check in the documentation."""
    rows = re.findall(r"^\|[ \w]*\| (`.+?`) \|", PAGE.read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def document(**facts: object) -> dict[str, Any]:
    """A health document, as the daemon writes it."""
    own = ("connected", "listening", "listening_by", "last_incoming_connection")
    told = {name: facts.pop(name) for name in own if name in facts}
    services = {"qbittorrent": {"connected": False, **told}}
    return {
        "healthy": False,
        "status": "failing",
        "reason": "qbittorrent_unauthorized",
        "last_error": "qBittorrent refused the password",
        "services": services,
        "stale_after": (datetime.now(UTC) + timedelta(seconds=60)).isoformat(),
        **facts,
    }


Says = Callable[..., None]


@pytest.fixture
def says(health_file: Path) -> Says:
    """Writes the health file of a running qSticky."""

    def says(**facts: object) -> None:
        health_file.parent.mkdir(exist_ok=True)
        health_file.write_text(json.dumps(document(**facts)))

    return says
