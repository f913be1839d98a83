"""How qBittorrent's releases are logged in to, asked and told, and when no login is tried."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from requests_mock import Mocker
from requests_mock.request import _RequestObjectProxy as Request
from requests_mock.response import _Context as Context

from qsticky.errors import ErrorKind, Reason, ServiceError, SyncError
from qsticky.services.factory import make_qbittorrent
from qsticky.services.http import Exchange
from qsticky.services.qbittorrent import (
    Authentication,
    ConnectionStatus,
    Credentials,
    LoginLimit,
    Preferences,
    QBittorrent,
)
from tests.fakes import FakeClock
from tests.unit.conftest import Load

URL = "http://qbittorrent:8080"
READ = "/api/v2/app/preferences"
VERSION = "/api/v2/app/version"
LOGOUT = "/api/v2/auth/logout"
WRITE = "/api/v2/app/setPreferences"
INFO = "/api/v2/transfer/info"
LOGIN = "/api/v2/auth/login"

MINUTE = 60.0
YEAR = 365 * 24 * 60 * MINUTE
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
        self.banned = False
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
        }
        for path in (READ, INFO, VERSION):
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
            raise requests.ConnectionError(ConnectionRefusedError())
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
        if self.banned:
            context.status_code = 403
            return "Your IP address has been banned after too many failed attempts."
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
    sent = request.headers.get("Cookie")
    return sent.decode() if isinstance(sent, bytes) else sent


@pytest.fixture
def webui(requests_mock: Mocker) -> WebUI:
    return WebUI(requests_mock)


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


def failure(qbittorrent: QBittorrent, reason: Reason) -> SyncError:
    with pytest.raises(SyncError) as caught:
        qbittorrent.preferences()
    assert caught.value.reason is reason
    assert str(caught.value).startswith(f"qBittorrent at {URL} ")
    return caught.value


def refused(qbittorrent: QBittorrent) -> str:
    return str(failure(qbittorrent, Reason.QBITTORRENT_UNAUTHORIZED))


# Sessions


def test_a_missing_session_is_opened(any_webui: WebUI, qbittorrent: QBittorrent) -> None:
    assert qbittorrent.preferences().listen_port == 50001
    assert any_webui.calls == [READ, LOGIN, READ]
    assert any_webui.forms(LOGIN) == [{"username": "admin", "password": "adminadmin"}]


def test_a_session_is_kept(any_webui: WebUI, qbittorrent: QBittorrent) -> None:
    qbittorrent.preferences()
    qbittorrent.connection_status()
    qbittorrent.set_listen_port(51218)
    assert any_webui.calls == [READ, LOGIN, READ, INFO, WRITE]


def test_an_expired_session_is_renewed_once(any_webui: WebUI, qbittorrent: QBittorrent) -> None:
    qbittorrent.preferences()
    any_webui.calls.clear()
    any_webui.session = None
    qbittorrent.set_listen_port(51218)
    assert any_webui.calls == [WRITE, LOGIN, WRITE]
    first, second = any_webui.forms(WRITE)
    assert first == second


def test_a_login_is_sent_without_the_old_session(
    any_webui: WebUI, qbittorrent: QBittorrent
) -> None:
    qbittorrent.preferences()
    any_webui.session = None
    qbittorrent.preferences()
    logins = [request for request in any_webui.requests if path_of(request) == LOGIN]
    assert [cookie_of(login) for login in logins] == [None, None]


def test_every_cookie_of_a_login_is_sent_back(
    qbittorrent: QBittorrent, requests_mock: Mocker
) -> None:
    requests_mock.get(URL + READ, [{"status_code": 403}, {"json": SHOWN}])
    requests_mock.post(URL + LOGIN, text="Ok.", headers={"Set-Cookie": "Any-Name_1=a/b+c=="})
    qbittorrent.preferences()
    assert requests_mock.last_request is not None
    assert cookie_of(requests_mock.last_request) == "Any-Name_1=a/b+c=="


def test_no_login_is_sent_where_none_is_needed(webui: WebUI, qbittorrent: QBittorrent) -> None:
    webui.bypass = True
    qbittorrent.preferences()
    qbittorrent.set_listen_port(51218)
    assert webui.calls == [READ, WRITE]


def test_a_session_that_is_refused_after_the_login_is_not_renewed_for_ever(
    webui: WebUI, qbittorrent: QBittorrent, requests_mock: Mocker
) -> None:
    requests_mock.get(URL + READ, status_code=403)
    assert "took the login and refuses its session; check that no proxy" in refused(qbittorrent)
    assert webui.calls == [LOGIN]


def test_a_missing_session_is_no_error_to_an_observer(
    webui: WebUI, qbittorrent: QBittorrent, exchanges: list[Exchange]
) -> None:
    qbittorrent.preferences()
    assert [(each.operation, each.error) for each in exchanges] == [
        (READ, None),
        ("login", None),
        (READ, None),
    ]
    assert webui.session


def test_where_no_login_is_needed_the_session_that_comes_is_kept(
    qbittorrent: QBittorrent, requests_mock: Mocker
) -> None:
    opened = {"Set-Cookie": "SID=opened; path=/"}
    requests_mock.get(URL + READ, [{"json": SHOWN, "headers": opened}, {"json": SHOWN}])
    qbittorrent.preferences()
    qbittorrent.preferences()
    first, second = requests_mock.request_history
    assert (cookie_of(first), cookie_of(second)) == (None, "SID=opened")


def test_a_proxy_s_own_cookies_do_not_end_the_session(
    webui: WebUI, qbittorrent: QBittorrent, requests_mock: Mocker
) -> None:
    requests_mock.get(URL + INFO, text="{}", headers={"Set-Cookie": "proxy=1"})
    qbittorrent.preferences()
    for _ in range(2):
        qbittorrent.connection_status()
    assert requests_mock.last_request is not None
    assert cookie_of(requests_mock.last_request) == f"{webui.session}; proxy=1"


def test_cookies_do_not_pile_up(qbittorrent: QBittorrent, requests_mock: Mocker) -> None:
    names = (f"request-{number}" for number in count())
    requests_mock.get(
        URL + INFO,
        text=lambda _, context: context.headers.update({"Set-Cookie": f"{next(names)}=1"}) or "{}",
    )
    for _ in range(100):
        qbittorrent.connection_status()
    assert requests_mock.last_request is not None
    assert (cookie_of(requests_mock.last_request) or "").count("=") == 16


def test_a_logout_ends_the_session(any_webui: WebUI, qbittorrent: QBittorrent) -> None:
    qbittorrent.preferences()
    session = any_webui.session
    any_webui.calls.clear()
    for _ in range(2):
        qbittorrent.log_out()
    assert any_webui.calls == [LOGOUT]
    assert cookie_of(any_webui.requests[-1]) == session


def test_without_a_session_there_is_no_logout(webui: WebUI, qbittorrent: QBittorrent) -> None:
    qbittorrent.log_out()
    assert webui.calls == []


def test_what_it_took_to_be_let_in_is_known(webui: WebUI, make: Make) -> None:
    by_password = make()
    by_password.preferences()
    assert by_password.authentication is Authentication.PASSWORD
    webui.bypass = True
    bypassed, by_key = make(), make(QBITTORRENT_API_KEY="qbt_key")
    for qbittorrent in (bypassed, by_key):
        qbittorrent.preferences()
    assert bypassed.authentication is Authentication.BYPASS
    assert by_key.authentication is Authentication.API_KEY


@pytest.mark.parametrize(
    ("answer", "version"),
    [("v4.5.2", "4.5.2"), ("v5.3.0\n", "5.3.0"), ("v5.2.0beta1", "5.2.0beta1")],
)
def test_the_version_is_read(
    webui: WebUI, qbittorrent: QBittorrent, answer: str, version: str
) -> None:
    webui.answers(VERSION, answer)
    assert qbittorrent.version() == version


@pytest.mark.parametrize("answer", ["", "5.1.0", "<h1>Log in</h1>", "v" + "1" * 100, "v1 \x1b[2J"])
def test_what_is_no_version_is_told(webui: WebUI, qbittorrent: QBittorrent, answer: str) -> None:
    webui.answers(VERSION, answer)
    with pytest.raises(SyncError, match="answered with no version") as caught:
        qbittorrent.version()
    assert caught.value.reason is Reason.QBITTORRENT_INVALID_RESPONSE


# Refused logins


def test_a_wrong_password_is_told_with_what_comes_next(
    any_webui: WebUI, qbittorrent: QBittorrent, exchanges: list[Exchange]
) -> None:
    any_webui.password = "other"
    sentence = refused(qbittorrent)
    assert "refused the user name or the password" in sentence
    assert "correct QBITTORRENT_USER and QBITTORRENT_PASS" in sentence
    assert "the next login is tried in 1 min" in sentence
    assert "adminadmin" not in sentence
    assert [each.error for each in exchanges] == [None, ErrorKind.UNAUTHORIZED]


def test_at_most_four_logins_are_refused_in_a_row(
    any_webui: WebUI, qbittorrent: QBittorrent, clock: FakeClock
) -> None:
    any_webui.password = "other"
    logins = []
    for _ in range(60):
        sentence = refused(qbittorrent)
        if LOGIN in any_webui.calls:
            logins.append(clock.monotonic() / MINUTE)
        any_webui.calls.clear()
        clock.advance(MINUTE / 2)
    assert logins == [0, 1, 6, 21]
    assert "after 4 refusals no login is tried again" in sentence
    assert "until qBittorrent restarts or the credentials' file changes" in sentence
    clock.advance(YEAR)
    refused(qbittorrent)
    assert any_webui.calls == [READ]


def test_while_no_login_is_tried_the_last_refusal_is_told(
    webui: WebUI, qbittorrent: QBittorrent, exchanges: list[Exchange]
) -> None:
    webui.password = "other"
    first = refused(qbittorrent)
    exchanges.clear()
    assert refused(qbittorrent) == first
    assert [(each.operation, each.error) for each in exchanges] == [(READ, None)]


def give_up(webui: WebUI, qbittorrent: QBittorrent, clock: FakeClock) -> None:
    """Have every login refused until none is tried any more."""
    webui.password = "other"
    for _ in range(6):
        refused(qbittorrent)
        clock.advance(15 * MINUTE)
    assert webui.calls.count(LOGIN) == 4
    webui.calls.clear()


def test_qbittorrent_gone_in_between_allows_logins_again(
    any_webui: WebUI, qbittorrent: QBittorrent, clock: FakeClock
) -> None:
    give_up(any_webui, qbittorrent, clock)
    any_webui.gone = True
    failure(qbittorrent, Reason.QBITTORRENT_UNREACHABLE)
    any_webui.gone = False
    assert "the next login is tried in 1 min" in refused(qbittorrent)
    assert any_webui.calls.count(LOGIN) == 1


@pytest.mark.parametrize(
    "error", [requests.ReadTimeout(TimeoutError()), requests.ConnectionError(BrokenPipeError())]
)
def test_a_qbittorrent_that_is_slow_or_closes_has_not_restarted(
    webui: WebUI,
    qbittorrent: QBittorrent,
    clock: FakeClock,
    requests_mock: Mocker,
    error: Exception,
) -> None:
    give_up(webui, qbittorrent, clock)
    requests_mock.get(URL + READ, exc=error)
    failure(qbittorrent, Reason.QBITTORRENT_UNREACHABLE)
    requests_mock.get(URL + READ, status_code=403)
    refused(qbittorrent)
    assert LOGIN not in webui.calls


def test_a_changed_password_file_allows_a_login_again(
    any_webui: WebUI, make: Make, clock: FakeClock, tmp_path: Path
) -> None:
    password = tmp_path / "qbittorrent_pass"
    password.write_text("first\n")
    qbittorrent = make(tmp_path)
    give_up(any_webui, qbittorrent, clock)
    password.write_text("other\n")
    assert qbittorrent.preferences().listen_port == 50001
    assert any_webui.calls == [READ, LOGIN, READ]


def test_a_success_starts_the_count_afresh(
    any_webui: WebUI, qbittorrent: QBittorrent, clock: FakeClock
) -> None:
    any_webui.password = "other"
    for _ in range(3):
        refused(qbittorrent)
        clock.advance(15 * MINUTE)
    any_webui.password = "adminadmin"
    qbittorrent.preferences()
    any_webui.session, any_webui.password = None, "other"
    assert "the next login is tried in 1 min" in refused(qbittorrent)


def test_while_banned_a_login_is_tried_every_15_minutes(
    any_webui: WebUI, qbittorrent: QBittorrent, clock: FakeClock
) -> None:
    any_webui.banned = True
    logins = []
    for _ in range(120):
        sentence = str(failure(qbittorrent, Reason.QBITTORRENT_BANNED))
        if LOGIN in any_webui.calls:
            logins.append(clock.monotonic() / MINUTE)
        any_webui.calls.clear()
        clock.advance(MINUTE / 2)
    assert logins == [0, 15, 30, 45]
    assert "has banned this address" in sentence
    assert "restart qBittorrent" in sentence
    any_webui.banned = False
    assert qbittorrent.preferences().listen_port == 50001


def test_a_ban_ends_with_qbittorrent(webui: WebUI, qbittorrent: QBittorrent) -> None:
    webui.banned = True
    failure(qbittorrent, Reason.QBITTORRENT_BANNED)
    webui.gone = True
    failure(qbittorrent, Reason.QBITTORRENT_UNREACHABLE)
    webui.gone = webui.banned = False
    assert qbittorrent.preferences().listen_port == 50001


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (500, "", ErrorKind.HTTP_STATUS, "answered 500 to a login"),
        (302, "", ErrorKind.HTTP_STATUS, "answered 302 to a login"),
        (200, "<html>", ErrorKind.INVALID_RESPONSE, "answered a login with another page"),
    ],
)
def test_an_answer_to_a_login_that_is_none_is_no_refusal(
    webui: WebUI,
    qbittorrent: QBittorrent,
    requests_mock: Mocker,
    status: int,
    body: str,
    kind: ErrorKind,
    words: str,
) -> None:
    mocked = requests_mock.post(URL + LOGIN, status_code=status, text=body)
    for _ in range(6):
        error = failure(qbittorrent, Reason.QBITTORRENT_INVALID_RESPONSE)
        assert isinstance(error, ServiceError)
        assert error.kind is kind
        assert words in str(error)
    assert mocked.call_count == 6
    assert webui.session is None


def test_a_refused_host_header_is_told_and_no_login_tried(
    qbittorrent: QBittorrent, webui: WebUI, requests_mock: Mocker, exchanges: list[Exchange]
) -> None:
    requests_mock.get(URL + READ, status_code=401, text="Unauthorized")
    sentence = refused(qbittorrent)
    assert "refused the Host header" in sentence
    assert "WebUI\\ServerDomains" in sentence
    assert "8081:8080" in sentence
    assert [each.operation for each in exchanges] == [READ]
    assert exchanges[0].error is ErrorKind.UNAUTHORIZED
    assert webui.calls == []


# API keys


def test_an_api_key_is_sent_with_every_call_and_no_login(make: Make, requests_mock: Mocker) -> None:
    requests_mock.get(URL + READ, json=SHOWN)
    qbittorrent = make(QBITTORRENT_API_KEY="qbt_key")
    for _ in range(2):
        qbittorrent.preferences()
    sent = [request.headers["Authorization"] for request in requests_mock.request_history]
    assert sent == [b"Bearer qbt_key"] * 2


def test_a_wrong_api_key_is_told_and_tried_every_time(
    make: Make, webui: WebUI, exchanges: list[Exchange]
) -> None:
    qbittorrent = make(QBITTORRENT_API_KEY="qbt_wrong")
    for _ in range(10):
        sentence = refused(qbittorrent)
    assert "refused the API key; correct QBITTORRENT_API_KEY" in sentence
    assert "qbt_wrong" not in sentence
    assert webui.calls == [READ] * 10
    assert {each.error for each in exchanges} == {ErrorKind.UNAUTHORIZED}


def test_an_api_key_that_changes_on_disk_is_sent_anew(
    make: Make, requests_mock: Mocker, tmp_path: Path
) -> None:
    requests_mock.get(URL + READ, json=SHOWN)
    key = tmp_path / "qbittorrent_api_key"
    key.write_text("first")
    qbittorrent = make(tmp_path)
    qbittorrent.preferences()
    key.write_text("second")
    qbittorrent.preferences()
    sent = [request.headers["Authorization"] for request in requests_mock.request_history]
    assert sent == [b"Bearer first", b"Bearer second"]


# Preferences


@pytest.fixture
def open_webui(webui: WebUI) -> WebUI:
    """One that needs no login."""
    webui.bypass = True
    return webui


def test_preferences_are_read(open_webui: WebUI, qbittorrent: QBittorrent) -> None:
    assert qbittorrent.preferences() == Preferences(50001, False, True, "tun0")
    assert open_webui.calls == [READ]


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_cannot_be_is_read_as_it_is(
    open_webui: WebUI, qbittorrent: QBittorrent, port: int
) -> None:
    open_webui.answers(READ, json.dumps({"listen_port": port}))
    assert qbittorrent.preferences() == Preferences(port, False, False, "")


@pytest.mark.parametrize("value", [None, 1, "true", [], 0])
def test_a_switch_that_is_not_true_is_off(
    open_webui: WebUI, qbittorrent: QBittorrent, value: object
) -> None:
    open_webui.answers(READ, json.dumps({**SHOWN, "random_port": value, "upnp": value}))
    assert qbittorrent.preferences() == Preferences(50001, False, False, "tun0")


NO_PREFERENCES = [
    "{}",
    *(f'{{"listen_port":{port}}}' for port in ("null", "true", "1.0", '"1"', "[1]", "{}")),
    *(f'{{"listen_port":1,"current_network_interface":{name}}}' for name in ("null", "0", "[]")),
]


@pytest.mark.parametrize("body", NO_PREFERENCES)
def test_preferences_of_wrong_types_are_told(
    open_webui: WebUI, qbittorrent: QBittorrent, body: str
) -> None:
    open_webui.answers(READ, body)
    error = failure(qbittorrent, Reason.QBITTORRENT_INVALID_RESPONSE)
    assert "answered preferences without a listen_port" in str(error)


@pytest.mark.parametrize("body", ["", "Ok.", "<html>", "[]", '{"listen_port":1,"listen_port":2}'])
def test_preferences_that_are_no_json_are_told(
    open_webui: WebUI, qbittorrent: QBittorrent, body: str
) -> None:
    open_webui.answers(READ, body)
    error = failure(qbittorrent, Reason.QBITTORRENT_INVALID_RESPONSE)
    assert "answered with something that is not a JSON object" in str(error)
    assert "QBITTORRENT_HOST and QBITTORRENT_PORT" in str(error)


@pytest.mark.parametrize("status", [301, 400, 404, 500, 503])
def test_another_status_is_told(
    qbittorrent: QBittorrent, requests_mock: Mocker, status: int
) -> None:
    requests_mock.get(URL + READ, status_code=status)
    error = failure(qbittorrent, Reason.QBITTORRENT_INVALID_RESPONSE)
    assert f"answered {status};" in str(error)
    assert isinstance(error, ServiceError)
    assert error.kind is ErrorKind.HTTP_STATUS


@pytest.mark.parametrize(
    ("status", "known"),
    [
        ("connected", ConnectionStatus.CONNECTED),
        ("firewalled", ConnectionStatus.FIREWALLED),
        ("disconnected", ConnectionStatus.DISCONNECTED),
        ("Connected", None),
        ("unknown", None),
        ("", None),
        (None, None),
        (1, None),
        ([], None),
        ({}, None),
    ],
)
def test_a_connection_status_is_one_of_three_or_none(
    open_webui: WebUI,
    qbittorrent: QBittorrent,
    status: object,
    known: ConnectionStatus | None,
) -> None:
    open_webui.answers(INFO, json.dumps({"connection_status": status}))
    assert qbittorrent.connection_status() is known


def test_a_missing_connection_status_is_none(open_webui: WebUI, qbittorrent: QBittorrent) -> None:
    open_webui.answers(INFO, "{}")
    assert qbittorrent.connection_status() is None


@pytest.mark.parametrize("port", [1, 51218, 65535])
def test_a_port_is_set_with_what_a_forwarded_port_needs(
    open_webui: WebUI, qbittorrent: QBittorrent, port: int
) -> None:
    qbittorrent.set_listen_port(port)
    [form] = open_webui.forms(WRITE)
    assert list(form) == ["json"]
    assert json.loads(form["json"]) == {"listen_port": port, "random_port": False, "upnp": False}


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_never_set(
    open_webui: WebUI, qbittorrent: QBittorrent, port: int
) -> None:
    with pytest.raises(ValueError, match=f"{port} is no port"):
        qbittorrent.set_listen_port(port)
    assert open_webui.calls == []


@pytest.mark.parametrize("status", [200, 201, 204])
def test_any_2xx_is_a_port_set(
    qbittorrent: QBittorrent, requests_mock: Mocker, status: int
) -> None:
    mocked = requests_mock.post(URL + WRITE, status_code=status, text="whatever")
    qbittorrent.set_listen_port(51218)
    assert mocked.call_count == 1


def test_a_port_that_is_not_taken_is_told(qbittorrent: QBittorrent, requests_mock: Mocker) -> None:
    requests_mock.post(URL + WRITE, status_code=400)
    with pytest.raises(ServiceError, match="answered 400") as caught:
        qbittorrent.set_listen_port(51218)
    assert caught.value.kind is ErrorKind.HTTP_STATUS


# Its log

LOG = "/api/v2/log/main"
ENTRIES = [
    {"id": 3, "type": 8, "message": 'Failed to listen. IP: "10.2.0.2". Port: "TCP/51218". Why'},
    {"id": 5, "type": 8, "message": 'Ecoute impossible : "::1" "TCP/51218" à 12:30'},
    {"id": 4, "type": 8, "message": 'Failed to listen. IP: "10.2.0.2". Port: "TCP/5121"'},
    {"id": 4, "type": 8, "message": 'Failed to listen. IP: "10.2.0.3". Port: "TCP/512180"'},
    {"id": 6, "type": 8, "message": 'Failed to listen. IP: "10.2.0.2". Port: "UDP/51218"'},
    {"id": 7, "type": 8, "message": "Disk full"},
    "nonsense",
    {"id": "8", "message": "TCP/51218 10.2.0.3"},
    {"id": 9, "message": None},
]


def test_the_log_tells_where_a_port_could_not_be_listened_on(
    qbittorrent: QBittorrent, requests_mock: Mocker
) -> None:
    mocked = requests_mock.get(URL + LOG, json=ENTRIES)
    failures = qbittorrent.listen_failures(51218, after=2)
    assert [str(failure.address) for failure in failures] == ["10.2.0.2", "::1"]
    assert mocked.request_history[-1].qs == {
        "normal": ["false"],
        "info": ["false"],
        "warning": ["false"],
        "critical": ["true"],
        "last_known_id": ["2"],
    }


@pytest.mark.parametrize(("entries", "last"), [(ENTRIES, 7), ([], -1)])
def test_the_last_entry_of_the_log_is_known_by_its_id(
    qbittorrent: QBittorrent, requests_mock: Mocker, entries: list[object], last: int
) -> None:
    requests_mock.get(URL + LOG, json=entries)
    assert qbittorrent.last_log_id() == last


@pytest.mark.parametrize("body", ["", "{}", "null", "<html>"])
def test_a_log_that_is_none_is_told(
    qbittorrent: QBittorrent, requests_mock: Mocker, body: str
) -> None:
    requests_mock.get(URL + LOG, text=body)
    with pytest.raises(ServiceError, match="is not a JSON array") as caught:
        qbittorrent.last_log_id()
    assert caught.value.reason is Reason.QBITTORRENT_INVALID_RESPONSE


# Credentials and their limit


def test_credentials_show_in_no_repr() -> None:
    for text in (repr(Credentials("me", "secret")), str(Credentials("me", "secret"))):
        assert "me" not in text
        assert "secret" not in text
    assert Credentials("me", "secret") == Credentials("me", "secret")
    assert Credentials("me", "secret") != Credentials("me", "other")


ME = Credentials("me", "secret")


def test_the_limit_allows_a_login_at_the_end_of_each_pause(clock: FakeClock) -> None:
    limit = LoginLimit(clock)
    limit.check(ME)
    for minutes in (1, 5, 15):
        limit.refused(ME, "qBittorrent")
        clock.advance(minutes * MINUTE - 0.001)
        with pytest.raises(SyncError):
            limit.check(ME)
        clock.advance(0.001)
        limit.check(ME)
    limit.refused(ME, "qBittorrent")
    clock.advance(YEAR)
    with pytest.raises(SyncError, match="no login is tried again"):
        limit.check(ME)
    limit.check(Credentials("me", "other"))
    limit.forget()
    limit.check(ME)


def test_the_limit_goes_on_counting_when_the_credentials_change(clock: FakeClock) -> None:
    # qBittorrent counts by address, whatever the user name.
    limit = LoginLimit(clock)
    for number in range(4):
        error = limit.refused(Credentials("me", str(number)), "qBittorrent")
    assert "after 4 refusals" in str(error)


def test_the_limit_raises_a_new_error_each_time(clock: FakeClock) -> None:
    limit = LoginLimit(clock)
    limit.banned(ME, "qBittorrent")
    raised = []
    for _ in range(2):
        with pytest.raises(SyncError) as caught:
            limit.check(ME)
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert [error.reason for error in raised] == [Reason.QBITTORRENT_BANNED] * 2
