"""Addresses of NOTIFY_URLS, against servers on loopback: what arrives, what bounds them."""

import base64
import gc
import gzip
import itertools
import json
import logging
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from typing import Any

import pytest
import requests
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from urllib3.connection import HTTPConnection

from qsticky import notify_urls
from qsticky.errors import Mistake, Reason
from qsticky.record import addresses, bounds, messages, trial
from qsticky.record.addresses import Address
from qsticky.record.bounds import LARGEST_ANSWER
from qsticky.sync.report import PortChange
from tests.real import free_port
from tests.reports import failing, synced
from tests.unit.conftest import LONG, Certificates, Script, Serve, answering, read_request

SECRET = "s3cr3tt0ken"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
LONG_HEAD = OK.replace(b"\r\n", b"\r\nX-Long: " + b"x" * 40000 + b"\r\n", 2)
FAILING = messages.failing(failing(Reason.NOT_LISTENING, "Nothing listens; restart it"), began=0.0)
CHANGED = messages.port_changed(synced(change=PortChange(50001, 51218, verified=True)))


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take back what Apprise's bounds change in the process, and what its environment has."""
    monkeypatch.setattr(requests.sessions, "Session", requests.sessions.Session)
    monkeypatch.setattr(HTTPConnection, "response_class", HTTPConnection.response_class)
    for name in ("SMTP", "SMTP_SSL"):
        monkeypatch.setattr(smtplib, name, getattr(smtplib, name))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    levels = {name: logging.getLogger(name).level for name in bounds.SILENCED}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(autouse=True)
def nothing_is_printed(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Whatever happens, no output and no log line has anything of the address in it."""
    caplog.set_level(logging.WARNING)
    yield
    lines = map(logging.Formatter().format, caplog.get_records("call"))
    printed = "\n".join([*capsys.readouterr(), *lines])
    assert SECRET not in printed
    assert "127.0.0.1" not in printed


def only(url: str) -> Address:
    (address,) = addresses.parse(url)
    return address


def read_whole(connection: socket.socket) -> tuple[bytes, bytes]:
    """Read a request, and return its head and its body."""
    head, _, body = read_request(connection).partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return head, body


def takes(address: Address) -> bool:
    """Whether it takes a message; how it ends otherwise is Apprise's matter."""
    try:
        return address.send(FAILING)
    except Exception:  # noqa: BLE001 - as who sends it does
        return False


class Caught:
    """A service that takes a request, and keeps its head and its body."""

    def __init__(self) -> None:
        self.head = b""
        self.body = b""

    def __call__(self, connection: socket.socket) -> None:
        self.head, self.body = read_whole(connection)
        connection.sendall(OK)

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def test_a_webhook_gets_the_facts_as_fields_of_its_document(serve: Serve) -> None:
    caught = Caught()
    url = f"json://127.0.0.1:{serve(caught).port}/{SECRET}?:name=films"
    assert only(url).send(CHANGED)
    assert caught.head.startswith(f"POST /{SECRET} HTTP/1.1".encode())
    assert caught.document["title"] == "qSticky: port 51218"
    assert caught.document["message"] == "Successfully updated port to 51218; it was 50001"
    assert caught.document["name"] == "films"
    assert {name: caught.document[name] for name in CHANGED.facts} == CHANGED.facts


def test_ntfy_gets_the_title_and_the_sentence(serve: Serve) -> None:
    caught = Caught()
    assert only(f"ntfy://user:{SECRET}@127.0.0.1:{serve(caught).port}/topic").send(FAILING)
    assert caught.document == {"topic": "topic", "title": FAILING.title, "message": FAILING.body}
    assert base64.b64encode(f"user:{SECRET}".encode()) in caught.head


def test_gotify_gets_the_title_and_the_sentence(serve: Serve) -> None:
    caught = Caught()
    assert only(f"gotify://127.0.0.1:{serve(caught).port}/{SECRET}").send(FAILING)
    assert (caught.document["title"], caught.document["message"]) == (FAILING.title, FAILING.body)
    assert f"X-Gotify-Key: {SECRET}".encode() in caught.head


def test_home_assistant_gets_the_title_and_the_sentence(serve: Serve) -> None:
    caught = Caught()
    assert only(f"hassio://127.0.0.1:{serve(caught).port}/{SECRET}").send(FAILING)
    assert (caught.document["title"], caught.document["message"]) == (FAILING.title, FAILING.body)
    assert b"POST /api/services/persistent_notification/create" in caught.head


class Mailbox:
    """Takes mail from who logs in with the password."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    def password(self, *given: Any) -> AuthResult:
        login = given[4]
        assert isinstance(login, LoginPassword)
        return AuthResult(success=login.password == SECRET.encode())

    async def handle_DATA(self, _: SMTP, __: Session, mail: Envelope) -> str:  # noqa: N802
        assert isinstance(mail.content, bytes)
        self.mails.append(mail.content)
        return "250 taken"


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_mail_arrives_with_the_sentence_as_it_is() -> None:
    box = Mailbox()
    controller = Controller(
        box,
        "127.0.0.1",
        free_port(),
        authenticator=box.password,
        auth_require_tls=False,
        auth_required=True,
    )
    controller.start()
    try:
        where = f"127.0.0.1:{controller.port}"
        url = f"mailto://user:{SECRET}@{where}?from=q@example.com&to=me@example.com"
        sentence = "qBittorrent said <b>no</b> & left; restart it"
        message = messages.failing(failing(Reason.NOT_LISTENING, sentence), began=0.0)
        assert only(url).send(message)
    finally:
        controller.stop()
    mail = message_from_bytes(box.mails[0], policy=policy.default)
    assert mail["Subject"] == FAILING.title
    text = mail.get_body(("plain",))
    assert text is not None
    assert text.get_content().strip() == sentence


def test_a_service_that_refuses_the_connection_did_not_take_it() -> None:
    assert not only(f"json://127.0.0.1:{free_port()}/{SECRET}").send(FAILING)


def test_a_service_that_answers_500_did_not_take_it(serve: Serve) -> None:
    answer = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"
    assert not only(f"json://127.0.0.1:{serve(answering(answer)).port}/{SECRET}").send(FAILING)


def test_a_service_that_never_answers_did_not_take_it(serve: Serve) -> None:
    def hang(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    url = f"json://127.0.0.1:{serve(hang).port}/{SECRET}?rto=0.2"
    assert not only(url).send(FAILING)


def test_no_redirect_is_followed_though_the_address_asks_for_it(serve: Serve) -> None:
    elsewhere = serve(answering(OK))
    head = f"HTTP/1.1 307 Over there\r\nLocation: http://127.0.0.1:{elsewhere.port}/{SECRET}\r\n"
    server = serve(answering(head.encode() + b"Content-Length: 0\r\n\r\n"))
    assert not only(f"json://127.0.0.1:{server.port}/{SECRET}?redirect=yes").send(FAILING)
    assert elsewhere.accepted == 0


def endless(head: bytes, part: bytes) -> Any:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        while True:
            connection.sendall(part)

    return script


ENDLESS = {
    "body": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"8000\r\n" + b"x" * 32768 + b"\r\n",
    ),
    "head": (b"HTTP/1.1 200 OK\r\n", b"X-" + b"x" * 60000 + b": y\r\n"),
    "line": (b"HTTP/1.1 200 ", b"x" * 65536),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n", b"x" * 65536),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_answer_is_not_read_on(serve: Serve, kind: str) -> None:
    server = serve(endless(*ENDLESS[kind]))
    assert not takes(only(f"json://127.0.0.1:{server.port}/{SECRET}"))


def test_a_mail_server_of_endless_lines_is_not_read_on(serve: Serve) -> None:
    def script(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"220-hello\r\n" * 1000)

    address = only(f"mailto://127.0.0.1:{serve(script).port}?from=q@example.com&to=me@example.com")
    assert not takes(address)


def dripping(begin: bytes) -> Script:
    """Answer a byte at a time, for 20 s."""

    def drip(connection: socket.socket) -> None:
        if begin.startswith(b"HTTP"):
            read_request(connection)
        for byte in itertools.chain(begin, itertools.repeat(120, 2000)):
            connection.sendall(bytes([byte]))
            time.sleep(0.01)

    return drip


@pytest.mark.parametrize(
    ("scheme", "begin"),
    [
        ("json", b"HTTP/1.1 200 OK\r\nX-Slow: "),
        ("json", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"),
        ("mailto", b"220 "),
    ],
)
def test_who_drips_is_not_listened_to_for_long(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, scheme: str, begin: bytes
) -> None:
    """Or it would be sent nothing more meanwhile, and its connection would keep its memory."""
    monkeypatch.setattr(bounds, "LONGEST_ANSWER", 0.3)
    url = f"{scheme}://user:{SECRET}@127.0.0.1:{serve(dripping(begin)).port}"
    began = time.monotonic()
    assert not takes(only(f"{url}?from=me@example.com&to=me@example.com"))
    assert time.monotonic() - began < LONG


def test_a_long_head_is_not_read_on(serve: Serve) -> None:
    server = serve(answering(LONG_HEAD))
    assert not takes(only(f"json://127.0.0.1:{server.port}/{SECRET}"))


def test_an_answer_may_have_64_kib(serve: Serve) -> None:
    body = b"x" * LARGEST_ANSWER
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    assert only(f"json://127.0.0.1:{serve(answering(answer)).port}/{SECRET}").send(FAILING)


def test_an_answer_with_a_bad_header_logs_nothing(serve: Serve) -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nno header at all\r\n\r\n")
    only(f"json://127.0.0.1:{serve(answering(answer)).port}/{SECRET}").send(FAILING)


def test_https_is_verified_and_a_ca_bundle_of_the_environment_counts(
    serve: Serve, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answering(OK), certificates.right)
    url = f"jsons://127.0.0.1:{server.port}/{SECRET}"
    assert not only(url).send(FAILING)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca))
    assert only(url).send(FAILING)


def test_what_a_connection_over_tls_holds_is_freed_as_it_ends(
    serve: Serve, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not when it is next collected, for which dozens of them would wait."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca))
    address = only(f"jsons://127.0.0.1:{serve(answering(OK), certificates.right).port}/{SECRET}")
    gc.collect()
    gc.disable()
    try:
        before = contexts()
        assert takes(address)
        assert contexts() <= before
    finally:
        gc.enable()


def contexts() -> int:
    """How many there are of what holds a CA bundle."""
    return sum(issubclass(type(each), ssl.SSLContext) for each in gc.get_objects())


def test_an_address_that_wants_no_verification_gets_it_without_a_warning(
    serve: Serve, certificates: Certificates
) -> None:
    server = serve(answering(OK), certificates.self_signed)
    assert only(f"jsons://127.0.0.1:{server.port}/{SECRET}?verify=no").send(FAILING)


def test_a_proxy_of_the_environment_counts(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Caught()
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{serve(proxy).port}")
    assert only(f"json://ntfy.example.com/{SECRET}").send(FAILING)
    assert proxy.head.startswith(b"POST http://ntfy.example.com/")


def test_behind_a_proxy_https_is_verified_and_bounded_as_well(
    serve: Serve, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [OK, LONG_HEAD]

    def proxy(connection: socket.socket) -> None:
        assert read_request(connection).startswith(b"CONNECT 127.0.0.1:443 ")
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with certificates.right.wrap_socket(connection, server_side=True) as secured:
            read_whole(secured)
            secured.sendall(answers.pop(0))

    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{serve(proxy).port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca))
    address = only(f"jsons://127.0.0.1/{SECRET}")
    assert address.send(FAILING)
    assert not takes(address)


def test_what_a_small_answer_unpacks_to_is_bounded(serve: Serve) -> None:
    body = gzip.compress(b"x" * 16 * LARGEST_ANSWER)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    server = serve(answering(head % len(body) + body))
    assert not only(f"json://127.0.0.1:{server.port}/{SECRET}").send(FAILING)


def test_nothing_but_apprise_has_these_bounds() -> None:
    only("json://127.0.0.1/")
    assert requests.Session().get_redirect_target.__func__ is (  # type: ignore[attr-defined]
        requests.Session.get_redirect_target
    )


WITHOUT_THE_OTHERS = """
import sys
from qsticky.record import addresses
(address,) = addresses.parse(sys.argv[1])
print(*sorted(name for name in sys.modules if name.startswith("apprise.plugins.")))
"""


def test_only_the_service_of_an_address_is_imported() -> None:
    """The others are 11 MiB."""
    command = [sys.executable, "-c", WITHOUT_THE_OTHERS, f"gotify://127.0.0.1/{SECRET}"]
    imported = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert imported == ["apprise.plugins.base", "apprise.plugins.gotify"]


SCHEMES = [
    *("json", "jsons", "ntfy", "ntfys", "gotify", "discord", "tgram", "hassio", "mailtos"),
    *("slack", "pover", "matrixs", "signal", "pbul", "46elks"),
]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_leads_to_the_service_that_apprise_would_take(scheme: str) -> None:
    from apprise.manager_plugins import NotificationManager  # it takes a while to import

    theirs = NotificationManager()[scheme]  # type: ignore[no-untyped-call]
    (ours,) = notify_urls._kinds(scheme)
    assert (ours.__module__, ours.__name__) == (theirs.__module__, theirs.__name__)


def test_a_services_own_address_is_taken_as_apprise_knows_it() -> None:
    address = only(f"https://discord.com/api/webhooks/4174216298/{SECRET}")
    assert address.label == "address 1 (https)"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"nosuch://{SECRET}@127.0.0.1", " (nosuch://)"),
        (f"{SECRET}", ", which begins with no scheme"),
        (f"user:{SECRET}@127.0.0.1", ", which begins with no scheme"),
        (f"tgram://{SECRET}", " (tgram://)"),
        (f"https://127.0.0.1/{SECRET}", " (https://)"),
        ("include://127.0.0.1", " (include://)"),
    ],
)
def test_an_address_of_no_service_is_a_mistake_told_by_its_number_and_scheme(
    url: str, told: str
) -> None:
    with pytest.raises(Mistake) as raised:
        addresses.parse(f"json://127.0.0.1\n{url} ntfy://topic")
    assert str(raised.value).startswith(f"has an address that Apprise can't use, number 2{told}:")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("between", [" ", "\r\n\t", ",", " , ", ",\r\n"])
def test_blanks_line_breaks_and_commas_are_between_addresses(between: str) -> None:
    parsed = addresses.parse(f"JSON://127.0.0.1/a,b{between}ntfy://one{between}")
    assert [address.label for address in parsed] == ["address 1 (json)", "address 2 (ntfy)"]


def test_the_command_says_of_each_address_whether_it_was_taken(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    caught = Caught()
    good = f"json://127.0.0.1:{serve(caught).port}/{SECRET}"
    assert trial.main(good) == 0
    assert capsys.readouterr().out == "address 1 (json): taken\n"
    assert caught.document["event"] == "test"
    assert trial.main(f"{good} ntfy://127.0.0.1:{free_port()}/{SECRET}") == 1
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "address 2 (ntfy): not taken by the service"


def test_the_command_gives_up_who_drips(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qsticky.record.delivery.PATIENCE", 0.3)

    server = serve(dripping(b"HTTP/1.1 200 OK\r\nX-Slow: "))
    assert trial.main(f"json://127.0.0.1:{server.port}/{SECRET}") == 1
    assert capsys.readouterr().out.startswith("address 1 (json): not answered within 0.3 s\n")


LEFT_BEHIND = """
import sys
from qsticky.clock import SystemClock
from qsticky.record import addresses, delivery, messages
sent = delivery.Delivery(
    addresses.parse(sys.argv[1]), clock=SystemClock(), count=print, tell=print
)
sent.start()
sent.put(messages.test())
sys.stdin.read()
"""


def test_one_that_hangs_never_holds_up_an_exit(serve: Serve) -> None:
    asked = threading.Event()

    def hang(connection: socket.socket) -> None:
        read_request(connection)
        asked.set()
        while connection.recv(65536):
            pass

    url = f"json://127.0.0.1:{serve(hang).port}/{SECRET}?rto={LONG}"
    with subprocess.Popen(
        [sys.executable, "-c", LEFT_BEHIND, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert asked.wait(LONG)
        began = time.monotonic()
        assert process.communicate()[0] == b""
        assert process.returncode == 0
    assert time.monotonic() - began < 2


def test_the_command_ends_with_2_where_nobody_is_to_be_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert trial.main("") == 2
    assert "NOTIFY_URLS is not set" in capsys.readouterr().err
