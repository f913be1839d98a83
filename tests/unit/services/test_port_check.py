"""The outside's word on whether the port is open: asked seldom, kept, and no secret told."""

import errno
import os
import socket
from collections.abc import Callable

import pytest

from qsticky.services.outside_service import OutsideService, PortCheckError
from qsticky.services.port_check import CheckResult, PortCheck, PortVerdict
from tests.fakes import FakeClock
from tests.unit.conftest import Certificates, Serve, answering, read_request

PORT = 51218
HOUR = 3600.0
SECRET = "s3cr3tkey"
OPEN, CLOSED, ERROR = CheckResult


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("body", "is_open"),
    [
        (b"1", True),
        (b"0", False),
        (b"1\n", True),
        (b'{"ip":"203.0.113.7","port":51218,"reachable":true}', True),
        (b'{"ip":"203.0.113.7","port":51218,"reachable":false}\n', False),
    ],
)
def test_both_kinds_of_services_are_understood(serve: Serve, body: bytes, is_open: bool) -> None:
    server = serve(answering(answer(body)))
    assert OutsideService(f"http://127.0.0.1:{server.port}/{{port}}").is_open(PORT) is is_open


NEITHER = [
    *(b"", b"2", b"true", b"[]", b"null", b"{}", b'{"reachable":"yes"}', b'{"reachable":1}'),
    *(b"<html>1</html>", b"[" * 60000, b"x" * 100_000, b"\xff"),
]


@pytest.mark.parametrize("body", NEITHER, ids=range(len(NEITHER)))
def test_anything_else_is_an_error(serve: Serve, body: bytes) -> None:
    server = serve(answering(answer(body)))
    with pytest.raises(PortCheckError, match="neither"):
        OutsideService(f"http://127.0.0.1:{server.port}/{{port}}").is_open(PORT)


@pytest.mark.parametrize("status", ["429 Too Many Requests", "302 Found", "404 Not Found"])
def test_another_status_is_an_error_whatever_it_says(serve: Serve, status: str) -> None:
    server = serve(answering(answer(b"1", f"{status}\r\nLocation: http://127.0.0.1/")))
    with pytest.raises(PortCheckError, match=f"the status {status[:3]}"):
        OutsideService(f"http://127.0.0.1:{server.port}/{{port}}").is_open(PORT)


def test_it_asks_for_the_port_with_what_the_address_has(serve: Serve) -> None:
    asked: list[bytes] = []

    def script(connection: socket.socket) -> None:
        asked.append(read_request(connection))
        connection.sendall(answer(b"1"))

    server = serve(script)
    OutsideService(f"http://me:p%40ss@127.0.0.1:{server.port}?p={{port}}&key={SECRET}").is_open(
        PORT
    )
    assert asked[0].startswith(f"GET /?p={PORT}&key={SECRET} HTTP/1.1\r\n".encode())
    assert b"\r\nAuthorization: Basic bWU6cEBzcw==\r\n" in asked[0]


def test_what_no_request_can_carry_of_the_address_is_sent_in_percents(serve: Serve) -> None:
    asked: list[bytes] = []

    def script(connection: socket.socket) -> None:
        asked.append(read_request(connection))
        connection.sendall(answer(b"1"))

    url = f"http://127.0.0.1:{serve(script).port}/ö%20|/{{port}}?key=é"
    assert OutsideService(url).is_open(PORT)
    assert asked[0].startswith(f"GET /%C3%B6%20%7C/{PORT}?key=%C3%A9 HTTP/1.1\r\n".encode())


def test_it_asks_over_ipv4_alone(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(answering(answer(b"1")))
    six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0))
    four = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
    tried: list[object] = []
    connect = socket.socket.connect

    def noted(self: socket.socket, address: object) -> None:
        tried.append(address)
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", noted)

    def resolved(_: str, __: int, family: int, ___: int) -> list[object]:
        return [one for one in (six, four) if family in (socket.AF_UNSPEC, one[0])]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    assert OutsideService("http://checker.example/{port}").is_open(PORT)
    assert tried == [("127.0.0.1", server.port)]


def test_no_error_tells_the_address(serve: Serve, certificates: Certificates) -> None:
    untrusted = serve(answering(answer(b"1")), certificates.self_signed)
    refused = serve(answering())
    for url, problem in (
        (f"https://127.0.0.1:{untrusted.port}/{SECRET}/{{port}}", "its certificate was refused"),
        (f"http://me:{SECRET}@127.0.0.1:{refused.port}/{{port}}", "can't be reached"),
        (f"http://{SECRET}.invalid/{{port}}", "can't be reached"),
    ):
        with pytest.raises(PortCheckError, match=problem) as raised:
            OutsideService(url).is_open(PORT)
        assert SECRET not in str(raised.value)


def test_a_folder_of_ca_certificates_that_cannot_be_read_ends_nothing(
    serve: Serve, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    monkeypatch.setenv("SSL_CERT_DIR", str(certificates.ca.parent))

    def no_descriptor(_: str) -> list[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "listdir", no_descriptor)
    server = serve(answering(answer(b"1")))
    assert OutsideService(f"http://127.0.0.1:{server.port}/{{port}}").is_open(PORT)


class Scene:
    """A port check whose outside says what `says` has, at a clock that tests advance."""

    def __init__(self, interval: float = HOUR) -> None:
        self.says: bool | None = True
        self.here = True
        self.asked: list[tuple[float, int]] = []
        self.counted: list[CheckResult] = []
        self.told: list[str] = []
        self.syncs = 0
        self.meanwhile: Callable[[], object] = lambda: None
        self.clock = FakeClock()
        self.check = PortCheck(
            self._ask,
            interval=interval,
            inside_vpn=lambda: self.here,
            changed=self._changed,
            count=self.counted.append,
            tell=self.told.append,
            clock=self.clock,
        )
        self.check.port_changed(PORT)

    def pass_time(self, seconds: float = 0.0) -> None:
        """Let time pass, with the checks that are due."""
        end = self.clock.monotonic() + seconds
        while (pause := self.check.pause()) is not None and self.clock.monotonic() + pause <= end:
            self.clock.advance(pause)
            self.check.check_if_due()
        self.clock.advance(end - self.clock.monotonic())

    @property
    def moments(self) -> list[float]:
        """When it was asked."""
        return [moment for moment, _ in self.asked]

    def _ask(self, port: int) -> bool:
        self.asked.append((self.clock.monotonic(), port))
        self.meanwhile()
        if self.says is None:
            raise PortCheckError("did not answer within 30 s")
        return self.says

    def _changed(self) -> None:
        self.syncs += 1


def test_a_port_is_asked_about_at_once_and_then_at_each_interval() -> None:
    scene = Scene()
    assert scene.check.verdict() == PortVerdict()
    scene.pass_time(2 * HOUR)
    assert scene.asked == [(0, PORT), (HOUR, PORT), (2 * HOUR, PORT)]
    assert scene.check.verdict() == PortVerdict(reachable=True, checked_at=2 * HOUR)
    assert scene.syncs == 3


def test_another_port_makes_it_unknown_and_is_asked_about_within_a_minute() -> None:
    scene = Scene()
    scene.pass_time(10)
    scene.check.port_changed(PORT + 1)
    assert scene.check.verdict() == PortVerdict()
    scene.pass_time(50)
    assert scene.asked == [(0, PORT), (60, PORT + 1)]


def test_the_same_port_again_is_nothing_new() -> None:
    scene = Scene()
    scene.pass_time()
    scene.check.port_changed(PORT)
    scene.pass_time(HOUR - 1)
    assert scene.moments == [0]
    assert scene.check.verdict().reachable is True


def test_without_a_port_nobody_is_asked() -> None:
    scene = Scene()
    scene.check.port_changed(None)
    scene.check.rebound()
    assert scene.check.pause() is None
    assert scene.asked == []


def test_it_is_asked_after_a_rebind_but_once_a_minute_at_most() -> None:
    scene = Scene()
    for _ in range(5):
        scene.pass_time(10)
        scene.check.rebound()
    scene.pass_time(HOUR / 2)
    assert scene.moments == [0, 60]


def test_closed_twice_a_minute_apart_is_worth_a_rebind() -> None:
    scene = Scene()
    scene.says = False
    scene.pass_time(59)
    assert scene.check.verdict() == PortVerdict(False, 0, 1)
    scene.pass_time(1)
    assert scene.check.verdict() == PortVerdict(False, 60, 2, rebind_due=True)
    assert scene.syncs == 2


def test_closed_a_third_time_after_the_rebind_is_closed_for_good() -> None:
    scene = Scene()
    scene.says = False
    scene.pass_time(60)
    scene.check.rebound()
    assert not scene.check.verdict().rebind_due
    scene.pass_time(60)
    verdict = scene.check.verdict()
    assert verdict.closed_for_good
    assert not verdict.rebind_due
    assert scene.syncs == 3
    scene.pass_time(HOUR)
    assert scene.moments == [0, 60, 120, HOUR + 120]


def test_where_nothing_is_rebound_the_third_check_comes_all_the_same() -> None:
    scene = Scene()
    scene.says = False
    scene.pass_time(120)
    assert scene.check.verdict().closed_for_good


def test_an_interval_under_a_minute_is_how_far_apart_they_are() -> None:
    scene = Scene(interval=10)
    scene.says = False
    scene.pass_time(20)
    assert scene.moments == [0, 10, 20]
    assert scene.check.verdict().closed_for_good


def test_open_again_ends_it() -> None:
    scene = Scene()
    scene.says = False
    scene.pass_time(120)
    scene.says = True
    scene.pass_time(HOUR)
    assert scene.check.verdict() == PortVerdict(reachable=True, checked_at=HOUR + 120)


def test_an_error_changes_nothing_is_counted_and_told_once() -> None:
    scene = Scene()
    scene.pass_time()
    scene.says = None
    scene.pass_time(3 * HOUR)
    assert scene.check.verdict() == PortVerdict(reachable=True, checked_at=0)
    assert scene.counted == [OPEN, ERROR, ERROR, ERROR]
    (sentence,) = scene.told
    assert sentence.startswith("The service of PORT_CHECK_URL did not answer within 30 s")
    scene.says = True
    scene.pass_time(HOUR)
    scene.says = None
    scene.pass_time(HOUR)
    assert len(scene.told) == 2


def test_an_error_between_two_that_say_closed_changes_nothing() -> None:
    scene = Scene()
    scene.says = False
    scene.pass_time()
    scene.says = None
    scene.pass_time(60)
    scene.says = False
    scene.pass_time(60)
    assert scene.check.verdict() == PortVerdict(False, 120, 2, rebind_due=True)
    assert scene.counted == [CLOSED, ERROR, CLOSED]


def test_from_outside_the_vpn_nobody_is_asked() -> None:
    scene = Scene()
    scene.here = False
    scene.pass_time(300)
    assert scene.asked == []
    assert scene.counted == []
    scene.here = True
    scene.pass_time(60)
    assert len(scene.asked) == 1


def test_an_answer_about_a_port_that_changed_meanwhile_does_not_count() -> None:
    scene = Scene()
    scene.meanwhile = lambda: scene.check.port_changed(PORT + 1)
    scene.says = False
    scene.pass_time()
    assert scene.check.verdict() == PortVerdict()
    scene.pass_time(60)
    assert scene.asked[1] == (60, PORT + 1)


def test_an_answer_from_before_a_rebind_does_not_count() -> None:
    scene = Scene()
    scene.says = False
    scene.pass_time()
    scene.meanwhile = scene.check.rebound
    scene.pass_time(60)
    assert scene.check.verdict() == PortVerdict(False, 0, 1)
    scene.meanwhile = lambda: None
    scene.pass_time(60)
    assert scene.check.verdict() == PortVerdict(False, 120, 2, rebind_due=True)
