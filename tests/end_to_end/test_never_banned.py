"""qBittorrent's login limit: whatever is wrong, qSticky never earns a ban, and gets over one."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.errors import ErrorKind, Reason, SyncError
from qsticky.services.http import Exchange, HttpClient
from qsticky.services.login_limit import Credentials, LoginLimit
from qsticky.services.qbittorrent import QBittorrent, qbittorrent_service
from qsticky.services.webui import LOGIN
from tests.contract.targets import (
    API_KEY,
    PASSWORD,
    TARGETS,
    Options,
    Subject,
    Target,
    every_real_one,
    since_5_2,
)
from tests.end_to_end.conftest import Start
from tests.fakes import FakeClock
from tests.proxy import Nginx
from tests.real import free_port, wait_until

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WRONG = "wrong"
NEW = "new-password"  # qBittorrent takes none of fewer than six characters
WRONG_KEY = "qbt_" + 28 * "0"
FIRST_FOUR = [0.0, 1 * MINUTE, 6 * MINUTE, 21 * MINUTE]  # then after 1, 5 and 15 minutes
ENOUGH = 30 * MINUTE

# Logins are answered in one way up to 5.1 and in another since: all of the real ones, and a
# simulator of each.
either_dialect = pytest.mark.parametrize(
    "target",
    [target for target in TARGETS if target.kind == "real" or target.version in ((4, 5), (5, 3))],
    ids=str,
)


@dataclass
class User:
    """qSticky's own client and login limit, in simulated time, with a password as it is now."""

    url: str
    password: str = WRONG
    api_key: str = ""
    timeout: float = 10
    clock: FakeClock = field(default_factory=FakeClock)
    logins: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._limit = LoginLimit(self.clock)
        self.move(self.url)

    def move(self, url: str) -> None:
        """Find qBittorrent at another address from now on."""
        self._qbittorrent = QBittorrent(
            HttpClient(qbittorrent_service(url), self.timeout, self._observe),
            lambda: Credentials("admin", self.password),
            lambda: self.api_key,
            self._limit,
        )

    def call(self) -> Reason | None:
        """Read the preferences, and return the reason where that can't be."""
        try:
            self._qbittorrent.preferences()
        except SyncError as error:
            return error.reason
        return None

    def problem(self) -> str:
        """Read the preferences, which can't be, and return the sentence."""
        with pytest.raises(SyncError) as caught:
            self._qbittorrent.preferences()
        return str(caught.value)

    def see_a_restart(self) -> None:
        """Have the kernel prove that qBittorrent restarted."""
        self._qbittorrent.restart_proved()

    def call_every(self, seconds: float, until: float) -> set[Reason | None]:
        """Go on calling for a time, and return the reasons."""
        reasons = set()
        end = self.clock.monotonic() + until
        while self.clock.monotonic() < end:
            reasons.add(self.call())
            self.clock.advance(seconds)
        return reasons

    def _observe(self, exchange: Exchange) -> None:
        if exchange.operation == LOGIN:
            self.logins.append(self.clock.monotonic())
            if exchange.error is ErrorKind.UNAUTHORIZED:
                self.refusals.append(self.clock.monotonic())


@pytest.fixture
def server(target: Target) -> Iterator[Subject]:
    """A fresh qBittorrent with its own limit of five, and its own ban of an hour."""
    with target.run(Options(api_key=API_KEY)) as subject:
        yield subject


@pytest.fixture(scope="module")
def lasting() -> Iterator[Callable[[Target], Subject]]:
    """Start each qBittorrent once for several tests."""
    with ExitStack() as running:
        yield cache(lambda target: running.enter_context(target.run(Options())))


def is_banned(server: Subject) -> bool:
    """Log in with the right password, and tell whether the address is banned.

    If it is not, its refusals are forgotten.
    """
    response = server.client().login()
    assert response.ok != (response.status_code == 403 and "banned" in response.text)
    return not response.ok


def refuse(server: Subject, times: int) -> None:
    """Have another program at this address fail to log in, before any ban."""
    client = server.client()
    for _ in range(times):
        response = client.login(WRONG)
        assert response.status_code == 401 or response.text == "Fails.", response.text


def ban(server: Subject) -> None:
    """Have another program at this address earn the ban."""
    refuse(server, 5)
    assert is_banned(server)


def set_password(server: Subject, password: str) -> None:
    """Set qBittorrent's own password."""
    if isinstance(server.server, QBittorrentSimulator):
        server.server.password = password
    else:
        form = {"json": f'{{"web_ui_password": "{password}"}}'}
        assert server.logged_in().post("app/setPreferences", form).ok


@either_dialect
def test_a_wrong_password_is_refused_four_times_in_a_day_and_brings_no_ban(
    server: Subject,
) -> None:
    user = User(server.url)
    assert user.call_every(10 * MINUTE, DAY) == {Reason.QBITTORRENT_UNAUTHORIZED}
    # With a call only every ten minutes, a login that is due waits for one.
    assert user.refusals == user.logins == [0, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE]
    assert not is_banned(server)


@every_real_one
def test_a_sync_every_half_minute_for_three_hours_tries_a_wrong_password_four_times(
    server: Subject,
) -> None:
    user = User(server.url)
    assert user.call_every(0.5 * MINUTE, 3 * HOUR) == {Reason.QBITTORRENT_UNAUTHORIZED}
    assert user.refusals == user.logins == FIRST_FOUR
    assert not is_banned(server)


@either_dialect
def test_the_fifth_refusal_would_have_brought_the_ban(server: Subject) -> None:
    user = User(server.url)
    user.call_every(MINUTE, ENOUGH)
    assert len(user.refusals) == 4
    refuse(server, 1)  # the fifth, by another program
    assert is_banned(server)
    assert user.call() is Reason.QBITTORRENT_UNAUTHORIZED  # and it still doesn't try
    assert len(user.logins) == 4


@either_dialect
def test_a_proved_restart_with_the_right_password_is_recovered_from_after_four_refusals(
    server: Subject,
) -> None:
    user = User(server.url, password=NEW)
    user.call_every(MINUTE, ENOUGH)
    assert "none is sent any more" in user.problem()
    set_password(server, NEW)
    server.server.stop()
    assert user.call() is Reason.QBITTORRENT_UNREACHABLE
    server.server.start()
    assert user.call() is Reason.QBITTORRENT_UNAUTHORIZED  # it may have been a proxy that was away
    user.see_a_restart()
    assert user.call() is None
    assert len(user.refusals) == 4
    assert len(user.logins) == 5


@either_dialect
def test_a_proved_restart_with_the_password_still_wrong_allows_four_more_and_no_ban(
    server: Subject,
) -> None:
    user = User(server.url)
    user.call_every(MINUTE, ENOUGH)
    for restarts in (1, 2):
        server.server.stop()
        server.server.start()
        user.see_a_restart()
        began = user.clock.monotonic()
        user.call_every(MINUTE, ENOUGH)
        assert user.refusals[4 * restarts :] == [began + at for at in FIRST_FOUR]
    assert not is_banned(server)


@either_dialect
def test_a_corrected_password_is_tried_at_once_after_four_refusals(server: Subject) -> None:
    user = User(server.url)
    user.call_every(MINUTE, ENOUGH)
    user.password = PASSWORD
    assert user.call() is None
    assert len(user.refusals) == 4
    assert len(user.logins) == 5


@either_dialect
def test_a_session_that_expires_is_renewed_with_no_refusal(server: Subject) -> None:
    user = User(server.url, password=PASSWORD)
    assert user.call() is None
    server.server.stop()
    server.server.start()
    assert user.call() is None
    assert (len(user.logins), user.refusals) == (2, [])


@either_dialect
def test_a_ban_from_outside_is_told_and_tried_again_every_quarter_of_an_hour(
    target: Target,
) -> None:
    with target.run(replace(Options(), ban_duration=2)) as server:
        refuse(server, 5)
        user = User(server.url, password=PASSWORD)
        sentence = user.problem()
        assert "has banned this address" in sentence
        assert "restart qBittorrent" in sentence
        assert user.call() is Reason.QBITTORRENT_BANNED
        assert len(user.logins) == 1  # the second call did not try
        wait_until(lambda: not is_banned(server), 10, "the ban to end")
        assert user.call_every(MINUTE, 14 * MINUTE) == {Reason.QBITTORRENT_BANNED}
        assert len(user.logins) == 1
        user.clock.advance(MINUTE)
        assert user.call() is None
        assert len(user.logins) == 2


@either_dialect
def test_a_ban_that_lasts_is_tried_again_and_lifted_by_a_restart(server: Subject) -> None:
    ban(server)
    user = User(server.url, password=PASSWORD)
    assert user.call_every(MINUTE, HOUR) == {Reason.QBITTORRENT_BANNED}
    assert user.logins == [0, 15 * MINUTE, 30 * MINUTE, 45 * MINUTE]
    server.server.stop()
    server.server.start()
    user.see_a_restart()
    assert user.call() is None


# Whatever stands in between


class Between:
    """Stands between a client and qBittorrent, and does as it is told with answers to logins.

    A context manager. ``logins`` counts those that it passed on.
    """

    def __init__(self, server: Subject, spoil: Callable[[bytes], bytes | None]) -> None:
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = _ask(server, self.command, self.path, self.headers, body)
                sent: bytes | None = answer
                if self.path == "/api/v2/auth/login":
                    between.logins += 1
                    sent = spoil(answer)
                self.close_connection = sent != answer
                self.wfile.write(sent or b"")

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.logins = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _ask(server: Subject, method: str, path: str, headers: Message, body: bytes) -> bytes:
    """Ask qBittorrent itself, and return its answer as it would stand on the wire."""
    onward = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    passed_on = {name: value for name, value in headers.items() if name != "Host"}
    onward.request(method, path, body, passed_on)
    answer = onward.getresponse()
    lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
    lines += [f"{name}: {value}" for name, value in answer.getheaders()]
    whole = "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.read()
    onward.close()
    return whole


SPOILT: dict[str, Callable[[bytes], bytes | None]] = {
    "closed": lambda _: None,
    "cut": lambda answer: answer[:40],
    "cut in the body": lambda answer: answer[:-1],
    "502": lambda _: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    "page": lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
    "403 page": lambda _: (
        b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"
    ),
    "too long": lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"a" * 2_000_000,
    "nonsense": lambda _: b"nonsense\r\n\r\n",
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=list(SPOILT))
@every_real_one
def test_a_login_whose_answer_is_lost_or_another_s_counts_as_refused(
    lasting: Callable[[Target], Subject],
    target: Target,
    spoil: Callable[[bytes], bytes | None],
) -> None:
    server = lasting(target)
    assert not is_banned(server)
    with Between(server, spoil) as between:
        user = User(between.url)
        user.call_every(MINUTE, ENOUGH)
        assert user.logins == FIRST_FOUR
        assert between.logins == 4
        assert user.refusals == []
        assert not is_banned(server)
        # A right password behind what was too busy to say so heals by itself.
        assert "one is sent every hour" in user.problem()
        user.call_every(10 * MINUTE, 3 * HOUR - ENOUGH)
        assert len(user.logins) == 6


@every_real_one
def test_a_login_that_takes_longer_than_a_request_is_waited_for(server: Subject) -> None:
    def slowly(answer: bytes) -> bytes:
        time.sleep(0.6)  # as a machine does that is busy
        return answer

    with Between(server, slowly) as between:
        user = User(between.url, timeout=0.3)
        assert user.call() is Reason.QBITTORRENT_UNAUTHORIZED
        user.call_every(MINUTE, HOUR)
        assert user.refusals == user.logins == FIRST_FOUR
        user.password = PASSWORD
        assert user.call() is None
    assert not is_banned(server)


@every_real_one
def test_a_proxy_that_comes_and_goes_is_no_restart(server: Subject) -> None:
    user = User(server.url)
    for _ in range(60):
        with Between(server, lambda answer: answer) as between:
            user.move(between.url)
            user.call()
        user.move(f"http://127.0.0.1:{free_port()}")
        assert user.call() is Reason.QBITTORRENT_UNREACHABLE
        user.clock.advance(MINUTE)
    assert len(user.logins) == 4
    assert not is_banned(server)


@every_real_one
def test_nginx_that_does_not_wait_for_logins_earns_no_ban(server: Subject, tmp_path: Path) -> None:
    directives = f"""
    location / {{ proxy_pass {server.url}; }}
    location /api/v2/auth/login {{ proxy_pass {server.url}; proxy_read_timeout 1ms; }}
    """
    with Nginx(tmp_path, directives) as nginx:
        user = User(f"http://127.0.0.1:{nginx.port}")
        assert "answered 504 to a login" in user.problem()
        user.call_every(MINUTE, HOUR)
        assert len(user.logins) == 4
        user.see_a_restart()  # the socket is nginx's, so that it proves nothing
        user.call()
        assert len(user.logins) == 4
    assert not is_banned(server)


@every_real_one
def test_a_daemon_whose_logins_are_answered_late_earns_no_ban_within_seconds(
    server: Subject, start: Start
) -> None:
    def slowly(answer: bytes) -> bytes:
        time.sleep(1)
        return answer

    with Between(server, slowly) as between:
        port = int(between.url.rpartition(":")[2])
        qsticky = start(
            QBITTORRENT_PORT=port, QBITTORRENT_PASS=WRONG, CHECK_INTERVAL=1, REQUEST_TIMEOUT=0.2
        )
        qsticky.wait_for("failing", "qbittorrent_unauthorized")
        for _ in range(8):
            qsticky.sync()
        assert qsticky.metric("qbittorrent_logins_total") == between.logins == 1
        assert qsticky.metric("qbittorrent_login_failures_total") == 1
        assert "the next login is tried in 1 min" in qsticky.health()["last_error"]


@every_real_one
def test_a_login_that_hangs_holds_up_no_stop_and_goes_stale_late(
    server: Subject, start: Start
) -> None:
    asked, ended = threading.Event(), threading.Event()

    def hanging(_: bytes) -> None:
        asked.set()
        ended.wait(20)

    with Between(server, hanging) as between:
        port = int(between.url.rpartition(":")[2])
        qsticky = start(QBITTORRENT_PORT=port, CHECK_INTERVAL=1, REQUEST_TIMEOUT=1)
        assert asked.wait(20)
        stale_after = datetime.fromisoformat(str(qsticky.health()["stale_after"]))
        assert stale_after > datetime.now(UTC) + timedelta(seconds=55)
        began = time.monotonic()
        assert qsticky.stop() == 0
        assert time.monotonic() - began < 2
        ended.set()


@since_5_2
def test_a_wrong_api_key_is_tried_each_time_and_never_counts(server: Subject) -> None:
    user = User(server.url, api_key=WRONG_KEY)
    assert user.call_every(0.5 * MINUTE, HOUR) == {Reason.QBITTORRENT_UNAUTHORIZED}
    assert "QBITTORRENT_API_KEY" in user.problem()
    assert user.logins == []
    refuse(server, 4)  # one fewer than it would take
    assert not is_banned(server)
    user.api_key = API_KEY
    assert user.call() is None


@every_real_one
def test_a_corrected_password_file_is_enough_and_meanwhile_one_login_is_tried(
    server: Subject, start: Start, gluetun: GluetunSimulator, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text(WRONG + "\n")
    qsticky = start(
        QBITTORRENT_PORT=server.port,
        QBITTORRENT_PASS=None,
        QBITTORRENT_PASS_FILE=secret,
        CHECK_INTERVAL=1,
    )
    qsticky.wait_for("failing", "qbittorrent_unauthorized")
    assert "the next login is tried in 1 min" in qsticky.health()["last_error"]
    for _ in range(10):
        qsticky.sync()
    assert qsticky.metric("qbittorrent_logins_total") == 1
    assert qsticky.metric("qbittorrent_login_failures_total") == 1
    assert qsticky.events().count("login_refused") == 1
    assert WRONG not in qsticky.event("sync_failed")["message"].split()

    secret.write_text(PASSWORD + "\n")
    qsticky.wait_for_port(gluetun.ports[0])
    assert qsticky.metric("qbittorrent_logins_total") == 2
    assert qsticky.metric("qbittorrent_login_failures_total") == 1
    assert not is_banned(server)


@every_real_one
def test_a_session_outlives_a_ban_caused_from_outside(
    server: Subject, start: Start, gluetun: GluetunSimulator
) -> None:
    qsticky = start(QBITTORRENT_PORT=server.port, CHECK_INTERVAL=1)
    qsticky.wait_for_port(gluetun.ports[0])
    ban(server)
    for _ in range(3):
        port = free_port()
        gluetun.ports = (port,)
        qsticky.wait_for_port(port)
    assert qsticky.metric("qbittorrent_logins_total") == 1
    assert "sync_failed" not in qsticky.events()


@every_real_one
def test_a_ban_before_the_first_login_is_reported_and_not_tried_on(
    server: Subject, start: Start
) -> None:
    ban(server)
    qsticky = start(QBITTORRENT_PORT=server.port, CHECK_INTERVAL=1)
    qsticky.wait_for("failing", "qbittorrent_banned")
    told = qsticky.event("sync_failed")
    assert told["reason"] == "qbittorrent_banned"
    assert told["message"] == qsticky.health()["last_error"]
    assert "has banned this address" in told["message"]
    assert "restart qBittorrent" in told["message"]
    for _ in range(5):
        qsticky.sync()
    assert qsticky.metric("qbittorrent_logins_total") == 1
    assert qsticky.metric("sync_failures_total", reason="qbittorrent_banned") >= 5


@since_5_2
def test_a_wrong_api_key_is_tried_every_interval_and_a_corrected_one_works_at_once(
    server: Subject, start: Start, gluetun: GluetunSimulator, tmp_path: Path
) -> None:
    secret = tmp_path / "key"
    secret.write_text(WRONG_KEY)
    qsticky = start(QBITTORRENT_PORT=server.port, QBITTORRENT_API_KEY_FILE=secret, CHECK_INTERVAL=1)
    qsticky.wait_for("failing", "qbittorrent_unauthorized")
    assert "QBITTORRENT_API_KEY" in qsticky.health()["last_error"]
    for _ in range(6):
        qsticky.sync()
    qsticky.wait_for_syncs(2, "interval")
    errors = qsticky.metric("api_errors_total", service="qbittorrent", reason="unauthorized")
    assert errors == qsticky.syncs() >= 9  # each of them tried it
    assert qsticky.metric("qbittorrent_logins_total") == 0
    refuse(server, 4)
    assert not is_banned(server)
    secret.write_text(API_KEY)
    qsticky.wait_for_port(gluetun.ports[0])
