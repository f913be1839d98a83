"""What stands in qBittorrent's place, or in front of it: told for what it is, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.errors import Reason, SyncError
from qsticky.services.qbittorrent import QBittorrent
from tests.clients import qbittorrent_client
from tests.contract.targets import Options, Subject, Target, every_real_one
from tests.fakes import FakeClock
from tests.proxy import Nginx
from tests.real import free_port


@pytest.fixture
def server(target: Target) -> Iterator[Subject]:
    with target.run(Options()) as subject:
        yield subject


def client(port: int) -> QBittorrent:
    return qbittorrent_client(f"http://127.0.0.1:{port}", FakeClock())


def problem(port: int, reason: Reason = Reason.QBITTORRENT_INVALID_RESPONSE) -> str:
    """Ask, which must fail, three times alike, and return the sentence."""
    asking = client(port)
    told = set()
    for _ in range(3):
        with pytest.raises(SyncError) as caught:
            asking.preferences()
        assert caught.value.reason is reason
        told.add(str(caught.value))
    [sentence] = told
    return sentence


def passing(server: Subject, directives: str = "", path: str = "/") -> str:
    return f"location {path} {{ proxy_pass {server.url}; {directives} }}"


PASSWORD_FILE = "admin:{PLAIN}secret\n"


@every_real_one
def test_a_proxy_that_only_passes_on_is_not_noticed(server: Subject, tmp_path: Path) -> None:
    with Nginx(tmp_path, passing(server)) as nginx:
        asking, port = client(nginx.port), free_port()
        asking.set_listen_port(port)
        assert asking.preferences().listen_port == port
        assert asking.listen_log(port, None)


@every_real_one
def test_a_proxy_s_own_login_is_told(server: Subject, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(PASSWORD_FILE)
    asks = f'auth_basic "Private"; auth_basic_user_file {tmp_path}/users;'
    with Nginx(tmp_path, passing(server, asks)) as nginx:
        sentence = problem(nginx.port)
    assert "asks for another login than qBittorrent's (401 with WWW-Authenticate)" in sentence
    assert "let QBITTORRENT_HOST and QBITTORRENT_PORT name qBittorrent itself" in sentence
    assert "have the proxy pass /api/v2 on without a login of its own" in sentence
    followed = asks + "} " + passing(server, "auth_basic off;", "/api/v2").removesuffix("}")
    with Nginx(tmp_path, passing(server, followed)) as nginx:
        assert client(nginx.port).preferences()


@every_real_one
def test_a_proxy_s_list_of_addresses_is_no_ban(server: Subject, tmp_path: Path) -> None:
    with Nginx(tmp_path, passing(server, "deny all;")) as nginx:
        sentence = problem(nginx.port)
    assert "answered 403 in words that are not qBittorrent's" in sentence
    assert "have the proxy let qSticky's address through" in sentence
    login = passing(server) + passing(server, "deny all;", "/api/v2/auth/login")
    with Nginx(tmp_path, login) as nginx:
        assert "answered 403 in words that are not qBittorrent's" in problem(nginx.port)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("return 302 /login;", "answered 302"),
        ("return 200 '<h1>Log in</h1>';", "answered with something that is not a JSON object"),
        ("return 404;", "answered 404"),
        ("return 502;", "answered 502"),
        ("return 403;", "answered 403 in words that are not qBittorrent's"),
        ('return 403 \'{"message":"denied"}\';', "answered 403 in words that are"),
    ],
)
def test_a_proxy_s_own_pages_are_told(tmp_path: Path, answer: str, words: str) -> None:
    with Nginx(tmp_path, f"location / {{ {answer} }}") as nginx:
        sentence = problem(nginx.port)
    assert words in sentence
    assert "QBITTORRENT_PORT" in sentence


def test_gluetun_at_qbittorrent_s_port_is_told() -> None:
    with GluetunSimulator(api_key="key") as gluetun:
        sentence = problem(gluetun.port)
    assert "answered 401 in words that are not qBittorrent's: it is another service" in sentence
    assert "QBITTORRENT_PORT" in sentence


@every_real_one
def test_a_host_header_that_a_proxy_hands_on_is_told_as_the_proxy_s(
    server: Subject, tmp_path: Path
) -> None:
    hands_on = "proxy_set_header Host $http_host;"
    with Nginx(tmp_path, passing(server, hands_on)) as nginx:
        sentence = problem(nginx.port, Reason.QBITTORRENT_UNAUTHORIZED)
    assert "refuses the Host header as the proxy in front of it passes it on" in sentence
    assert "proxy_set_header Host $proxy_host" in sentence
    with Nginx(tmp_path, passing(server, "proxy_set_header Host $proxy_host;")) as nginx:
        assert client(nginx.port).preferences()


@every_real_one
def test_cookies_that_a_proxy_piles_up_are_not_sent_back(server: Subject, tmp_path: Path) -> None:
    piles = "add_header Set-Cookie $request_id=$request_id$request_id always;"
    narrow = "large_client_header_buffers 4 1k;"
    with Nginx(tmp_path, narrow + passing(server, piles)) as nginx:
        asking = client(nginx.port)
        for _ in range(60):
            asking.transfer_info()
