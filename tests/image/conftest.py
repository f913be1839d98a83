"""One engine with the image built on it, and both services on loopback to run it between."""

from collections.abc import Iterator

import pytest

from qsticky.demo.gluetun_simulator import GluetunSimulator
from tests.image.engine import Engine, build
from tests.real import RealQBittorrent, free_port

GLUETUN_KEY = "the-key-of-the-role"
FIGURES = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = {}


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if figures := config.stash[FIGURES]:
        terminalreporter.section("figures of the image")
        for name, value in figures.items():
            terminalreporter.write_line(f"{name:38}{value}")


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> dict[str, str]:
    """What was measured, to be printed at the end."""
    return pytestconfig.stash[FIGURES]


@pytest.fixture(scope="session")
def engine(figures: dict[str, str]) -> Iterator[Engine]:
    """A Docker engine of the tests' own."""
    with Engine() as running:
        version = running.docker("version", "--format={{.Server.Version}}").strip()
        storage = running.docker("info", "--format={{.Driver}}").strip()
        figures["Docker engine, storage driver"] = f"{version}, {storage}"
        yield running


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """The image, built from the Dockerfile as it is on a stand-in for its base."""
    return build(engine)


@pytest.fixture(scope="session")
def qbittorrent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealQBittorrent]:
    """A real qBittorrent; a test that stops it starts it again."""
    with RealQBittorrent(tmp_path_factory.mktemp("qbittorrent")) as server:
        yield server


@pytest.fixture
def variables(qbittorrent: RealQBittorrent) -> Iterator[dict[str, object]]:
    """What the daemon needs to know of both, and to serve on loopback only."""
    with GluetunSimulator(api_key=GLUETUN_KEY, ports=[free_port()]) as gluetun:
        yield {
            "QBITTORRENT_PORT": qbittorrent.port,
            "QBITTORRENT_PASS": qbittorrent.password,
            "GLUETUN_PORT": gluetun.port,
            "GLUETUN_APIKEY": GLUETUN_KEY,
            "VPN_INTERFACE": "absent0",
            "METRICS_ADDRESS": "127.0.0.1",
            "METRICS_PORT": free_port(),
            "REQUEST_TIMEOUT": 5,
        }
