"""How one HTTP conversation ends, whatever the other side does: over real sockets."""

import contextlib
import errno
import gzip
import os
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

import pytest

from qsticky.errors import ErrorKind, Reason, ServiceError
from qsticky.services.failures import explain
from qsticky.services.http import LARGEST_ANSWER, Exchange, HttpClient, Response, Service
from qsticky.services.line import Line, Stage
from qsticky.services.qbittorrent import qbittorrent_service
from tests.real import free_port, wait_until
from tests.unit.conftest import (
    LONG,
    Certificates,
    Script,
    Serve,
    Server,
    always,
    answering,
    read_request,
)

SHORT = 0.3  # seconds, a request's time where it is to run out
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def dripping(head: bytes, drop: bytes, interval: float = 0.01) -> Script:
    """Answer with these bytes at once, and then with a drop again and again, for ever."""

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        never = threading.Event()
        while not never.wait(interval):
            connection.sendall(drop)

    return script


def silent(connection: socket.socket) -> None:
    """Take what comes and say nothing."""
    while connection.recv(65536):
        pass


def read_and_close(connection: socket.socket) -> None:
    """Take a request, and close the connection."""
    read_request(connection)


def close_at_once(_: socket.socket) -> None:
    """Take nothing."""


MakeClient = Callable[..., HttpClient]


@pytest.fixture
def client(exchanges: list[Exchange]) -> MakeClient:
    """Makes a client of a server: qBittorrent's, unless told otherwise."""

    def client(
        server: Server | int,
        timeout: float = LONG,
        *,
        https: bool = False,
        verify: bool | str = True,
        label: str = "qbittorrent",
        host: str = "127.0.0.1",
    ) -> HttpClient:
        port = server if isinstance(server, int) else server.port
        service = Service(
            label=label,
            name="The service",
            url=f"{'https' if https else 'http'}://{host}:{port}",
            unreachable=Reason.QBITTORRENT_UNREACHABLE,
            invalid_response=Reason.QBITTORRENT_INVALID_RESPONSE,
            verify=verify,
        )
        return HttpClient(service, timeout, exchanges.append)

    return client


def ask(client: HttpClient, method: str = "GET", path: str = "/", **options: Any) -> Response:
    """Send a request, and return the answer without judging it."""
    with client.exchange(method, path, **options) as answer:
        return answer


def failure(client: HttpClient) -> ServiceError:
    """Send a request that must fail, and return how, with its sentence naming the address."""
    with pytest.raises(ServiceError) as caught:
        ask(client)
    assert client.service.url in str(caught.value)
    return caught.value


def unreachable(client: HttpClient, kind: ErrorKind, *words: str) -> ServiceError:
    error = failure(client)
    assert (error.reason, error.kind) == (Reason.QBITTORRENT_UNREACHABLE, kind)
    for word in words:
        assert word in str(error)
    return error


def request_threads() -> int:
    return sum(thread.name == "request" for thread in threading.enumerate())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# Answers


def test_an_answer_is_returned_whole(serve: Serve, client: MakeClient) -> None:
    answer = b"HTTP/1.1 404 Nope\r\nX-Some: thing\r\nContent-Length: 3\r\n\r\nno\n"
    response = ask(client(serve(answering(answer))))
    assert (response.status, response.body, response.ok) == (404, b"no\n", False)
    assert response.headers["x-some"] == "thing"


@pytest.mark.parametrize("status", [200, 204, 299])
def test_any_2xx_is_ok(serve: Serve, client: MakeClient, status: int) -> None:
    answer = f"HTTP/1.1 {status} Fine\r\nContent-Length: 0\r\n\r\n".encode()
    assert ask(client(serve(answering(answer)))).ok


def test_a_request_carries_its_headers_and_its_form(serve: Serve, client: MakeClient) -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        request = b""
        while b"a=b" not in request:
            request += connection.recv(65536)
        seen.append(request)
        connection.sendall(OK)

    headers = {"X-API-Key": b"  schl\xc3\xbcssel "}
    ask(client(serve(script)), "POST", "/p", headers=headers, form={"a": "b ü"})
    [request] = seen
    assert request.startswith(b"POST /p HTTP/1.1\r\n")
    assert b"\r\nX-API-Key: schl\xc3\xbcssel\r\n" in request
    assert b"\r\nUser-Agent: qsticky/" in request
    assert request.endswith(b"\r\n\r\na=b+%C3%BC")


@pytest.mark.parametrize(
    "location", [b"http://127.0.0.1:%d/", b"/other", b"http://[", b"\xff\xfe", b""]
)
def test_redirects_are_not_followed(serve: Serve, client: MakeClient, location: bytes) -> None:
    elsewhere = serve(always(OK))
    location = location.replace(b"%d", b"%d" % elsewhere.port)
    moved = b"HTTP/1.1 301 Moved\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
    server = serve(always(moved))
    assert ask(client(server)).status == 301
    assert (server.accepted, elsewhere.accepted) == (1, 0)


def test_proxies_and_credentials_of_the_environment_are_ignored(
    serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK)

    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\ndefault login me password s\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert ask(client(serve(script))).body == b"ok"
    assert b"authorization" not in seen[0].lower()


def test_cookies_are_told_and_not_kept(serve: Serve, client: MakeClient) -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        while request := read_request(connection):
            seen.append(request)
            connection.sendall(OK.replace(b"\r\n", b"\r\n" + cookies, 1))

    cookies = (
        b"Set-Cookie: SID=a=c ; expires=Thu, 26 Nov 2026 00:00:00 GMT; path=/\r\n"
        b"set-cookie: proxy=1\r\nSet-Cookie: folded=1\r\n 2\r\n"
        b"Set-Cookie: gone=; expires=Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    )
    asking = client(serve(script))
    assert [ask(asking).cookies for _ in range(2)] == [{"SID": "a=c", "proxy": "1"}] * 2
    assert b"cookie" not in seen[1].lower()


def test_nothing_is_logged_of_headers_that_are_none(
    serve: Serve, client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nno header\r\nSet-Cookie: SID=secret\r\n\r\n"
    ask(client(serve(answering(answer))), path="/secret")
    assert not caplog.records


# The request's thread


def test_requests_share_a_thread_that_ends_with_their_client(
    serve: Serve, client: MakeClient
) -> None:
    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "request"} - before

    before = set[threading.Thread]()
    before = threads()
    asking = client(serve(always(OK)))
    ask(asking)
    [thread] = threads()
    for _ in range(5):
        ask(asking)
        assert threads() == {thread}
    del asking
    wait_until(lambda: not thread.is_alive(), LONG, "the requests' thread to end")


def test_an_exception_that_nobody_expects_reaches_the_caller_at_once(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch, exchanges: list[Exchange]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    asking = client(80)
    monkeypatch.setattr(Line, "exchange", broken)
    with pytest.raises(ZeroDivisionError):
        ask(asking)
    [told] = exchanges
    assert told.error is None
    assert told.seconds < LONG / 2


@pytest.mark.parametrize("value", [b"secret\nX-Other: 1", b"secret\r"[:-1] + b"\x00\n1"])
def test_a_credential_that_no_header_can_carry_is_told_and_not_shown(
    client: MakeClient, value: bytes
) -> None:
    with pytest.raises(ServiceError, match="a credential has a character in it") as caught:
        ask(client(80), headers={"X-API-Key": value})
    shown = "".join(traceback.format_exception(caught.value))
    assert "secret" not in shown.replace(repr(value), "").split("ServiceError")[-1]
    assert caught.value.__cause__ is None
    assert not caught.value.sent


# A request that must not be sent twice


def test_with_patience_a_request_has_a_connection_of_its_own(
    serve: Serve, client: MakeClient
) -> None:
    server = serve(always(OK))
    asking = client(server)
    for _ in range(2):
        ask(asking)
    assert server.accepted == 1
    for number in (2, 3):
        ask(asking, patience=LONG)
        assert server.accepted == number
    ask(asking)
    assert server.accepted == 3
    wait_until(lambda: server.threads == 1, LONG, "the others to be closed")


def test_with_patience_a_request_waits_longer_once_it_is_sent(
    serve: Serve, client: MakeClient
) -> None:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        answered.wait(LONG)
        connection.sendall(OK)

    answered = threading.Event()
    threading.Timer(3 * SHORT, answered.set).start()
    assert ask(client(serve(script), SHORT), patience=LONG).body == b"ok"


def test_with_patience_a_request_has_no_longer_than_that(serve: Serve, client: MakeClient) -> None:
    with deadline(3 * SHORT), pytest.raises(ServiceError, match=f"answer within {3 * SHORT:g} s"):
        ask(client(serve(silent), SHORT), patience=3 * SHORT)


def test_patience_is_not_for_connecting(client: MakeClient) -> None:
    with full_queue() as port, deadline():
        with pytest.raises(ServiceError, match=f"connected to within {SHORT:g} s") as caught:
            ask(client(port, SHORT), patience=LONG)
        assert not caught.value.sent


def test_with_patience_a_closed_connection_is_not_tried_again(
    serve: Serve, client: MakeClient
) -> None:
    server = serve(closing)
    asking = client(server)
    ask(asking)  # which keeps a connection
    server = serve(read_and_close)
    with pytest.raises(ServiceError, match="closed the connection") as caught:
        ask(client(server), "POST", patience=LONG)
    assert caught.value.sent
    assert server.accepted == 1


# Connections


def test_a_connection_is_kept(serve: Serve, client: MakeClient) -> None:
    server = serve(always(OK))
    asking = client(server)
    for _ in range(5):
        ask(asking)
    assert server.accepted == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(
    serve: Serve, client: MakeClient
) -> None:
    server = serve(answering(OK))
    asking = client(server)
    for _ in range(3):
        assert ask(asking).body == b"ok"
    assert server.accepted == 3


def closing(connection: socket.socket) -> None:
    """Answer one request, and close the connection on the next."""
    read_request(connection)
    connection.sendall(OK)
    read_request(connection)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_kept_connection_that_closes_on_a_request_is_replaced_once(
    serve: Serve, client: MakeClient, exchanges: list[Exchange], method: str
) -> None:
    server = serve(closing)
    asking = client(server)
    for _ in range(3):
        assert ask(asking, method).body == b"ok"
    assert server.accepted == 3
    assert [exchange.error for exchange in exchanges] == [None] * 3


def test_a_new_connection_that_closes_is_not_tried_again(serve: Serve, client: MakeClient) -> None:
    server = serve(read_and_close)
    unreachable(client(server), ErrorKind.CONNECTION)
    assert server.accepted == 1


def test_a_kept_connection_is_replaced_once_and_no_more(serve: Serve, client: MakeClient) -> None:
    def script(connection: socket.socket) -> None:
        if server.accepted == 1:
            closing(connection)
        else:
            read_request(connection)

    server = serve(script)
    asking = client(server)
    ask(asking)
    unreachable(asking, ErrorKind.CONNECTION, "closed the connection without an answer")
    assert server.accepted == 2


def test_what_comes_over_a_kept_connection_unasked_is_the_answer_to_nothing(
    serve: Serve, client: MakeClient
) -> None:
    taken, told = threading.Event(), threading.Event()

    def impatient(connection: socket.socket) -> None:
        """As a proxy whose client asks for nothing more."""
        read_request(connection)
        connection.sendall(OK)
        taken.wait(LONG)
        connection.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        told.set()
        always(OK)(connection)

    server = serve(lambda connection: (always(OK) if told.is_set() else impatient)(connection))
    asking = client(server)
    ask(asking)
    taken.set()
    assert told.wait(LONG)
    assert ask(asking).status == 200
    assert server.accepted == 2


def test_an_answer_that_came_before_its_request_was_sent_counts(
    serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, connect = threading.Event(), socket.socket.connect

    def busy(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        connection.close()
        closed.set()

    def late(self: socket.socket, address: object) -> None:
        connect(self, address)  # type: ignore[arg-type]
        closed.wait(LONG)

    server = serve(busy)
    monkeypatch.setattr(socket.socket, "connect", late)
    assert ask(client(server), "POST", form={"a": "b"}).status == 503


def test_after_a_kept_connection_the_new_failure_is_the_one_that_counts(
    serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = client(serve(closing))
    ask(asking)

    def unroutable(*_: object) -> None:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr(socket.socket, "connect", unroutable)
    unreachable(asking, ErrorKind.CONNECTION, "can't be reached (No route to host)")


@pytest.mark.parametrize("failing", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"nonsense\r\n\r\n"])
def test_a_failure_leaves_a_client_that_works(
    serve: Serve, client: MakeClient, failing: bytes
) -> None:
    def script(connection: socket.socket) -> None:
        answering(failing if server.accepted == 1 else OK)(connection)

    server = serve(script)
    asking = client(server)
    failure(asking)
    assert ask(asking).body == b"ok"


# Nobody there


def test_a_refused_connection_tells_that_nobody_is_there(client: MakeClient) -> None:
    error = unreachable(
        client(free_port()),
        ErrorKind.CONNECTION,
        "refused the connection",
        "check that it runs and that QBITTORRENT_HOST and QBITTORRENT_PORT are right",
    )
    assert error.absent


@pytest.mark.parametrize(
    ("code", "absent"),
    [(socket.EAI_NONAME, True), (socket.EAI_AGAIN, False), (socket.EAI_FAIL, False)],
)
def test_a_name_that_does_not_resolve_tells_that_nobody_is_there(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch, code: int, absent: bool
) -> None:
    def unresolved(*_: object, **__: object) -> None:
        raise socket.gaierror(code, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    error = unreachable(
        client(80, host="qbittorrent"),
        ErrorKind.CONNECTION,
        "can't be found by that name",
        "check QBITTORRENT_HOST",
        "a container's name is known to the containers in one network with it",
    )
    assert error.absent is absent


def test_an_unreachable_network_is_told_in_its_own_words(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unroutable(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", unroutable)
    error = unreachable(
        client(80), ErrorKind.CONNECTION, "can't be reached (Network is unreachable)"
    )
    assert not error.absent


def test_a_link_local_address_keeps_its_interface(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = ("fe80::1", 80, 0, 7)
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", address)]
    tried: list[object] = []

    def connect(_: socket.socket, address: object) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket.socket, "connect", connect)
    unreachable(client(80, host="[fe80::1%eth0]"), ErrorKind.CONNECTION, "refused")
    assert tried == [address]


def test_the_dot_after_a_whole_name_is_for_the_resolver_alone(
    serve: Serve, client: MakeClient, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    names: list[str] = []

    def script(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK)

    def resolved(name: str, port: int, *_: object) -> list[object]:
        names.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    server = serve(script, certificates.wrong_name)
    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    ask(client(server, https=True, verify=str(certificates.ca), host="localhost."))
    assert names == ["localhost."]
    assert f"\r\nHost: localhost:{server.port}\r\n".encode() in seen[0]


def test_without_threads_a_request_is_not_sent_and_the_limits_are_named(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    error = unreachable(client(80), ErrorKind.CONNECTION, "threads", "pids_limit")
    assert not error.sent


# No answer in time


@contextlib.contextmanager
def deadline(timeout: float = SHORT) -> Iterator[None]:
    """Assert that what is inside ends in time, and not before, and leaves no thread behind.

    In time is generous, for a busy machine: what is inside would last for ever.
    """
    before, started = request_threads(), time.monotonic()
    yield
    assert timeout <= time.monotonic() - started < timeout + LONG / 4
    wait_until(lambda: request_threads() <= before, LONG, "the request's thread to end")


@contextlib.contextmanager
def full_queue() -> Iterator[int]:
    """A port that nobody can connect to, nor be refused by."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # more than its queue takes
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    "script",
    [
        silent,
        dripping(b"H", b"T"),
        dripping(b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        dripping(HEAD, b"a"),
        dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        dripping(b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 99999\r\n\r\n", b"a"),
    ],
    ids=["nothing", "status", "headers", "continue", "body", "open end", "chunks", "redirect"],
)
def test_no_trickle_of_bytes_outlives_the_deadline(
    serve: Serve, client: MakeClient, script: Script
) -> None:
    with deadline():
        error = unreachable(
            client(serve(script), SHORT),
            ErrorKind.TIMEOUT,
            f"took the connection and did not answer within {SHORT:g} s",
            "REQUEST_TIMEOUT",
        )
    assert not error.absent


def test_a_kept_connection_that_falls_silent_is_not_taken_for_a_closed_one(
    serve: Serve, client: MakeClient
) -> None:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        silent(connection)

    server = serve(script)
    asking = client(server, SHORT)
    ask(asking)
    with deadline():
        unreachable(asking, ErrorKind.TIMEOUT, "took the connection and did not answer")
    wait_until(lambda: server.threads == 0, LONG, "the connection to be closed")


def test_a_connection_that_never_completes_is_told_from_a_silent_one(client: MakeClient) -> None:
    with full_queue() as port, deadline():
        error = unreachable(
            client(port, SHORT),
            ErrorKind.TIMEOUT,
            f"could not be connected to within {SHORT:g} s",
            "no firewall",
        )
    assert not error.absent
    assert not error.sent


def test_however_many_addresses_a_name_has_nobody_goes_on_trying_them(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_queue() as port:
        found = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM) * 200
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with deadline():
            unreachable(client(port, SHORT), ErrorKind.TIMEOUT, "could not be connected to")


def test_a_resolver_that_hangs_is_not_waited_for(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def hanging(*_: object, **__: object) -> None:
        answered.wait(LONG)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    with deadline():
        unreachable(client(80, SHORT), ErrorKind.TIMEOUT, "could not be connected to")
        answered.set()


def test_a_connection_that_comes_too_late_is_closed_unused(
    serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[bytes] = []
    server = serve(lambda connection: received.append(connection.recv(65536)))
    answered, connect = threading.Event(), socket.socket.connect

    def slow(connecting: socket.socket, address: tuple[str, int]) -> None:
        answered.wait(LONG)
        connect(connecting, address)

    monkeypatch.setattr(socket.socket, "connect", slow)
    with deadline():
        failure(client(server, SHORT))
        answered.set()
    wait_until(lambda: server.accepted == 1, LONG, "the late connection")
    wait_until(lambda: server.threads == 0, LONG, "the late connection to be closed")
    assert received == [b""]


HANDSHAKE = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"  # a ServerHello of 16 KiB begins


@pytest.mark.parametrize(
    ("script", "https"),
    [
        pytest.param(silent, False, id="silent"),
        pytest.param(silent, True, id="silent TLS"),
        pytest.param(dripping(b"", b"H"), False, id="headers"),
        pytest.param(dripping(HEAD, b"a"), False, id="body"),
        pytest.param(dripping(HANDSHAKE, b"\0"), True, id="handshake"),
        pytest.param(answering(b""), False, id="closed"),
        pytest.param(answering(HEAD), False, id="cut"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536), 0), False, id="too much"),
    ],
)
def test_nothing_grows_however_often_a_request_fails(
    serve: Serve, client: MakeClient, certificates: Certificates, script: Script, https: bool
) -> None:
    server = serve(script)
    asking = client(server, 0.03, https=https, verify=str(certificates.ca))
    threads, files = request_threads(), descriptors()
    for _ in range(20):
        failure(asking)
    wait_until(lambda: request_threads() <= threads, LONG, "the requests' threads to end")
    wait_until(lambda: server.threads == 0, LONG, "the connections to be closed")
    wait_until(lambda: descriptors() <= files, LONG, "the sockets to be closed")


# Answers that are none


@pytest.mark.parametrize("script", [close_at_once, read_and_close])
def test_a_connection_closed_without_a_byte_hints_at_https(
    serve: Serve, client: MakeClient, script: Script
) -> None:
    error = unreachable(
        client(serve(script)),
        ErrorKind.CONNECTION,
        "closed the connection without an answer",
        "QBITTORRENT_HTTPS=true",
    )
    assert not error.absent


def test_gluetun_closing_without_a_byte_hints_at_host_and_port(
    serve: Serve, client: MakeClient
) -> None:
    error = unreachable(
        client(serve(answering()), label="gluetun"),
        ErrorKind.CONNECTION,
        "closed the connection without an answer",
        "GLUETUN_HOST and GLUETUN_PORT",
    )
    assert "HTTPS" not in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nSet-Cookie: SID=abc\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\nSet-Cookie: SID=abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
    ids=["length", "no content", "chunks"],
)
def test_an_answer_that_breaks_off_anywhere_is_none(
    serve: Serve, client: MakeClient, answer: bytes
) -> None:
    lengths = iter(range(1, len(answer)))
    server = serve(lambda connection: answering(answer[: next(lengths)])(connection))
    asking = client(server)
    for _ in range(1, len(answer)):
        error = unreachable(
            asking, ErrorKind.CONNECTION, "broke off in the middle of its answer", "look at its log"
        )
        assert not error.absent


def test_an_answer_may_end_with_its_connection(serve: Serve, client: MakeClient) -> None:
    server = serve(answering(b"HTTP/1.0 200 OK\r\nX-Some: thing\r\n\r\nall of it"))
    assert ask(client(server)).body == b"all of it"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["SSH", "alert", "no status", "many headers", "long header", "lengths", "coding"],
)
def test_what_is_no_http_is_told(serve: Serve, client: MakeClient, answer: bytes) -> None:
    error = failure(client(serve(answering(answer))))
    assert error.reason is Reason.QBITTORRENT_INVALID_RESPONSE
    assert error.kind is ErrorKind.INVALID_RESPONSE
    assert "answered with something that is not HTTP" in str(error)
    assert "check that QBITTORRENT_HOST and QBITTORRENT_PORT name it" in str(error)


def test_a_length_may_have_spaces_around_it(serve: Serve, client: MakeClient) -> None:
    server = serve(always(OK.replace(b"h: 2", b"h: \t2 ")))
    assert ask(client(server)).body == b"ok"


def sized(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size


def test_an_answer_of_1_mib_is_taken(serve: Serve, client: MakeClient) -> None:
    assert len(ask(client(serve(answering(sized(LARGEST_ANSWER))))).body) == LARGEST_ANSWER


ENDLESS = {
    "length": sized(LARGEST_ANSWER + 1),
    "no length": b"HTTP/1.1 200 OK\r\n\r\n" + bytes(LARGEST_ANSWER + 1),
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + (b"10000\r\n" + bytes(65536) + b"\r\n") * 17,
    "framing": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 1100,
    "trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    + b"A: b\r\n" * 200_000,
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=list(ENDLESS))
def test_an_answer_of_more_than_1_mib_is_none(
    serve: Serve, client: MakeClient, answer: bytes
) -> None:
    error = failure(client(serve(answering(answer))))
    assert error.reason is Reason.QBITTORRENT_INVALID_RESPONSE
    assert error.kind is ErrorKind.INVALID_RESPONSE
    assert "answered with more than 1 MiB" in str(error)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ],
    ids=["open end", "redirect", "length"],
)
def test_an_endless_answer_is_not_read_to_the_deadline(
    serve: Serve, client: MakeClient, head: bytes
) -> None:
    started = time.monotonic()
    error = failure(client(serve(dripping(head, bytes(65536), 0))))
    assert "answered with more than 1 MiB" in str(error)
    assert time.monotonic() - started < LONG / 2


def test_a_larger_answer_is_taken_where_that_is_asked_for(serve: Serve, client: MakeClient) -> None:
    asking = client(serve(always(sized(4 * LARGEST_ANSWER))))
    assert len(ask(asking, limit=4 * LARGEST_ANSWER).body) == 4 * LARGEST_ANSWER
    with pytest.raises(ServiceError, match="answered with more than 3 MiB"):
        ask(asking, limit=3 * LARGEST_ANSWER)


def test_the_head_of_an_answer_has_64_kib(serve: Serve, client: MakeClient) -> None:
    def headed(size: int) -> bytes:
        return OK.replace(b"\r\n\r\n", b"\r\n" + b"A: %s\r\n" % (b"b" * 994) * size + b"\r\n", 1)

    assert ask(client(serve(answering(headed(60))))).body == b"ok"
    error = failure(client(serve(answering(headed(98)))))
    assert error.kind is ErrorKind.INVALID_RESPONSE
    assert "answered with more than 64 KiB of headers" in str(error)


@pytest.mark.parametrize("status", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_a_provisional_answer_is_not_taken_for_the_final_one(
    serve: Serve, client: MakeClient, status: bytes
) -> None:
    provisional = b"HTTP/1.1 " + status + b"\r\nLink: </style.css>\r\n\r\n"
    asking = client(serve(always(2 * provisional + OK)))
    assert [ask(asking).body for _ in range(3)] == [b"ok"] * 3


def chunked(*parts: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(parts)


def test_chunks_are_put_together_whatever_stands_beside_their_sizes(
    serve: Serve, client: MakeClient
) -> None:
    answer = chunked(
        b"000A;name=value\r\n0123456789\r\n", b"2 \t\r\nab\r\n", b"1\nc\n", b"0\r\nA: b\r\n\r\n"
    )
    server = serve(always(answer))
    asking = client(server)
    assert [ask(asking).body for _ in range(3)] == [b"0123456789abc"] * 3
    assert server.accepted == 1


@pytest.mark.parametrize(
    "size", [b"-1", b"+5", b"0x5", b"5_0", b" 5", b"", b"g", b"\xd9\xa3", b"1" * 17, b"5\x005"]
)
def test_a_chunk_size_that_is_not_a_plain_number_ends_the_answer(
    serve: Serve, client: MakeClient, size: bytes
) -> None:
    answer = chunked(size + b"\r\n", b"a" * 65_536, b"\r\n0\r\n\r\n")
    error = failure(client(serve(answering(answer))))
    assert error.kind is ErrorKind.INVALID_RESPONSE
    assert "answered in chunks whose size is not a number" in str(error)


def test_a_chunk_that_does_not_end_where_it_says_ends_the_answer(
    serve: Serve, client: MakeClient
) -> None:
    error = failure(client(serve(answering(chunked(b"2\r\nabc\r\n0\r\n\r\n")))))
    assert "answered in chunks that don't end where they say" in str(error)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"identity, gzip", b"x"])
def test_an_encoding_that_was_not_asked_for_ends_the_answer(
    serve: Serve, client: MakeClient, encoding: bytes
) -> None:
    packed = gzip.compress(bytes(1024))
    head = b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (encoding, len(packed))
    error = failure(client(serve(answering(b"HTTP/1.1 200 OK\r\n" + head + packed))))
    assert error.kind is ErrorKind.INVALID_RESPONSE
    assert "answered in a Content-Encoding that it was not asked for" in str(error)


# TLS


def test_a_certificate_of_the_given_ca_is_taken(
    serve: Serve, client: MakeClient, certificates: Certificates
) -> None:
    server = serve(always(OK), certificates.right)
    asking = client(server, https=True, verify=str(certificates.ca))
    assert [ask(asking).body for _ in range(3)] == [b"ok"] * 3
    assert server.accepted == 1


def test_the_services_own_certificate_will_do_for_the_cas(
    serve: Serve, client: MakeClient, certificates: Certificates
) -> None:
    server = serve(always(OK), certificates.right)
    itself = certificates.ca.with_name("right.pem")
    assert ask(client(server, https=True, verify=str(itself))).body == b"ok"


@pytest.mark.parametrize(
    ("kind", "known_ca", "problem", "remedy"),
    [
        ("right", False, "unable to get local issuer certificate", "set QBITTORRENT_CA_FILE to"),
        ("self_signed", False, "self-signed certificate", "set QBITTORRENT_CA_FILE to"),
        ("self_signed", True, "self-signed certificate", "into QBITTORRENT_CA_FILE"),
        (
            "wrong_name",
            True,
            "is for another host",
            "set QBITTORRENT_HOST to a name that it is for (localhost, 192.0.2.1)",
        ),
        ("nameless", True, "names no host", "make one that does (subjectAltName"),
        ("not_yet", True, "certificate is not yet valid", "set the clock of this machine"),
        ("expired", True, "certificate has expired", "renew it, or set"),
    ],
)
def test_a_refused_certificate_names_both_ways_out(
    serve: Serve,
    client: MakeClient,
    certificates: Certificates,
    kind: str,
    known_ca: bool,
    problem: str,
    remedy: str,
) -> None:
    server = serve(always(OK), getattr(certificates, kind))
    verify = str(certificates.ca) if known_ca else True
    error = unreachable(
        client(server, https=True, verify=verify),
        ErrorKind.TLS,
        "has a certificate that ",
        problem,
        remedy,
        "QBITTORRENT_VERIFY_SSL=false",
    )
    assert not error.absent


@pytest.mark.parametrize(
    "plant",
    [
        lambda _: None,
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.touch(),
        lambda path: path.write_text("-----BEGIN CERTIFICATE-----\nhalf"),
    ],
    ids=["nothing", "a FIFO", "a device", "an empty file", "half a file"],
)
def test_a_ca_file_that_holds_no_certificate_any_more_is_named_and_holds_nobody(
    serve: Serve,
    client: MakeClient,
    certificates: Certificates,
    tmp_path: Path,
    plant: Callable[[Path], object],
) -> None:
    before, file = request_threads(), tmp_path / "ca.pem"
    file.symlink_to(certificates.ca)
    server = serve(answering(OK), certificates.right)
    asking = client(server, https=True, verify=str(file))
    assert ask(asking).ok
    file.unlink()
    plant(file)
    error = unreachable(asking, ErrorKind.TLS, f"QBITTORRENT_CA_FILE {file} holds no certificate")
    assert not error.sent
    wait_until(lambda: request_threads() <= before + 1, LONG, "no thread to be left behind")


@pytest.mark.parametrize(
    ("code", "why", "remedy"),
    [
        (26, "unsuitable certificate purpose", "have a new one made without that fault"),
        (
            2,
            "unable to get issuer certificate",
            "put the certificate of the CA that signed it, and of each CA above that, into ",
        ),
    ],
)
def test_what_is_wrong_although_the_ca_is_known_is_told_apart(
    code: int, why: str, remedy: str
) -> None:
    service = qbittorrent_service("https://localhost:8080", "/run/ca.pem")
    refused = ssl.SSLCertVerificationError()
    refused.verify_code, refused.verify_message = code, why
    assert f"({why}); {remedy}" in str(explain(refused, service, Stage.SECURING, 1))


@pytest.mark.parametrize("kind", ["right", "self_signed", "wrong_name", "nameless", "expired"])
def test_unverified_any_certificate_is_taken_without_a_warning(
    serve: Serve, client: MakeClient, certificates: Certificates, kind: str
) -> None:
    server = serve(always(OK), getattr(certificates, kind))
    assert ask(client(server, https=True, verify=False)).body == b"ok"


def test_without_a_ca_file_the_systems_certificates_count(
    serve: Serve,
    client: MakeClient,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve(always(OK), certificates.right)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificates.ca))
    unreachable(client(server, https=True), ErrorKind.TLS)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))  # OpenSSL's name of where they are
    assert ask(client(server, https=True)).body == b"ok"
    monkeypatch.setenv("SSL_CERT_FILE", "/no/bundle")
    assert ask(client(server, https=True, verify=False)).body == b"ok"
    assert ask(client(server, https=True, verify=str(certificates.ca))).body == b"ok"


def test_https_to_an_http_port_that_hangs_hints_at_http(serve: Serve, client: MakeClient) -> None:
    with deadline():
        error = unreachable(
            client(serve(silent), SHORT, https=True),
            ErrorKind.TLS,
            f"did not answer the TLS handshake within {SHORT:g} s",
            "QBITTORRENT_HTTPS=false",
        )
    assert not error.absent


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", HANDSHAKE])
def test_https_to_what_speaks_no_tls_hints_at_http(
    serve: Serve, client: MakeClient, answer: bytes
) -> None:
    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    unreachable(
        client(serve(script), https=True),
        ErrorKind.TLS,
        "did not speak TLS as expected",
        "QBITTORRENT_HTTPS=false",
    )


def test_http_to_an_https_port_hints_at_https(
    serve: Serve, client: MakeClient, certificates: Certificates
) -> None:
    server = serve(always(OK), certificates.right)
    unreachable(
        client(server),
        ErrorKind.CONNECTION,
        "if it speaks HTTPS there, set QBITTORRENT_HTTPS=true, and if that is its port for peers, "
        "set QBITTORRENT_PORT to its WebUI's",
    )


def test_a_tls_connection_that_falls_silent_is_no_tls_problem(
    serve: Serve, client: MakeClient, certificates: Certificates
) -> None:
    server = serve(silent, certificates.right)
    with deadline(1.0):  # enough for the handshake also on a busy machine
        unreachable(
            client(server, 1.0, https=True, verify=str(certificates.ca)),
            ErrorKind.TIMEOUT,
            "took the connection and did not answer",
        )


@pytest.mark.parametrize("orderly", [True, False])
def test_a_kept_tls_connection_that_closes_on_a_request_is_replaced(
    serve: Serve, client: MakeClient, certificates: Certificates, orderly: bool
) -> None:
    def script(connection: socket.socket) -> None:
        closing(connection)
        if orderly and isinstance(connection, ssl.SSLSocket):
            connection.unwrap()

    server = serve(script, certificates.right)
    asking = client(server, https=True, verify=str(certificates.ca))
    assert [ask(asking).body for _ in range(3)] == [b"ok"] * 3
    assert server.accepted == 3


# Observers


def test_an_observer_is_told_of_each_request_once(
    serve: Serve, client: MakeClient, exchanges: list[Exchange]
) -> None:
    asking = client(serve(always(OK)), label="gluetun")
    ask(asking, path="/some/path")
    ask(asking, "POST", "/api/v2/auth/login", operation="login")
    told = [(each.service, each.operation, each.error) for each in exchanges]
    assert told == [("gluetun", "/some/path", None), ("gluetun", "login", None)]
    assert all(0 < each.seconds < LONG for each in exchanges)


def test_an_observer_is_told_how_a_request_failed(
    serve: Serve, client: MakeClient, exchanges: list[Exchange]
) -> None:
    failure(client(serve(silent), SHORT))
    failure(client(serve(silent), SHORT, https=True))
    failure(client(free_port()))
    failure(client(serve(answering(b"nonsense\r\n"))))
    assert [exchange.error for exchange in exchanges] == [
        ErrorKind.TIMEOUT,
        ErrorKind.TLS,
        ErrorKind.CONNECTION,
        ErrorKind.INVALID_RESPONSE,
    ]
    assert SHORT <= exchanges[0].seconds < LONG / 2


def test_an_observer_is_told_how_an_answer_was_judged(
    serve: Serve, client: MakeClient, exchanges: list[Exchange]
) -> None:
    asking = client(serve(always(OK)))

    with pytest.raises(ServiceError, match="refused"), asking.exchange("GET", "/"):
        raise ServiceError(Reason.QBITTORRENT_UNAUTHORIZED, ErrorKind.UNAUTHORIZED, "refused")
    with pytest.raises(ZeroDivisionError), asking.exchange("GET", "/"):
        raise ZeroDivisionError
    assert [exchange.error for exchange in exchanges] == [ErrorKind.UNAUTHORIZED, None]


# JSON


@pytest.mark.parametrize(
    ("body", "parsed"),
    [(b"{}", {}), (b' {"a": [1, null]}\n', {"a": [1, None]}), ("{'a'}".encode("utf-16"), None)]
    + [
        (body, None)
        for body in (
            b"",
            b"<html>Log in</html>",
            b"[]",
            b"null",
            b'"text"',
            b'{"a": 1',
            b'{"a": 1}}',
            b'{"a": "\xff"}',
            b'{"a": ' + b"1" * 5000 + b"}",
            b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        )
    ],
)
def test_only_a_json_object_is_one(
    client: MakeClient, body: bytes, parsed: dict[str, object] | None
) -> None:
    asking, response = client(80), Response(200, body, HTTPMessage())
    if parsed is not None:
        assert asking.json_object(response) == parsed
        return
    with pytest.raises(ServiceError, match="answered with something that is not a JSON") as caught:
        asking.json_object(response)
    assert caught.value.kind is ErrorKind.INVALID_RESPONSE
    assert caught.value.reason is Reason.QBITTORRENT_INVALID_RESPONSE
