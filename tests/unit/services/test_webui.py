"""How qBittorrent's releases are logged in to, and when no login is sent."""

import socket
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from qsticky.errors import ErrorKind, Reason, ServiceError, SyncError
from qsticky.services.factory import make_qbittorrent
from qsticky.services.http import Exchange
from qsticky.services.login_limit import LoginLimit
from qsticky.services.qbittorrent import QBittorrent
from tests.fakes import FakeClock
from tests.unit.conftest import Load
from tests.unit.services.conftest import (
    FORBIDDEN,
    INFO,
    LOGIN,
    LOGOUT,
    READ,
    SHOWN,
    TEXT,
    UNAUTHORIZED,
    URL,
    VERSION,
    WRITE,
    Make,
    WebUI,
    cookie_of,
    path_of,
)
from tests.unit.services.mocker import Mocker

MINUTE = 60.0
YEAR = 365 * 24 * 60 * MINUTE


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
    qbittorrent.transfer_info()
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


def test_every_cookie_of_a_login_is_sent_back(qbittorrent: QBittorrent, mocker: Mocker) -> None:
    mocker.get(URL + READ, [FORBIDDEN, {"json": SHOWN}])
    mocker.post(URL + LOGIN, text="Ok.", headers={"Set-Cookie": "Any-Name_1=a/b+c=="})
    qbittorrent.preferences()
    assert cookie_of(mocker.last_request) == "Any-Name_1=a/b+c=="


def test_no_login_is_sent_where_none_is_needed(webui: WebUI, qbittorrent: QBittorrent) -> None:
    webui.bypass = True
    qbittorrent.preferences()
    qbittorrent.set_listen_port(51218)
    assert webui.calls == [READ, WRITE]


def test_a_session_that_is_refused_after_the_login_is_not_renewed_for_ever(
    webui: WebUI, qbittorrent: QBittorrent, mocker: Mocker
) -> None:
    mocker.get(URL + READ, **FORBIDDEN)
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
    qbittorrent: QBittorrent, mocker: Mocker
) -> None:
    opened = {"Set-Cookie": "SID=opened; path=/"}
    mocker.get(URL + READ, [{"json": SHOWN, "headers": opened}, {"json": SHOWN}])
    qbittorrent.preferences()
    qbittorrent.preferences()
    first, second = mocker.request_history
    assert (cookie_of(first), cookie_of(second)) == (None, "SID=opened")


def test_only_the_cookies_of_the_last_login_are_kept(
    webui: WebUI, qbittorrent: QBittorrent, mocker: Mocker
) -> None:
    names = (f"request-{number}" for number in count())
    mocker.get(
        URL + INFO,
        text=lambda _, context: context.headers.update({"Set-Cookie": f"{next(names)}=1"}) or "{}",
    )
    qbittorrent.preferences()
    for _ in range(3):
        qbittorrent.transfer_info()
    assert cookie_of(mocker.last_request) == webui.session


def test_a_cookie_of_more_than_1_kib_is_not_kept(qbittorrent: QBittorrent, mocker: Mocker) -> None:
    mocker.get(URL + READ, [FORBIDDEN, {"json": SHOWN}])
    cookies = {"Set-Cookie": f"SID=abc, long={'x' * 1024}, short=1"}
    mocker.post(URL + LOGIN, text="Ok.", headers=cookies)
    qbittorrent.preferences()
    assert len(cookie_of(mocker.last_request) or "") < 1024


@pytest.mark.parametrize("status", [400, 401, 403, 431])
def test_a_refusal_of_any_kind_ends_the_session(
    webui: WebUI, qbittorrent: QBittorrent, mocker: Mocker, status: int
) -> None:
    qbittorrent.preferences()
    mocked = mocker.get(URL + INFO, [{"status_code": status, "text": "Too much"}, {}])
    with pytest.raises(SyncError):
        qbittorrent.transfer_info()
    with pytest.raises(SyncError, match="not a JSON object"):
        qbittorrent.transfer_info()
    sent = [cookie_of(request) for request in mocked.request_history]
    assert sent == [webui.session, None]


def test_whatever_may_come_of_another_process_is_noticed(
    webui: WebUI, qbittorrent: QBittorrent, mocker: Mocker
) -> None:
    numbers = [qbittorrent.sockets_may_differ]

    def differs() -> bool:
        numbers.append(qbittorrent.sockets_may_differ)
        return numbers[-1] != numbers[-2]

    qbittorrent.preferences()
    assert not differs()
    webui.session = None  # lost
    qbittorrent.preferences()
    assert differs()
    webui.gone = True
    failure(qbittorrent, Reason.QBITTORRENT_UNREACHABLE)
    assert differs()
    webui.gone = False
    qbittorrent.preferences()
    assert not differs()
    mocker.get(URL + INFO, text="{}", headers={"Set-Cookie": "proxy=1"})
    qbittorrent.transfer_info()
    assert not differs()
    mocker.get(URL + INFO, text="{}", headers={"Set-Cookie": "SID=new"})
    qbittorrent.transfer_info()
    assert differs()
    qbittorrent.transfer_info()
    assert not differs()


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
    assert "after 4 logins without success none is sent any more" in sentence
    assert "otherwise restart qSticky" in sentence
    clock.advance(YEAR)
    refused(qbittorrent)
    assert any_webui.calls == [READ]


def test_just_before_a_login_its_seconds_are_told(webui: WebUI, load: Load) -> None:
    config = load(QBITTORRENT_HOST="qbittorrent", REQUEST_TIMEOUT=7)
    told: list[tuple[float, int]] = []
    qbittorrent = make_qbittorrent(
        config,
        lambda _: None,
        LoginLimit(FakeClock()),
        lambda seconds: told.append((seconds, webui.calls.count(LOGIN))),
    )
    qbittorrent.preferences()
    assert told == [(67.0, 0)]


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


def test_a_proved_restart_allows_logins_again(
    any_webui: WebUI, qbittorrent: QBittorrent, clock: FakeClock
) -> None:
    give_up(any_webui, qbittorrent, clock)
    qbittorrent.restart_proved()
    assert "the next login is tried in 1 min" in refused(qbittorrent)
    assert any_webui.calls.count(LOGIN) == 1


@pytest.mark.parametrize("header", ["Server", "Via"])
def test_behind_a_proxy_a_socket_proves_no_restart(
    webui: WebUI,
    qbittorrent: QBittorrent,
    clock: FakeClock,
    mocker: Mocker,
    header: str,
) -> None:
    give_up(webui, qbittorrent, clock)
    proxied = {**FORBIDDEN, "headers": {**TEXT, header: "nginx"}}
    mocker.get(URL + READ, [proxied, FORBIDDEN])
    for _ in range(2):
        refused(qbittorrent)
        qbittorrent.restart_proved()
    assert "none is sent any more" in refused(qbittorrent)
    assert LOGIN not in webui.calls


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        BrokenPipeError(),
        ConnectionRefusedError(),
        socket.gaierror(socket.EAI_NONAME, "no such name"),
    ],
    ids=["slow", "closed", "refused", "unknown"],
)
def test_a_qbittorrent_that_is_away_for_a_moment_has_not_restarted(
    webui: WebUI,
    qbittorrent: QBittorrent,
    clock: FakeClock,
    mocker: Mocker,
    error: Exception,
) -> None:
    give_up(webui, qbittorrent, clock)
    mocker.get(URL + READ, exc=error)
    failure(qbittorrent, Reason.QBITTORRENT_UNREACHABLE)
    mocker.get(URL + READ, **FORBIDDEN)
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


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 500, "text": ""},
        {"status_code": 504, "text": "<h1>Gateway Time-out</h1>"},
        {"status_code": 302, "text": ""},
        {"text": "<html>"},
        {"text": "", "headers": TEXT},
        {"text": "Fails.\n", "headers": TEXT},
        {**FORBIDDEN},
        {"status_code": 403, "text": "<h1>Forbidden</h1>", "headers": TEXT},
        {"status_code": 403, "text": '{"error": "denied"}', "headers": TEXT},
        {"status_code": 403, "text": "One line.\nAnother.", "headers": TEXT},
        {"status_code": 403, "text": "x" * 401, "headers": TEXT},
        {"status_code": 403, "text": "", "headers": TEXT},
        {"status_code": 403, "text": "Go away.", "headers": {"Content-Type": "text/html"}},
        {"status_code": 401, "text": "Unauthorized\n", "headers": TEXT},
        {**UNAUTHORIZED, "headers": {**TEXT, "WWW-Authenticate": "Basic"}},
    ],
)
def test_an_answer_to_a_login_that_is_not_qbittorrent_s_is_neither_a_refusal_nor_a_ban(
    webui: WebUI,
    qbittorrent: QBittorrent,
    mocker: Mocker,
    exchanges: list[Exchange],
    answer: dict[str, Any],
) -> None:
    mocked = mocker.post(URL + LOGIN, **answer)
    for _ in range(6):
        failure(qbittorrent, Reason.QBITTORRENT_INVALID_RESPONSE)
    assert mocked.call_count == 1  # it may have been a refusal all the same
    assert ErrorKind.UNAUTHORIZED not in {each.error for each in exchanges}
    assert webui.session is None


@pytest.mark.parametrize(
    "sentence",
    ["Your IP address has been banned.", "Вы заблокированы после многих попыток."],
)
def test_a_ban_is_told_in_any_language(
    webui: WebUI, qbittorrent: QBittorrent, mocker: Mocker, sentence: str
) -> None:
    mocker.post(URL + LOGIN, status_code=403, text=sentence, headers=TEXT)
    told = str(failure(qbittorrent, Reason.QBITTORRENT_BANNED))
    assert "has banned this address" in told
    assert "restart qBittorrent" in told
    assert "the next login is tried in 15 min" in told
    assert webui.calls == [READ]


def test_the_host_header_s_refusal_is_told_and_no_login_sent(
    qbittorrent: QBittorrent, webui: WebUI, mocker: Mocker, exchanges: list[Exchange]
) -> None:
    mocker.get(URL + READ, **UNAUTHORIZED)
    mocker.get(URL + VERSION, **UNAUTHORIZED)
    sentence = refused(qbittorrent)
    assert 'refuses the name "qbittorrent" in the Host header; add it to its server' in sentence
    assert "WebUI\\ServerDomains" in sentence
    assert "8081:8080" in sentence
    assert {each.operation: each.error for each in exchanges} == {
        READ: ErrorKind.UNAUTHORIZED,
        VERSION: None,
    }
    assert webui.calls == []


def test_the_refusal_of_a_port_in_the_host_header_is_told_apart(
    qbittorrent: QBittorrent, webui: WebUI, mocker: Mocker
) -> None:
    mocker.get(URL + READ, **UNAUTHORIZED)
    sentence = refused(qbittorrent)
    assert "refuses port 8080 in the Host header" in sentence
    assert webui.requests[-1].headers["Host"] == "qbittorrent"


@pytest.mark.parametrize(
    ("status", "body", "headers", "words"),
    [
        (401, "<h1>401</h1>", {"WWW-Authenticate": 'Basic realm="x"'}, "asks for another login"),
        (401, "Unauthorized", {**TEXT, "WWW-Authenticate": "Basic"}, "asks for another login"),
        (401, "Unauthorized\n", TEXT, "answered 401 in words that are not qBittorrent's"),
        (401, "", {}, "answered 401 in words that are not qBittorrent's"),
        (403, "<h1>Forbidden</h1>", {"Content-Type": "text/html"}, "answered 403 in words that"),
        (403, "Forbidden", {"Content-Type": "text/html"}, "answered 403 in words that"),
        (403, "Forbidden\n", TEXT, "answered 403 in words that are not qBittorrent's"),
    ],
)
@pytest.mark.parametrize("api_key", ["", "qbt_key"])
def test_only_qbittorrent_s_own_words_are_its_refusal(
    make: Make,
    webui: WebUI,
    mocker: Mocker,
    status: int,
    body: str,
    headers: dict[str, str],
    words: str,
    api_key: str,
) -> None:
    mocker.get(URL + READ, status_code=status, text=body, headers=headers)
    qbittorrent = make(QBITTORRENT_API_KEY=api_key)
    error = failure(qbittorrent, Reason.QBITTORRENT_INVALID_RESPONSE)
    assert isinstance(error, ServiceError)
    assert error.kind is ErrorKind.INVALID_RESPONSE
    assert words in str(error)
    assert "QBITTORRENT_PORT" in str(error)
    assert "proxy" in str(error)
    assert webui.calls == []


# API keys


def test_an_api_key_is_sent_with_every_call_and_no_login(make: Make, mocker: Mocker) -> None:
    mocker.get(URL + READ, json=SHOWN)
    qbittorrent = make(QBITTORRENT_API_KEY="qbt_key")
    for _ in range(2):
        qbittorrent.preferences()
    sent = [request.headers["Authorization"] for request in mocker.request_history]
    assert sent == ["Bearer qbt_key"] * 2


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
    make: Make, mocker: Mocker, tmp_path: Path
) -> None:
    mocker.get(URL + READ, json=SHOWN)
    key = tmp_path / "qbittorrent_api_key"
    key.write_text("first")
    qbittorrent = make(tmp_path)
    qbittorrent.preferences()
    key.write_text("second")
    qbittorrent.preferences()
    sent = [request.headers["Authorization"] for request in mocker.request_history]
    assert sent == ["Bearer first", "Bearer second"]
