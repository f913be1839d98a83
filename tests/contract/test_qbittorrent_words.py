"""qBittorrent's exact words, by which it is told from whatever stands in front of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from qsticky.services import words
from qsticky.services.http import HttpClient, Response, unobserved
from qsticky.services.qbittorrent import qbittorrent_service
from qsticky.services.words import LoginVerdict
from tests.contract.targets import API_KEY, Start, Subject, every_release, since_5_2

VERSION = "/api/v2/app/version"
LOGIN = "/api/v2/auth/login"


def ask(
    subject: Subject,
    header: tuple[str, str] | None = None,
    path: str = VERSION,
    form: Mapping[str, str] | None = None,
) -> Response:
    http = HttpClient(qbittorrent_service(subject.url), 10, unobserved)
    headers = {header[0]: header[1].encode()} if header else {}
    with http.exchange("POST" if form else "GET", path, headers=headers, form=form) as answer:
        return answer


def log_in(
    subject: Subject, password: str = "adminadmin", header: tuple[str, str] | None = None
) -> Response:
    return ask(subject, header, LOGIN, {"username": "admin", "password": password})


@every_release
@pytest.mark.parametrize("path", [VERSION, "/api/v2/nothing/here"])
def test_without_a_session_it_says_forbidden(qbittorrent: Subject, path: str) -> None:
    for header in (None, ("Cookie", "SID=none"), ("Authorization", "Bearer qbt_wrong")):
        answer = ask(qbittorrent, header, path)
        assert words.is_forbidden(answer)
        assert "Server" not in answer.headers


@every_release
def test_a_refused_host_or_origin_is_told_unauthorized(qbittorrent: Subject) -> None:
    for header in (("Host", "127.0.0.1:1"), ("Origin", "http://other.example")):
        assert words.is_unauthorized(ask(qbittorrent, header))
        assert words.is_unauthorized(log_in(qbittorrent, header=header))


@every_release
def test_a_host_without_a_port_is_taken(qbittorrent: Subject) -> None:
    assert words.is_forbidden(ask(qbittorrent, ("Host", "127.0.0.1")))


@every_release
def test_a_login_is_taken_refused_and_banned_in_its_words(start: Start) -> None:
    subject = start(max_failed_logins=2)
    assert words.login_verdict(log_in(subject)) is LoginVerdict.ACCEPTED
    for _ in range(2):
        assert words.login_verdict(log_in(subject, "wrong")) is LoginVerdict.REFUSED
    for password in ("wrong", "adminadmin"):
        assert words.login_verdict(log_in(subject, password)) is LoginVerdict.BANNED
    assert words.is_forbidden(ask(subject))  # so that a call says nothing of the ban


@since_5_2
def test_an_api_key_is_taken_while_banned(start: Start) -> None:
    subject = start(max_failed_logins=1, api_key=API_KEY)
    log_in(subject, "wrong")
    assert words.login_verdict(log_in(subject)) is LoginVerdict.BANNED
    assert ask(subject, ("Authorization", f"Bearer {API_KEY}")).ok
