"""A mocked WebUI, and clients of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from qsticky.services.factory import make_qbittorrent
from qsticky.services.http import Exchange
from qsticky.services.login_limit import LoginLimit
from qsticky.services.qbittorrent import QBittorrent
from tests.fakes import FakeClock
from tests.unit.conftest import Load
from tests.unit.services.mocker import Context, Mocker, Request

URL = "http://qbittorrent:8080"
READ = "/api/v2/app/preferences"
LOG = "/api/v2/log/main"
INTERFACES = "/api/v2/app/networkInterfaceList"
ADDRESSES = "/api/v2/app/networkInterfaceAddressList"
VERSION = "/api/v2/app/version"
LOGOUT = "/api/v2/auth/logout"
WRITE = "/api/v2/app/setPreferences"
INFO = "/api/v2/transfer/info"
LOGIN = "/api/v2/auth/login"

TEXT = {"Content-Type": "text/plain; charset=UTF-8"}
FORBIDDEN: dict[str, Any] = {"status_code": 403, "text": "Forbidden", "headers": TEXT}
UNAUTHORIZED: dict[str, Any] = {"status_code": 401, "text": "Unauthorized", "headers": TEXT}
SHOWN = {
    "listen_port": 50001,
    "random_port": False,
    "upnp": True,
    "current_network_interface": "tun0",
    "web_ui_port": 8080,
}


class WebUI:
    """What qBittorrent answers: to 5.1 as it is made, later when ``modern``.

    ``calls`` are the paths asked for; ``session`` is the cookie of the one session there is.
    """

    def __init__(self, mocker: Mocker) -> None:
        self.modern = False
        self.bypass = False
        self.password = "adminadmin"
        self.session: str | None = None
        self.calls: list[str] = []
        self.requests: list[Request] = []
        self.gone = False
        self._logins = 0
        self._answers = {
            READ: json.dumps(SHOWN),
            INFO: '{"connection_status":"firewalled"}',
            WRITE: "",
            VERSION: "v5.1.0",
            LOGOUT: "",
            LOG: "[]",
        }
        for path in (READ, INFO, VERSION, LOG):
            mocker.get(URL + path, text=self._called)
        for path in (WRITE, LOGIN, LOGOUT):
            mocker.post(URL + path, text=self._called)

    def answers(self, path: str, body: str) -> None:
        """Have it answer this from now on to whoever has a session."""
        self._answers[path] = body

    def forms(self, path: str) -> list[dict[str, str]]:
        """Return what was posted there."""
        return [dict(parse_qsl(each.text)) for each in self.requests if path == path_of(each)]

    def _called(self, request: Request, context: Context) -> str:
        if self.gone:
            raise ConnectionRefusedError
        context.headers.update(TEXT)
        self.calls.append(path_of(request))
        self.requests.append(request)
        if path_of(request) == LOGIN:
            return self._log_in(request, context)
        if self.bypass or (self.session and cookie_of(request) == self.session):
            return self._answers[path_of(request)]
        context.status_code = 403
        return "Forbidden"

    def _log_in(self, request: Request, context: Context) -> str:
        right = dict(parse_qsl(request.text)) == {"username": "admin", "password": self.password}
        if not right:
            context.status_code = 401 if self.modern else 200
            return "Unauthorized" if self.modern else "Fails."
        self._logins += 1
        self.session = f"{'QBT_SID_8080' if self.modern else 'SID'}=session+{self._logins}/="
        context.headers["Set-Cookie"] = f"{self.session}; HttpOnly; SameSite=Strict; path=/"
        context.status_code = 204 if self.modern else 200
        return "" if self.modern else "Ok."


def path_of(request: Request) -> str:
    return str(urlsplit(request.url).path)


def cookie_of(request: Request) -> str | None:
    return request.headers.get("Cookie")


@pytest.fixture
def mocker() -> Iterator[Mocker]:
    with Mocker() as mocker:
        yield mocker


@pytest.fixture
def webui(mocker: Mocker) -> WebUI:
    return WebUI(mocker)


@pytest.fixture(params=["up to 5.1", "from 5.2 on"])
def any_webui(webui: WebUI, request: pytest.FixtureRequest) -> WebUI:
    webui.modern = request.param == "from 5.2 on"
    return webui


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


Make = Callable[..., QBittorrent]


@pytest.fixture
def make(load: Load, exchanges: list[Exchange], clock: FakeClock) -> Make:
    """Makes the client that these variables, and a folder of secrets, configure."""

    def make(*secrets: Path, **variables: object) -> QBittorrent:
        config = load(*secrets, QBITTORRENT_HOST="qbittorrent", **variables)
        return make_qbittorrent(config, exchanges.append, LoginLimit(clock))

    return make


@pytest.fixture
def qbittorrent(make: Make) -> QBittorrent:
    return make()
