"""Every route over real sockets, and that no client keeps another from being served."""

import base64
import contextlib
import gzip
import hmac
import json
import logging
import os
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from cryptography import x509
from prometheus_client import CollectorRegistry, Counter

from qsticky.errors import Reason
from qsticky.record.health import Health
from qsticky.record.logs import RecentEvent
from qsticky.web import server as server_module
from qsticky.web.page import CONTENT_SECURITY_POLICY
from qsticky.web.server import Certificate, Routes, Server
from tests import certificates
from tests.fakes import FakeClock
from tests.real import wait_until
from tests.reports import failing, synced
from tests.serving import close

SOON = 5.0  # seconds, for what takes milliseconds
MOST_CONNECTIONS = 32
ENDING = 4  # threads that have closed their connections, and are not quite gone
FLOOD = 500
NOISE = random.Random(1).randbytes(100_000)


@dataclass(frozen=True)
class Reply:
    """An answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def parse(cls, answer: bytes) -> "Reply":
        head, _, body = answer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return cls(
            int(status_line.split()[1]), {name.lower(): value for name, value in pairs}, body
        )

    @property
    def text(self) -> str:
        return self.body.decode()


class Site:
    """A server that runs, and how its clients reach it."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None) -> None:
        self.server = server
        self.address, self.port = server.server_address[:2]
        self._tls = tls

    def dial(self) -> socket.socket:
        """Connect, and say nothing: no handshake either."""
        return socket.create_connection((str(self.address), self.port), SOON)

    def connect(self) -> socket.socket:
        """Connect, with TLS where it has that."""
        plain = self.dial()
        return self._tls.wrap_socket(plain, server_hostname="localhost") if self._tls else plain

    def exchange(self, *sent: bytes) -> bytes:
        """Send, and return what is answered up to the end."""
        with self.connect() as connection:
            for part in sent:
                connection.sendall(part)
            return received(connection)

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> Reply:
        """Send one request; its answer."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        return Reply.parse(self.exchange("\r\n".join(lines).encode("latin-1") + body))


def received(connection: socket.socket) -> bytes:
    """All that comes up to the end of the connection."""
    answer = bytearray()
    while chunk := connection.recv(65536):
        answer += chunk
    return bytes(answer)


class Serve(Protocol):
    """Starts a server of an application on loopback."""

    def __call__(
        self,
        application: WSGIApplication,
        address: str = "127.0.0.1",
        pair: "Pair | None" = None,
    ) -> Site: ...


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start servers; afterwards no thread and no descriptor may be left of them."""
    monkeypatch.setattr(server_module, "_TEND_EVERY", 0.02)
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    servers: list[Server] = []

    def start(
        application: WSGIApplication, address: str = "127.0.0.1", pair: Pair | None = None
    ) -> Site:
        certificate = Certificate(pair.certificate, pair.key) if pair else None
        server = Server(address, 0, application, certificate)
        server.start()
        servers.append(server)
        return Site(server, pair.trust() if pair else None)

    yield start
    for server in servers:
        close(server)
    wait_until(lambda: set(threading.enumerate()) <= threads, SOON, "the threads to end")
    wait_until(lambda: open_descriptors() <= descriptors, SOON, "the descriptors to be closed")


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings that a test expects, to be filled by it."""
    assert caplog
    return []


@pytest.fixture(autouse=True)
def _nothing_else_is_logged(
    caplog: pytest.LogCaptureFixture, warnings: list[str]
) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    told = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.WARNING]
    assert len(told) == len(warnings), told
    assert all(part in line for part, line in zip(warnings, told, strict=True))


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def hello(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer any request."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"hello\n"]


class Pair:
    """A TLS certificate and its key on disk, made anew as often as wanted."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "tls.crt"
        self.key = folder / "tls.key"
        self._renewals = 0
        self.write(*certificates.make())

    def write(self, certificate: bytes | None, key: bytes | None) -> None:
        """Put a new certificate, or key, or both in place."""
        self._renewals += 1
        for path, content in ((self.certificate, certificate), (self.key, key)):
            if content is not None:
                path.write_bytes(content)
                modified = time.time_ns() + self._renewals * 1_000_000_000  # file times are coarse
                os.utime(path, ns=(modified, modified))

    def trust(self) -> ssl.SSLContext:
        """What a client trusts that knows the certificate of now."""
        return ssl.create_default_context(cafile=self.certificate)

    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).serial_number


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def served_serial(site: Site) -> int:
    """The serial number of the certificate that a new connection is shown."""
    shown = ssl.get_server_certificate((str(site.address), site.port), timeout=SOON)
    return x509.load_pem_x509_certificate(shown.encode()).serial_number


class Parts:
    """The routes' collaborators."""

    def __init__(self, folder: Path) -> None:
        self.registry = CollectorRegistry()
        Counter("answers", "Answers that were right.", registry=self.registry).inc(42)
        self.clock = FakeClock()
        self.health = Health(
            folder / "status.json", check_interval=30, request_timeout=10, clock=self.clock
        )
        self.events: list[RecentEvent] = []
        self.syncs: list[bool] = []
        self.credentials: tuple[str, str] | None = None

    def routes(self) -> Routes:
        return Routes(
            self.registry,
            self.health,
            lambda: self.events,
            self.clock,
            self.syncs.append,
            lambda: self.credentials,
        )


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


@pytest.fixture
def site(serve: Serve, parts: Parts) -> Site:
    """The real routes."""
    return serve(parts.routes())


@pytest.fixture
def stub(serve: Serve) -> Site:
    """A server that answers any request."""
    return serve(hello)


@pytest.fixture(params=["plain", "tls"])
def either(request: pytest.FixtureRequest, serve: Serve, pair: Pair) -> Site:
    """A server that answers any request, without TLS and with it."""
    return serve(hello, pair=pair if request.param == "tls" else None)


class TestRoutes:
    """What each path answers."""

    def test_the_page(self, site: Site, parts: Parts) -> None:
        parts.health.record(synced(), 30)
        reply = site.ask("GET", "/")
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert reply.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.text.startswith("<!doctype html>")
        assert "In sync" in reply.text

    def test_the_page_has_the_events_and_the_time(self, site: Site, parts: Parts) -> None:
        parts.events.append(RecentEvent(parts.clock.now(), "info", "login", "Logged in"))
        parts.clock.advance(30)
        page = site.ask("GET", "/").text
        assert "Logged in" in page
        assert "30 s ago" in page

    def test_the_page_tells_of_a_worker_that_hangs(self, site: Site, parts: Parts) -> None:
        parts.health.record(synced(), 30)
        parts.clock.advance(100)
        assert "The worker hangs" in site.ask("GET", "/").text

    def test_metrics_in_the_text_format(self, site: Site) -> None:
        reply = site.ask("GET", "/metrics")
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "answers_total 42.0\n" in reply.text
        assert "# EOF" not in reply.text

    def test_metrics_in_openmetrics_when_asked_for(self, site: Site) -> None:
        accept = (
            "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;"
            "q=0.2,*/*;q=0.1"
        )
        reply = site.ask("GET", "/metrics", accept)
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("application/openmetrics-text")
        assert reply.text.endswith("# EOF\n")

    def test_metrics_compressed_when_asked_for(self, site: Site) -> None:
        reply = site.ask("GET", "/metrics", "Accept-Encoding: gzip")
        assert reply.headers["content-encoding"] == "gzip"
        assert b"answers_total 42.0\n" in gzip.decompress(reply.body)
        assert "content-encoding" not in site.ask("GET", "/metrics").headers

    def test_liveness_is_the_worker_s_heartbeat(self, site: Site, parts: Parts) -> None:
        assert site.ask("GET", "/-/healthy").status == 503
        parts.health.record(failing(Reason.QBITTORRENT_UNREACHABLE), 30)
        alive = site.ask("GET", "/-/healthy")
        assert (alive.status, alive.text) == (200, "Alive\n")
        parts.clock.advance(45)
        hung = site.ask("GET", "/-/healthy")
        assert (hung.status, hung.text) == (503, "The worker gives no sign of life\n")
        assert hung.headers["content-type"] == "text/plain; charset=utf-8"

    def test_readiness_is_the_verdict_with_the_document(self, site: Site, parts: Parts) -> None:
        parts.health.record(synced(), 30)
        ready = site.ask("GET", "/-/ready")
        assert ready.status == 200
        assert ready.headers["content-type"] == "application/json"
        assert json.loads(ready.body) == json.loads(json.dumps(parts.health.document()))
        parts.health.record(failing(Reason.QBITTORRENT_BANNED, "Banned; wait"), 30)
        unready = site.ask("GET", "/-/ready")
        assert unready.status == 503
        assert json.loads(unready.body)["last_error"] == "Banned; wait"

    def test_a_stale_verdict_is_not_ready(self, site: Site, parts: Parts) -> None:
        parts.health.record(synced(), 30)
        parts.clock.advance(45)
        assert site.ask("GET", "/-/ready").status == 503

    @pytest.mark.parametrize(
        ("query", "rebind"),
        [
            ("", False),
            ("?rebind=true", True),
            ("?a=b&rebind=true", True),
            ("?rebind=false", False),
            ("?rebind=", False),
            ("?rebind", False),
            ("?rebind=%ff&%zz", False),
        ],
    )
    def test_a_sync_is_asked_for_and_not_waited_for(
        self, site: Site, parts: Parts, query: str, rebind: bool
    ) -> None:
        reply = site.ask("POST", f"/-/sync{query}")
        assert (reply.status, reply.text) == (202, "A sync will run\n")
        assert parts.syncs == [rebind]

    @pytest.mark.parametrize("size", [3, 5_000_000])
    def test_a_body_is_tolerated_and_the_answer_not_lost(
        self, site: Site, parts: Parts, size: int
    ) -> None:
        reply = site.ask("POST", "/-/sync", f"Content-Length: {size}", body=b"x" * size)
        assert (reply.status, reply.text) == (202, "A sync will run\n")
        assert parts.syncs == [False]

    @pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/nowhere"])
    def test_head_answers_as_get_does_without_the_body(
        self, site: Site, parts: Parts, path: str
    ) -> None:
        parts.health.record(synced(), 30)
        got, head = site.ask("GET", path), site.ask("HEAD", path)
        assert head.body == b""
        assert head.status == got.status
        assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
        assert int(head.headers["content-length"]) == len(got.body)

    @pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "BREW"])
    def test_another_method_is_told_which_to_use(self, site: Site, method: str, path: str) -> None:
        reply = site.ask(method, path)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
    def test_a_sync_is_asked_for_by_post_alone(self, site: Site, parts: Parts, method: str) -> None:
        reply = site.ask(method, "/-/sync")
        assert (reply.status, reply.headers["allow"]) == (405, "POST")
        assert parts.syncs == []
        assert (reply.body == b"") is (method == "HEAD")

    @pytest.mark.parametrize("path", ["/x", "/metrics/", "/-/", "/../etc/passwd", "/%2e", "/\xff"])
    def test_another_path_is_not_found(self, site: Site, path: str) -> None:
        assert site.ask("GET", path).status == 404
        assert site.ask("POST", path).status == 404

    def test_a_mistake_of_its_own_is_a_500_and_logged_with_its_traceback(
        self, serve: Serve, warnings: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
            raise ZeroDivisionError

        assert serve(broken).ask("GET", "/").status == 500
        warnings.append("A request failed by a mistake of qSticky's own")
        assert any(r.exc_info and r.exc_info[0] is ZeroDivisionError for r in caplog.records)


def basic(user: str, password: str, encoding: str = "utf-8") -> str:
    """The header of basic auth."""
    return (
        "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode(encoding)).decode()
    )


class TestBasicAuth:
    """Who is let in where credentials are set."""

    RIGHT = ("sticky", "pässwörd:with colon")

    @pytest.fixture(autouse=True)
    def _closed(self, parts: Parts) -> None:
        parts.credentials = self.RIGHT

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/", 200),
            ("GET", "/metrics", 200),
            ("GET", "/-/ready", 503),
            ("POST", "/-/sync", 202),
            ("GET", "/nowhere", 404),
            ("PUT", "/", 405),
        ],
    )
    def test_every_route_needs_the_credentials(
        self, site: Site, parts: Parts, method: str, path: str, status: int
    ) -> None:
        refused = site.ask(method, path)
        assert (refused.status, refused.text) == (401, "Unauthorized\n")
        assert refused.headers["www-authenticate"] == 'Basic realm="qSticky", charset="UTF-8"'
        assert parts.syncs == []
        assert site.ask(method, path, basic(*self.RIGHT)).status == status

    def test_liveness_needs_none(self, site: Site) -> None:
        assert site.ask("GET", "/-/healthy").status == 503
        assert site.ask("PUT", "/-/healthy").status == 405

    @pytest.mark.parametrize(
        "header",
        [
            basic("sticky", "wrong"),
            basic("other", "pässwörd:with colon"),
            basic("sticky", ""),
            basic("", ""),
            basic("sticky", "pässwörd:with colon", "latin-1"),
            "Authorization: Basic",
            "Authorization: Basic ",
            "Authorization: Basic !!!",
            "Authorization: Basic \xe4\xff\x80",
            "Authorization: Bearer c3RpY2t5",
            "Authorization: ",
            "Authorization: " + "x" * 60_000,
            "Proxy-" + basic(*RIGHT),
        ],
    )
    def test_anything_else_is_refused(self, site: Site, header: str) -> None:
        assert site.ask("GET", "/metrics", header).status == 401

    def test_the_credentials_are_compared_in_constant_time(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compared: list[tuple[bytes, bytes]] = []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((one, other))
            return False

        monkeypatch.setattr(hmac, "compare_digest", compare)
        header = basic(*self.RIGHT)
        assert site.ask("GET", "/", header).status == 401  # whoever compared, it was this
        sent = header.removeprefix("Authorization: Basic ").encode()
        assert compared == [(sent, sent)]

    def test_the_scheme_may_be_written_in_any_case(self, site: Site) -> None:
        header = basic(*self.RIGHT).replace("Basic", "basic")
        assert site.ask("GET", "/", header).status == 200

    def test_changed_credentials_count_at_once(self, site: Site, parts: Parts) -> None:
        parts.credentials = ("sticky", "rotated")
        assert site.ask("GET", "/", basic(*self.RIGHT)).status == 401
        assert site.ask("GET", "/", basic("sticky", "rotated")).status == 200


class TestTls:
    """A certificate that can be renewed while it runs."""

    def test_it_is_served_by_its_name(self, serve: Serve, pair: Pair) -> None:
        reply = serve(hello, pair=pair).ask("GET", "/")
        assert (reply.status, reply.text) == (200, "hello\n")

    def test_a_renewed_pair_counts_from_the_next_connection_on(
        self, serve: Serve, pair: Pair
    ) -> None:
        site = serve(hello, pair=pair)
        first = served_serial(site)
        assert first == pair.serial()
        with site.connect() as early:
            pair.write(*certificates.make())
            assert served_serial(site) == pair.serial() != first
            early.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert Reply.parse(received(early)).status == 200

    def test_a_half_renewed_pair_keeps_the_old_and_is_told_once(
        self, serve: Serve, pair: Pair, warnings: list[str]
    ) -> None:
        site = serve(hello, pair=pair)
        first = served_serial(site)
        certificate, key = certificates.make()
        pair.write(certificate, None)
        assert [served_serial(site) for _ in range(3)] == [first] * 3
        warnings.append("The renewed TLS certificate is not used")
        pair.write(None, key)
        assert served_serial(site) == pair.serial() != first

    @pytest.mark.parametrize("half", ["certificate", "key"])
    def test_a_missing_half_keeps_the_old_and_is_told_once(
        self, serve: Serve, pair: Pair, warnings: list[str], half: str
    ) -> None:
        site = serve(hello, pair=pair)
        first = served_serial(site)
        content = (pair.certificate.read_bytes(), pair.key.read_bytes())
        getattr(pair, half).unlink()
        assert [served_serial(site) for _ in range(3)] == [first] * 3
        warnings.append("The renewed TLS certificate is not used")
        pair.write(*content)
        assert served_serial(site) == first
        pair.write(*certificates.make())
        assert served_serial(site) == pair.serial() != first

    def test_a_first_pair_that_is_not_one_cannot_start(self, pair: Pair) -> None:
        pair.write(certificates.make()[0], None)
        with pytest.raises(ssl.SSLError):
            Certificate(pair.certificate, pair.key)
        pair.key.unlink()
        with pytest.raises(FileNotFoundError):
            Certificate(pair.certificate, pair.key)

    def test_plain_http_to_the_tls_port_ends_quietly(self, serve: Serve, pair: Pair) -> None:
        site = serve(hello, pair=pair)
        with site.dial() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"hello" not in received(connection)

    def test_old_protocols_are_not_spoken(self, serve: Serve, pair: Pair) -> None:
        site = serve(hello, pair=pair)
        old = pair.trust()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.deprecated_call():
            old.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.deprecated_call():
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with site.dial() as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain, server_hostname="localhost")


class TestBinding:
    """Where it listens."""

    def test_ipv6(self, serve: Serve) -> None:
        site = serve(hello, address="::1")
        assert site.server.address_family is socket.AF_INET6
        assert site.ask("GET", "/").status == 200

    @pytest.mark.parametrize(
        ("address", "reach"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::", "127.0.0.1")]
    )
    def test_every_address(self, serve: Serve, address: str, reach: str) -> None:
        site = serve(hello, address=address)
        site.address = reach
        assert site.ask("GET", "/").status == 200

    def test_a_name(self, serve: Serve) -> None:
        assert serve(hello, address="localhost").ask("GET", "/").status == 200

    def test_a_port_that_is_taken_raises(self, stub: Site) -> None:
        with pytest.raises(OSError, match="in use"):
            Server("127.0.0.1", stub.port, hello, None)

    def test_an_address_that_is_not_ours_raises(self) -> None:
        with pytest.raises(OSError, match="assign"):
            Server("192.0.2.1", 0, hello, None)

    def test_a_name_that_is_not_found_raises(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def find(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", find)
        with pytest.raises(OSError, match="not known"):
            Server("no-such-host.invalid", 0, hello, None)

    def test_it_sleeps_when_nobody_is_connected(self, serve: Serve) -> None:
        site = serve(hello)
        with site.connect():
            wait_until(lambda: site.server.timeout == 0.02, SOON, "connections to be tended")
        wait_until(lambda: site.server.timeout is None, SOON, "the server to sleep")
        assert site.ask("GET", "/").status == 200

    def test_a_port_is_free_again_at_once(self, serve: Serve) -> None:
        first = serve(hello)
        with first.connect() as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            received(connection)
        close(first.server)
        wait_until(lambda: first.server.fileno() < 0, SOON, "the server to be closed")
        again = Server("127.0.0.1", first.port, hello, None)
        again.server_close()


class TestStrangeClients:
    """Clients that are broken or mean harm get an answer or an end, and nobody else notices."""

    def test_a_huge_request_line_is_refused(self, stub: Site) -> None:
        reply = Reply.parse(stub.exchange(b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n"))
        assert reply.status == 414

    def test_a_long_request_line_is_answered(self, stub: Site) -> None:
        assert stub.ask("GET", "/" + "x" * 60_000).status == 200

    def test_200_headers_are_refused(self, stub: Site) -> None:
        headers = [f"X-{number}: y" for number in range(200)]
        assert stub.ask("GET", "/", *headers).status == 431

    def test_a_huge_header_is_refused(self, stub: Site) -> None:
        assert stub.ask("GET", "/", "X-Long: " + "y" * 1_000_000).status == 431

    def test_of_pipelined_requests_the_first_is_answered_whole(self, stub: Site) -> None:
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        answer = stub.exchange(request * 100)
        assert answer.count(b"HTTP/1.0 200") == 1
        assert Reply.parse(answer).text == "hello\n"

    @pytest.mark.parametrize(
        "sent",
        [
            b"\x00" * 1000,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + NOISE[:500] + b"\r\n\r\n",
            NOISE + b"\r\n\r\n",
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/x\r\n\r\n",
            b"GET / HTTP/1.1\r\nno header\r\n\r\n",
            b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"<xml/>\n\n",
        ],
        ids=lambda sent: repr(sent[:16]),
    )
    def test_garbage_ends_quietly(self, stub: Site, sent: bytes) -> None:
        with stub.connect() as connection, contextlib.suppress(OSError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            received(connection)
        assert stub.ask("GET", "/").status == 200

    def test_a_request_of_the_first_http_is_answered(self, stub: Site) -> None:
        assert stub.exchange(b"GET /\r\n\r\n") == b"hello\n"

    @pytest.mark.parametrize("when", ["before", "in the line", "in the headers"])
    def test_a_client_that_goes_before_it_has_asked_is_forgotten(
        self, either: Site, when: str
    ) -> None:
        sent = {"before": b"", "in the line": b"GET /", "in the headers": b"GET / HTTP/1.1\r\nX"}
        for abrupt in (False, True):
            with either.connect() as connection:
                connection.sendall(sent[when])
                if abrupt:
                    reset_on_close(connection)
        assert either.ask("GET", "/").status == 200

    @pytest.mark.parametrize("with_tls", [False, True])
    def test_a_client_that_goes_in_the_middle_of_its_answer_is_forgotten(
        self, serve: Serve, pair: Pair, with_tls: bool
    ) -> None:
        ended = threading.Event()

        def endless(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            start_response("200 OK", [])
            try:
                while True:
                    yield b"x" * 100_000
            finally:
                ended.set()

        site = serve(endless, pair=pair if with_tls else None)
        for abrupt in (False, True):
            ended.clear()
            with site.connect() as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert connection.recv(1)
                if abrupt:
                    reset_on_close(connection)
            assert ended.wait(SOON)

    @pytest.mark.parametrize("with_tls", [False, True])
    def test_a_client_that_does_not_read_its_answer_is_given_up(
        self, serve: Serve, pair: Pair, monkeypatch: pytest.MonkeyPatch, with_tls: bool
    ) -> None:
        monkeypatch.setattr(server_module, "_LONGEST_CONNECTION", 0.3)
        # Whichever comes first: the time-out of the write here, or else being hung up on.
        monkeypatch.setattr(Server, "service_actions", lambda _: None)
        site = serve(large, pair=pair if with_tls else None)
        with site.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            wait_until(lambda: connections() == 1, SOON, "the answer to begin")
            wait_until(lambda: connections() == 0, SOON, "the answer to be given up")

    def test_a_client_that_reads_its_answer_slowly_is_hung_up_on(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_module, "_LONGEST_CONNECTION", 0.3)
        site = serve(large)
        with site.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            started = time.monotonic()
            while connection.recv(1000) and connections():
                assert time.monotonic() < started + SOON, "the bound did not hold"

    def test_slow_headers_end_after_the_bound(
        self, either: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_module, "_LONGEST_CONNECTION", 0.3)
        with either.connect() as connection:
            started = time.monotonic()
            connection.sendall(b"GET / HTTP/1.1\r\n")
            connection.settimeout(0.02)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while True:
                    assert time.monotonic() < started + SOON, "the bound did not hold"
                    connection.sendall(b"X")
                    with contextlib.suppress(TimeoutError):
                        if not connection.recv(1):
                            break
        assert time.monotonic() - started > 0.25

    def test_silence_ends_after_the_bound(
        self, either: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_module, "_LONGEST_CONNECTION", 0.3)
        with either.dial() as connection:
            assert received(connection) == b""

    def test_a_client_that_does_not_close_what_was_answered_is_given_up(
        self, either: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_module, "_LINGER", 0.1)
        with either.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert Reply.parse(received(connection)).text == "hello\n"
            wait_until(lambda: connections() == 0, SOON, "the connection to be closed")

    def test_a_client_that_never_stops_sending_is_given_up(
        self, stub: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_module, "_LONGEST_CONNECTION", 0.3)
        started = time.monotonic()
        with stub.connect() as connection, contextlib.suppress(OSError):
            connection.sendall(b"POST / HTTP/1.1\r\n\r\n")
            while True:
                assert time.monotonic() < started + SOON, "the bound did not hold"
                connection.sendall(b"x" * 1000)


def large(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with more than any buffer takes."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * 50_000_000]


def reset_on_close(connection: socket.socket) -> None:
    """Have the connection end in a reset, as when a machine goes away."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def connections() -> int:
    """How many threads speak with clients."""
    names = [thread.name for thread in threading.enumerate()]
    return sum(name.endswith("(process_request_thread)") for name in names)


class Sampler:
    """The most connection threads at any moment, sampled for as long as the block lasts."""

    def __init__(self) -> None:
        self.most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(0.002):
            self.most = max(self.most, connections())


class TestCrowds:
    """Many clients at once, most of them idle."""

    @pytest.mark.parametrize(
        ("either", "said"),
        [
            pytest.param("plain", b"", id="silent"),
            pytest.param("plain", b"GET / HTTP/1.1\r\n", id="half a request"),
            pytest.param("plain", b"GET / HTTP/1.0\r\n\r\n", id="answered and not closed"),
            pytest.param("tls", b"", id="no handshake"),
        ],
        indirect=["either"],
    )
    def test_a_scrape_is_answered_within_a_second_whoever_else_is_connected(
        self, either: Site, said: bytes
    ) -> None:
        with contextlib.ExitStack() as crowd, Sampler() as sampler:
            for _ in range(FLOOD):
                connection = crowd.enter_context(either.dial())
                connection.sendall(said)
            assert either.ask("GET", "/").status == 200  # comes after all of them were accepted
            for _ in range(3):
                started = time.monotonic()
                assert either.ask("GET", "/").status == 200
                assert time.monotonic() - started < 1
        assert MOST_CONNECTIONS // 2 < sampler.most <= MOST_CONNECTIONS + ENDING

    def test_an_answer_in_the_making_is_not_cut_short_for_a_crowd(self, serve: Serve) -> None:
        asked, go_on = threading.Event(), threading.Event()

        def slow(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            asked.set()
            go_on.wait(SOON)
            return hello(environ, start_response)

        site = serve(slow)
        with contextlib.ExitStack() as crowd:
            first = crowd.enter_context(site.connect())
            first.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert asked.wait(SOON)
            idle = [crowd.enter_context(site.dial()) for _ in range(2 * MOST_CONNECTIONS)]
            assert received(idle[0]) == b""  # this one made room
            go_on.set()
            assert Reply.parse(received(first)).text == "hello\n"

    def test_a_crowd_of_askers_is_served_whole(self, either: Site) -> None:
        replies: list[int] = []

        def ask() -> None:
            replies.extend(either.ask("GET", "/").status for _ in range(10))

        askers = [threading.Thread(target=ask) for _ in range(20)]
        with Sampler() as sampler:
            for asker in askers:
                asker.start()
            for asker in askers:
                asker.join()
        assert replies == [200] * 200
        assert sampler.most <= MOST_CONNECTIONS + ENDING

    def test_one_more_than_can_be_busy_is_turned_away_and_holds_up_nobody(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_module, "_LONGEST_WAIT", 0.1)
        go_on = threading.Event()

        def busy(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if environ["PATH_INFO"] == "/busy":
                go_on.wait(SOON)
            return hello(environ, start_response)

        site = serve(busy)
        with contextlib.ExitStack() as crowd:
            for _ in range(MOST_CONNECTIONS):
                connection = crowd.enter_context(site.connect())
                connection.sendall(b"GET /busy HTTP/1.0\r\n\r\n")
            wait_until(lambda: connections() == MOST_CONNECTIONS, SOON, "all to be busy")
            started = time.monotonic()
            turned_away = crowd.enter_context(site.connect())
            with contextlib.suppress(ConnectionError):
                while True:  # one that goes on sending must not hold up the server's own thread
                    assert time.monotonic() < started + SOON, "it was not turned away"
                    turned_away.sendall(b"x")
                    time.sleep(0.01)
            go_on.set()
            assert site.ask("GET", "/").status == 200
