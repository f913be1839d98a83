"""Both services to run `qsticky` between: a real qBittorrent, and a simulated Gluetun."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import GluetunSimulator
from tests.contract.targets import Client
from tests.end_to_end.command import QSticky
from tests.real import RealQBittorrent, free_port

GLUETUN_KEY = "the-key-of-the-role"
ABSENT = "absent0"  # a VPN interface that no machine has

Start = Callable[..., QSticky]


class WebUI:
    """A real qBittorrent, as a user at its WebUI sees it and sets it."""

    def __init__(self, server: RealQBittorrent) -> None:
        self.server = server
        self._client = Client(server.url)
        self._gone = False

    @property
    def listen_port(self) -> int:
        """The listening port that its API tells now."""
        port = self.preferences()["listen_port"]
        assert isinstance(port, int)
        return port

    def preferences(self) -> Mapping[str, object]:
        """All its preferences."""
        answer = self._client.get("app/preferences")
        if answer.status_code == 403:  # it was restarted
            self._client.close()
            self._client = Client(self.server.url)
            assert self._client.login(self.server.password).ok
            answer = self._client.get("app/preferences")
        preferences: dict[str, object] = answer.json()
        return preferences

    def set(self, document: str) -> None:
        """Set preferences, from a JSON object, and see that it took them."""
        self.preferences()  # for a session
        assert self._client.post("app/setPreferences", {"json": document}).ok

    def use_port(self, port: int) -> None:
        """Set the listening port, as by hand."""
        self.set(f'{{"listen_port": {port}}}')
        assert self.listen_port == port

    def kill(self) -> None:
        """End it on the spot."""
        self._gone = True
        self.server.kill()

    def start(self) -> None:
        """Start it again where it was killed, and let it go on where it was frozen."""
        if self._gone:
            self.server.start()
            self._gone = False
        self.server.thaw()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    with RealQBittorrent(tmp_path_factory.mktemp("qbittorrent")) as server:
        webui = WebUI(server)
        yield webui
        webui.close()


@pytest.fixture
def qbittorrent(_shared: WebUI) -> Iterator[WebUI]:
    """A real qBittorrent on a port that nobody forwards; restarted and frozen at will."""
    _shared.use_port(free_port())
    yield _shared
    _shared.start()


@pytest.fixture
def gluetun() -> Iterator[GluetunSimulator]:
    """A Gluetun of 3.41 with one forwarded port, and a role with a key for every route."""
    with GluetunSimulator(api_key=GLUETUN_KEY, ports=[free_port()]) as simulator:
        yield simulator


@pytest.fixture
def variables(qbittorrent: WebUI, gluetun: GluetunSimulator) -> dict[str, object]:
    """What `qsticky` needs to know of both; the interval is long, so that nothing is luck."""
    return {
        "QBITTORRENT_HOST": "127.0.0.1",
        "QBITTORRENT_PORT": qbittorrent.server.port,
        "QBITTORRENT_USER": qbittorrent.server.username,
        "QBITTORRENT_PASS": qbittorrent.server.password,
        "GLUETUN_HOST": gluetun.host,
        "GLUETUN_PORT": gluetun.port,
        "GLUETUN_APIKEY": GLUETUN_KEY,
        "VPN_INTERFACE": ABSENT,
        "CHECK_INTERVAL": 300,
        "REQUEST_TIMEOUT": 5,
    }


@pytest.fixture
def start(tmp_path: Path, variables: Mapping[str, object]) -> Iterator[Start]:
    """Starts `qsticky` with `variables` and what it is given; None unsets one of them."""
    with ExitStack() as running:

        def start_one(*arguments: str, **others: object) -> QSticky:
            folder = tmp_path / f"qsticky-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            wanted = {**variables, **others}
            given = {name: value for name, value in wanted.items() if value is not None}
            return running.enter_context(QSticky(folder, given, arguments))

        yield start_one
