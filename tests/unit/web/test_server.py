"""That no client, however many or strange, keeps another from being served."""

import contextlib
import json
import random
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from qsticky.web import connection as connection_module
from qsticky.web import server as server_module
from qsticky.web.server import Server
from tests.real import wait_until
from tests.serving import SOON, Pair, Reply, Site, received
from tests.unit.web.conftest import Serve, hello

MOST_CONNECTIONS = 32
FLOOD = 500
NOISE = random.Random(1).randbytes(100_000)


class TestBinding:
    """Where it listens."""

    def test_ipv6(self, serve: Serve) -> None:
        site = serve(hello, address="::1")
        assert site.address == "::1"
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

    def test_a_port_is_free_again_at_once(self, serve: Serve) -> None:
        first = serve(hello)
        with first.connect() as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            received(connection)
        first.server.close()
        wait_until(lambda: refused(first), SOON, "the server to be closed")
        Server("127.0.0.1", first.port, hello, None).close()


def refused(site: Site) -> bool:
    """Whether nobody listens there any more."""
    try:
        site.dial().close()
    except ConnectionRefusedError:
        return True
    return False


class TestShortages:
    """What it does without."""

    def test_without_threads_the_one_that_there_is_serves_all(
        self, stub: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        wait_until(lambda: threads() == 1, SOON, "its one thread")
        monkeypatch.setattr(threading.Thread, "start", start)
        with contextlib.ExitStack() as crowd:
            for _ in range(20):
                crowd.enter_context(stub.dial())
            assert stub.ask("GET", "/").status == 200
        assert threads() == 1

    def test_threads_end_when_nobody_comes_but_one_that_serves_again(self, serve: Serve) -> None:
        served: set[threading.Thread] = set()

        def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            served.add(threading.current_thread())
            return hello(environ, start)

        site = serve(application)
        with contextlib.ExitStack() as crowd:
            for _ in range(10):
                crowd.enter_context(site.dial())
            wait_until(lambda: threads() == 10, SOON, "a thread for each")
        wait_until(lambda: threads() == 1, SOON, "all but one to end")
        for _ in range(5):
            assert site.ask("GET", "/").status == 200
            wait_until(lambda: site.connections() == 0, SOON, "the connection to be closed")
        assert len(served) == 1

    def test_a_thread_that_dies_is_replaced(
        self, stub: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        died: list[object] = []
        monkeypatch.setattr(threading, "excepthook", lambda hook: died.append(hook.exc_type))

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as broken_for_now:
            broken_for_now.setattr(connection_module, "_parse", broken)
            assert stub.exchange(b"GET / HTTP/1.0\r\n\r\n") == b""
        assert stub.ask("GET", "/").status == 200
        assert died == [ZeroDivisionError]


class TestRequests:
    """What an application is told of a request."""

    @pytest.fixture
    def mirror(self, serve: Serve) -> Site:
        """Answers with what it was told."""

        def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            start("200 OK", [("Content-Type", "application/json")])
            told = {name: value for name, value in environ.items() if isinstance(value, str)}
            return [json.dumps(told).encode()]

        return serve(application)

    @pytest.mark.parametrize(
        ("target", "host", "path", "query"),
        [
            ("/", "localhost", "/", ""),
            ("/metrics?a=b?c", "localhost", "/metrics", "a=b?c"),
            ("//metrics", "localhost", "//metrics", ""),
            ("/%2D/sync", "localhost", "/-/sync", ""),
            ("http://named:1/metrics?a=b", "named:1", "/metrics", "a=b"),
            ("HTTP://named", "named", "/", ""),
            ("*", "localhost", "*", ""),
        ],
    )
    def test_its_target_in_both_forms(
        self, mirror: Site, target: str, host: str, path: str, query: str
    ) -> None:
        told = json.loads(mirror.ask("GET", target).body)
        assert (told["HTTP_HOST"], told["PATH_INFO"], told["QUERY_STRING"]) == (host, path, query)

    def test_its_headers_and_nothing_that_passes_for_them(
        self, mirror: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_ORIGIN", "the environment's")
        headers = ("A: 1", "a: 2", "Sec_Fetch_Site: none", "B-C:  x ")
        told = json.loads(mirror.ask("GET", "/", *headers).body)
        assert {name: value for name, value in told.items() if name.startswith("HTTP_")} == {
            "HTTP_HOST": "localhost",
            "HTTP_A": "1,2",
            "HTTP_B_C": "x",
        }

    @pytest.mark.parametrize("target", ["http://[::1/", "/ HTTP/1.1 x", "/ HTTP/2.0 "])
    def test_what_is_no_request_is_told_so(self, stub: Site, target: str) -> None:
        assert stub.ask("GET", target).status == 400


class TestOwnMistakes:
    """What goes wrong within."""

    def test_a_mistake_of_its_own_is_a_500_and_logged_with_its_traceback(
        self, serve: Serve, warnings: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
            raise ZeroDivisionError

        assert serve(broken).ask("GET", "/").status == 500
        warnings.append("An internal error failed a request")
        assert any(r.exc_info and r.exc_info[0] is ZeroDivisionError for r in caplog.records)


class TestStrangeClients:
    """Clients that are broken or mean harm get an answer or an end, and nobody else notices."""

    def test_of_a_target_the_path_alone_is_logged(
        self, stub: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        stub.ask("GET", "http://me:hunter2@box/metrics?key=hunter2")
        assert "GET /metrics" in caplog.text
        assert "hunter2" not in caplog.text

    @pytest.mark.parametrize(
        "head",
        [
            b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\nX-Long: " + b"y" * 1_000_000 + b"\r\n",
            b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 65_000 + b"\r\n") * 98,
            b"GET / HTTP/1.1\r\nX: " + b"y" * 65_536 + b"\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200,
        ],
        ids=["the line", "a header", "98 headers", "just too much", "200 headers"],
    )
    def test_a_huge_head_is_refused(self, stub: Site, head: bytes) -> None:
        assert Reply.parse(stub.exchange(head + b"\r\n")).status == 431

    @pytest.mark.parametrize("path", ["/", "/" + "x" * 60_000])
    def test_a_head_within_the_bound_is_answered(self, stub: Site, path: str) -> None:
        assert stub.ask("GET", path, "X-Long: " + "y" * (65_000 - len(path))).status == 200

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
        monkeypatch.setattr(connection_module, "_LONGEST", 0.3)
        site = serve(large, pair=pair if with_tls else None)
        with site.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert select.select([connection], [], [], SOON)[0], "the answer doesn't begin"
            wait_until(lambda: site.connections() == 0, SOON, "the answer to be given up")

    def test_a_client_that_reads_its_answer_slowly_is_hung_up_on(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "_LONGEST", 0.3)
        site = serve(large)
        with site.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            started = time.monotonic()
            while connection.recv(1000) and site.connections():
                assert time.monotonic() < started + SOON, "the bound did not hold"

    def test_slow_headers_end_after_the_bound(
        self, either: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "_LONGEST", 0.3)
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
        monkeypatch.setattr(connection_module, "_LONGEST", 0.3)
        with either.dial() as connection:
            assert received(connection) == b""

    def test_a_client_that_does_not_close_what_was_answered_is_given_up(
        self, either: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "_LINGER", 0.1)
        with either.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert Reply.parse(received(connection)).text == "hello\n"
            wait_until(lambda: either.connections() == 0, SOON, "the connection to be closed")

    def test_a_client_that_never_stops_sending_is_given_up(
        self, stub: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "_LONGEST", 0.3)
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


def threads() -> int:
    """How many threads there are to speak with clients."""
    return [thread.name for thread in threading.enumerate()].count("http")


class Sampler:
    """The most such threads at any moment, sampled for as long as the block lasts."""

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
            self.most = max(self.most, threads())


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
        assert MOST_CONNECTIONS // 2 < sampler.most <= MOST_CONNECTIONS

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
        assert sampler.most <= MOST_CONNECTIONS

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
            wait_until(lambda: site.connections() == MOST_CONNECTIONS, SOON, "all to be busy")
            started = time.monotonic()
            turned_away = crowd.enter_context(site.connect())
            with contextlib.suppress(ConnectionError):
                while True:  # one that goes on sending must not hold up the server's own thread
                    assert time.monotonic() < started + SOON, "it was not turned away"
                    turned_away.sendall(b"x")
                    time.sleep(0.01)
            go_on.set()
            assert site.ask("GET", "/").status == 200
