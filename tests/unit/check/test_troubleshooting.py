"""Provokes every failure, and holds docs/troubleshooting.md to the sentences that come of it.

`make docs` writes the table anew.
"""

import contextlib
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from qsticky import config, hints
from qsticky.demo.gluetun_simulator import OLD_PORT_ROUTE, GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.simulator import Answer, Disconnect, Hang, Request, Response
from qsticky.errors import ConfigurationError, Reason, SyncError
from qsticky.kernel.netlink import Listener
from qsticky.services.factory import make_gluetun, make_qbittorrent
from qsticky.services.login_limit import LoginLimit
from qsticky.services.port_check import PortCheck, PortVerdict
from qsticky.sync.report import Trigger
from qsticky.sync.synchronizer import Synchronizer
from tests import certificates
from tests.clients import make_synchronizer
from tests.fakes import TUN0, FakeClock, FakeKernel

PAGE = Path(__file__).parents[3] / "docs" / "troubleshooting.md"
BEGIN, END = "<!-- sentences: begin -->\n", "<!-- sentences: end -->\n"
TIMEOUT = "0.9"
KEY = "a-long-random-key"
LISTENERS = [Listener(TUN0.addresses[0], port, 0) for port in (51500, 51501)]
BASIC = {"GLUETUN_USERNAME": "me", "GLUETUN_PASSWORD": "wrong"}


class InFront(QBittorrentSimulator):
    """What a proxy in front of qBittorrent answers, whatever is asked."""

    def __init__(self, answer: Response) -> None:
        super().__init__(listen_port=51500)
        self._refusal_of_the_proxy = answer

    def answer(self, request: Request) -> Response:  # noqa: ARG002 - whatever it is
        """Answer for the proxy."""
        return self._refusal_of_the_proxy


class Mapped(QBittorrentSimulator):
    """A WebUI that is reached by another port than its own."""

    def answer(self, request: Request) -> Response:
        """Refuse a Host header with a port, as that is another one."""
        if request.headers.get("Host", "").endswith(f":{self.port}"):
            return Response(401, b"Unauthorized", "text/plain")
        return super().answer(request)


@dataclass
class Stage:
    """Gluetun and qBittorrent, both well and in sync, until a symptom changes something."""

    folder: Path
    gluetun: GluetunSimulator = field(
        default_factory=lambda: GluetunSimulator(api_key=KEY, ports=[51500])
    )
    qbittorrent: QBittorrentSimulator = field(
        default_factory=lambda: QBittorrentSimulator(listen_port=51500)
    )
    clock: FakeClock = field(default_factory=FakeClock)
    variables: dict[str, str] = field(default_factory=dict)
    kernel: FakeKernel = field(default_factory=lambda: FakeKernel(tun0=None, listeners=LISTENERS))
    options: dict[str, Any] = field(default_factory=dict)
    verdict: PortVerdict = field(default_factory=PortVerdict)
    synchronizer: Synchronizer | None = None
    cleanup: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self) -> None:
        """Begin, with what was changed so far."""
        for simulator in (self.gluetun, self.qbittorrent):
            self.cleanup.enter_context(simulator)

    def sync(self) -> SyncError | None:
        """Run one sync and return what it found wrong."""
        if self.synchronizer is None:
            environment = {
                "GLUETUN_HOST": self.gluetun.host,
                "GLUETUN_PORT": str(self.gluetun.port),
                "GLUETUN_APIKEY": KEY,
                "QBITTORRENT_HOST": self.qbittorrent.host,
                "QBITTORRENT_PORT": str(self.qbittorrent.port),
                "REQUEST_TIMEOUT": TIMEOUT,
                **self.variables,
            }
            settings = config.load(environment, self.folder)
            outside = mock.create_autospec(PortCheck, instance=True)
            outside.verdict.return_value = self.verdict
            self.synchronizer = make_synchronizer(
                None if settings.forwarded_port else make_gluetun(settings, lambda _: None),
                make_qbittorrent(settings, lambda _: None, LoginLimit(self.clock)),
                kernel=self.kernel,
                clock=self.clock,
                webui_port=settings.qbittorrent_port,
                port_index=settings.gluetun_port_index,
                fixed_port=settings.forwarded_port,
                port_grace=settings.port_grace,
                rebind=settings.qbittorrent_rebind,
                port_check=outside,
                **self.options,
            )
        return self.synchronizer.sync([Trigger.INTERVAL]).problem

    def in_words(self, sentence: str) -> str:
        """Write a sentence with the addresses and times that users know."""
        ports = {self.gluetun.port: "8000", self.qbittorrent.port: "8080"}
        for given in ("GLUETUN_PORT", "QBITTORRENT_PORT"):
            if given in self.variables:
                ports[int(self.variables[given])] = "8000" if given[0] == "G" else "8080"
        for actual, usual in ports.items():
            sentence = sentence.replace(f"localhost:{actual}", f"localhost:{usual}")
            sentence = sentence.replace(f"port {actual} ", f"port {usual} ")
            sentence = sentence.replace(f"{actual}:{actual}", f"{usual}:{usual}")
            sentence = sentence.replace(f"127.0.0.1:{actual}", f"localhost:{usual}")
            sentence = sentence.replace(f"nowhere.invalid:{actual}", f"gluten:{usual}")
        return sentence.replace(f"{TIMEOUT} s", "10 s")


Provocation = Callable[[Stage], SyncError | None]
SYMPTOMS: dict[str, tuple[Reason, Provocation]] = {}


def symptom(title: str, reason: Reason) -> Callable[[Provocation], Provocation]:
    """Enter a way to provoke a failure into the table."""

    def enter(provoke: Provocation) -> Provocation:
        SYMPTOMS[title] = reason, provoke
        return provoke

    return enter


@symptom("Gluetun is not running, or qSticky is not in its network", Reason.GLUETUN_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    stage.start()
    stage.gluetun.stop()
    return stage.sync()


@symptom("Gluetun's name is misspelt", Reason.GLUETUN_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    stage.variables["GLUETUN_HOST"] = "nowhere.invalid"
    # Where no name server is in reach, the answer takes the resolver's time.
    stage.variables["REQUEST_TIMEOUT"] = "10"
    stage.start()
    return stage.sync()


@symptom("A firewall drops what is sent to Gluetun", Reason.GLUETUN_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    full = stage.cleanup.enter_context(socket.socket())
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    for _ in range(2):  # a full queue answers no further connection, as a firewall that drops
        waiting = stage.cleanup.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(full.getsockname())
    stage.variables["GLUETUN_PORT"] = str(full.getsockname()[1])
    stage.start()
    return stage.sync()


@symptom("Gluetun hangs, as while its down command runs", Reason.GLUETUN_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    stage.gluetun.fault = Hang()
    stage.start()
    return stage.sync()


@symptom("Gluetun's container was recreated", Reason.GLUETUN_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    stage.start()
    stage.gluetun.stop()
    stage.sync()
    stage.clock.advance(120)
    return stage.sync()


@symptom("Gluetun's role lacks the route, or the key is wrong", Reason.GLUETUN_UNAUTHORIZED)
def _(stage: Stage) -> SyncError | None:
    stage.gluetun = GluetunSimulator(api_key="another")
    stage.start()
    return stage.sync()


@symptom("Gluetun 3.41 or later with a role made for 3.40", Reason.GLUETUN_UNAUTHORIZED)
def _(stage: Stage) -> SyncError | None:
    stage.gluetun = GluetunSimulator(api_key=KEY, routes=[OLD_PORT_ROUTE])
    stage.start()
    return stage.sync()


@symptom(
    "Gluetun's role has a user and a password, and GLUETUN_APIKEY is set",
    Reason.GLUETUN_UNAUTHORIZED,
)
def _(stage: Stage) -> SyncError | None:
    stage.gluetun = GluetunSimulator(username="me", password="secret")
    stage.start()
    return stage.sync()


@symptom("Gluetun's role has another password", Reason.GLUETUN_UNAUTHORIZED)
def _(stage: Stage) -> SyncError | None:
    stage.gluetun = GluetunSimulator(username="me", password="secret")
    stage.variables = {**BASIC, "GLUETUN_AUTH_TYPE": "basic"}
    stage.start()
    return stage.sync()


@symptom("A password is set without GLUETUN_AUTH_TYPE", Reason.GLUETUN_UNAUTHORIZED)
def _(stage: Stage) -> SyncError | None:
    stage.gluetun = GluetunSimulator(username="me", password="secret")
    stage.variables = {**BASIC, "GLUETUN_APIKEY": ""}
    stage.start()
    return stage.sync()


@symptom("Another service answers in Gluetun's place", Reason.GLUETUN_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    stage.gluetun.fault = Answer(body="<h1>Log in</h1>")
    stage.start()
    return stage.sync()


@symptom("A proxy in front of Gluetun has an error", Reason.GLUETUN_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    stage.gluetun.fault = Answer(status=502)
    stage.start()
    return stage.sync()


@symptom("A proxy in front of Gluetun has a login of its own", Reason.GLUETUN_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    stage.gluetun.fault = Answer(status=401, body="<h1>Log in</h1>")
    stage.start()
    return stage.sync()


@symptom("What Gluetun names is no port", Reason.GLUETUN_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    stage.gluetun.ports = (70000,)
    stage.start()
    return stage.sync()


@symptom("Gluetun forwards fewer ports than asked for", Reason.NO_FORWARDED_PORT)
def _(stage: Stage) -> SyncError | None:
    stage.variables["GLUETUN_PORT_INDEX"] = "2"
    stage.start()
    return stage.sync()


@symptom("Gluetun has had no port for longer than PORT_GRACE", Reason.NO_FORWARDED_PORT)
def _(stage: Stage) -> SyncError | None:
    stage.gluetun.ports = ()
    stage.start()
    stage.sync()
    stage.clock.advance(300)
    return stage.sync()


@symptom("qBittorrent is not running", Reason.QBITTORRENT_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    stage.start()
    stage.qbittorrent.stop()
    return stage.sync()


@symptom("qBittorrent hangs", Reason.QBITTORRENT_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.fault = Hang()
    stage.start()
    return stage.sync()


@symptom("HTTP is spoken to a WebUI on HTTPS", Reason.QBITTORRENT_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.fault = Disconnect()  # qBittorrent's own way to answer that
    stage.start()
    return stage.sync()


@symptom("HTTP is spoken to a proxy on HTTPS", Reason.QBITTORRENT_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent = InFront(Response(400, b"The plain HTTP request was sent to HTTPS port"))
    stage.start()
    return stage.sync()


@symptom("A proxy leads from HTTP to HTTPS", Reason.QBITTORRENT_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent = InFront(Response(301, headers={"Location": "https://127.0.0.1/"}))
    stage.start()
    return stage.sync()


@symptom("HTTPS is spoken to a WebUI on HTTP", Reason.QBITTORRENT_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    silent = stage.cleanup.enter_context(socket.socket())  # qBittorrent waits for more, for ever
    silent.bind(("127.0.0.1", 0))
    silent.listen()
    stage.variables |= {
        "QBITTORRENT_HTTPS": "true",
        "QBITTORRENT_PORT": str(silent.getsockname()[1]),
    }
    stage.start()
    return stage.sync()


@symptom("HTTPS is spoken to a proxy on HTTP", Reason.QBITTORRENT_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    plain = stage.cleanup.enter_context(socket.create_server(("127.0.0.1", 0)))
    answers = threading.Thread(target=_answer_in_plain, args=(plain,))
    stage.cleanup.callback(answers.join)
    answers.start()
    stage.variables |= {
        "QBITTORRENT_HTTPS": "true",
        "QBITTORRENT_PORT": str(plain.getsockname()[1]),
    }
    stage.start()
    return stage.sync()


@symptom("The WebUI's certificate is self-signed", Reason.QBITTORRENT_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    return _sync_over_tls(stage)


@symptom("The WebUI's certificate is another CA's", Reason.QBITTORRENT_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    another = stage.folder / "another.pem"
    another.write_bytes(certificates.Issued().pem)
    stage.variables["QBITTORRENT_CA_FILE"] = str(another)
    return _sync_over_tls(stage)


@symptom("The WebUI's certificate has expired", Reason.QBITTORRENT_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    return _sync_over_tls(stage, trusted=True, age=timedelta(days=30))


@symptom("The WebUI's certificate is for another name", Reason.QBITTORRENT_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    return _sync_over_tls(stage, trusted=True, name="192.0.2.1")


@symptom("The WebUI's certificate names no host", Reason.QBITTORRENT_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    return _sync_over_tls(stage, trusted=True, name=None)


@symptom("The clock is behind the certificate's begin", Reason.QBITTORRENT_UNREACHABLE)
def _(stage: Stage) -> SyncError | None:
    return _sync_over_tls(stage, trusted=True, age=timedelta(days=-30))


@symptom("The password is wrong", Reason.QBITTORRENT_UNAUTHORIZED)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent = QBittorrentSimulator(password="another")
    stage.start()
    return stage.sync()


@symptom("The password was wrong four times", Reason.QBITTORRENT_UNAUTHORIZED)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent = QBittorrentSimulator(password="another")
    stage.start()
    for minutes in (0, 1, 5, 15):
        stage.clock.advance(minutes * 60)
        problem = stage.sync()
    return problem


@symptom("The API key is wrong", Reason.QBITTORRENT_UNAUTHORIZED)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent = QBittorrentSimulator(release="5.2", api_key="qbt_another")
    stage.variables["QBITTORRENT_API_KEY"] = "qbt_wrong"
    stage.start()
    return stage.sync()


@symptom("The WebUI doesn't know the name that it is reached by", Reason.QBITTORRENT_UNAUTHORIZED)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.server_domains = "qbittorrent.example"
    stage.qbittorrent.fault = Answer(status=401, body="Unauthorized", content_type="text/plain")
    stage.start()
    return stage.sync()


@symptom("The WebUI takes 127.0.0.1, and not localhost", Reason.QBITTORRENT_UNAUTHORIZED)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.server_domains = "qbittorrent.example"
    stage.variables["QBITTORRENT_HOST"] = "localhost"
    stage.start()
    return stage.sync()


@symptom("The WebUI's port is mapped to another one", Reason.QBITTORRENT_UNAUTHORIZED)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent = Mapped(listen_port=51500)
    stage.start()
    return stage.sync()


@symptom("qBittorrent has banned this address", Reason.QBITTORRENT_BANNED)
def _(stage: Stage) -> SyncError | None:
    stage.start()
    stage.qbittorrent.banned = True
    return stage.sync()


@symptom("Another service answers in qBittorrent's place", Reason.QBITTORRENT_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.fault = Answer(body="<h1>Log in</h1>")
    stage.start()
    return stage.sync()


@symptom("A reverse proxy in front has a login of its own", Reason.QBITTORRENT_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    challenge = {"WWW-Authenticate": 'Basic realm="Members only"'}
    stage.qbittorrent = InFront(Response(401, b"<h1>Log in</h1>", "text/html", challenge))
    stage.start()
    return stage.sync()


@symptom("An allow-list or a web firewall is in front", Reason.QBITTORRENT_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent = InFront(Response(403, b"<h1>403 Forbidden</h1>", "text/html"))
    stage.start()
    return stage.sync()


@symptom("A proxy in front can't reach qBittorrent", Reason.QBITTORRENT_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent = InFront(Response(502))
    stage.start()
    return stage.sync()


@symptom("A page to sign in is in front, for all apps", Reason.QBITTORRENT_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    elsewhere = {"Location": "https://login.example/"}
    stage.qbittorrent = InFront(Response(302, headers=elsewhere))
    stage.start()
    return stage.sync()


@symptom("QBITTORRENT_PORT is Gluetun's", Reason.QBITTORRENT_INVALID_RESPONSE)
def _(stage: Stage) -> SyncError | None:
    stage.start()
    stage.variables["QBITTORRENT_PORT"] = str(stage.gluetun.port)
    return stage.sync()


@symptom("qBittorrent does not keep the port", Reason.PORT_REJECTED)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.ignores_settings = True
    stage.gluetun.ports = (51501,)
    stage.start()
    return stage.sync()


@symptom("Another program has the port", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.busy[51501] = ["10.2.0.2"]
    stage.gluetun.ports = (51501,)
    stage.kernel.tun0 = TUN0
    stage.start()
    return stage.sync()


@symptom("No socket on the VPN's interface, and rebinding didn't help", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.kernel.tun0, stage.kernel.listeners = TUN0, ()
    stage.start()
    return stage.sync()


@symptom("The same, with QBITTORRENT_REBIND=false", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.kernel.tun0, stage.kernel.listeners = TUN0, ()
    stage.variables["QBITTORRENT_REBIND"] = "false"
    stage.start()
    return stage.sync()


@symptom("qBittorrent is disconnected", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.fault = Answer(
        body='{"connection_status": "disconnected"}', only="GET /api/v2/transfer/info"
    )
    stage.start()
    stage.sync()
    stage.clock.advance(60)
    for _ in range(4):  # at the second, it is rebound, and still is disconnected
        problem = stage.sync()
        stage.clock.advance(2)
    return problem


@symptom("Peer connections go through a proxy", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.preferences |= {"proxy_type": "SOCKS5", "proxy_peer_connections": True}
    stage.start()
    return stage.sync()


@symptom("It is bound to lo, as Gluetun's down command leaves it", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.preferences["current_network_interface"] = "lo"
    stage.start()
    return stage.sync()


@symptom("It is bound to another interface than the VPN's", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.preferences["current_network_interface"] = "eth0"
    stage.kernel.tun0 = TUN0
    stage.start()
    return stage.sync()


@symptom("It is bound to an interface that isn't there", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.preferences["current_network_interface"] = "wg0"
    stage.start()
    return stage.sync()


@symptom("It is bound to an address that isn't the VPN's", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.qbittorrent.preferences["current_interface_address"] = "::"
    stage.kernel.tun0 = TUN0
    stage.start()
    return stage.sync()


@symptom("The forwarded port is the WebUI's own", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.start()
    stage.qbittorrent.preferences["web_ui_port"] = 51500
    return stage.sync()


@symptom("The forwarded port is METRICS_PORT", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.options["metrics_port"] = 51500
    stage.start()
    return stage.sync()


@symptom("The outside says that the port is closed", Reason.PORT_CLOSED)
def _(stage: Stage) -> SyncError | None:
    stage.kernel.tun0 = TUN0
    stage.verdict = PortVerdict(reachable=False, checked_at=0.0, closed_in_a_row=3)
    stage.start()
    return stage.sync()


@symptom("The outside says so of a fixed port", Reason.PORT_CLOSED)
def _(stage: Stage) -> SyncError | None:
    stage.variables |= {"FORWARDED_PORT": "51500", "QBITTORRENT_REBIND": "false"}
    stage.kernel.tun0 = TUN0
    stage.verdict = PortVerdict(reachable=False, checked_at=0.0, closed_in_a_row=3)
    stage.start()
    return stage.sync()


@symptom("The VPN is down", Reason.NOT_LISTENING)
def _(stage: Stage) -> SyncError | None:
    stage.kernel.tun0 = TUN0
    stage.start()
    stage.sync()
    stage.kernel.tun0 = None
    return stage.sync()


def _answer_in_plain(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _sync_over_tls(
    stage: Stage,
    *,
    trusted: bool = False,
    name: str | None = "127.0.0.1",
    age: timedelta = timedelta(0),
) -> SyncError | None:
    """Sync with a WebUI whose certificate, valid for a day, is this old and for this address."""
    certificate = stage.folder / "certificate.pem"
    issued = certificates.Issued(name, age=age)
    certificate.write_bytes(issued.pem + issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    stage.qbittorrent = QBittorrentSimulator(listen_port=51500, tls_context=context)
    stage.variables["QBITTORRENT_HTTPS"] = "true"
    if trusted:
        stage.variables["QBITTORRENT_CA_FILE"] = str(certificate)
    stage.start()
    return stage.sync()


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Reason, str]]:
    """Provoke each symptom: its reason and sentence, in the addresses that users know."""
    found = {}
    for title, (_, provoke) in SYMPTOMS.items():
        stage = Stage(tmp_path_factory.mktemp("symptom"))
        with stage.cleanup:
            problem = provoke(stage)
            assert problem is not None, title
            found[title] = problem.reason, stage.in_words(str(problem))
    return found


def test_each_symptom_has_its_reason(sentences: dict[str, tuple[Reason, str]]) -> None:
    assert {title: reason for title, (reason, _) in sentences.items()} == {
        title: reason for title, (reason, _) in SYMPTOMS.items()
    }


def test_no_two_symptoms_give_the_same_sentence(
    sentences: dict[str, tuple[Reason, str]],
) -> None:
    assert len({sentence for _, sentence in sentences.values()}) == len(SYMPTOMS)


def test_a_sentence_is_one_line_that_names_a_remedy(
    sentences: dict[str, tuple[Reason, str]],
) -> None:
    for _, sentence in sentences.values():
        assert "\n" not in sentence
        assert re.search(r"[;,(] ?(?!$)", sentence), sentence
        assert not sentence.endswith("."), sentence


def test_the_page_has_the_sentences_of_the_code(
    sentences: dict[str, tuple[Reason, str]],
) -> None:
    rows = ["| what is wrong | `reason` | `last_error` |", "| --- | --- | --- |"]
    for title, (reason, sentence) in sentences.items():
        text = sentence.replace("|", "\\|").replace("<", "&lt;")
        rows.append(f"| {title} | `{reason}` | {text} |")
    table = "\n".join(rows) + "\n"
    before, _, rest = PAGE.read_text().partition(BEGIN)
    written, _, after = rest.partition(END)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(before + BEGIN + table + END + after)
        written = table
    assert written == table, "the sentences have changed: `make docs` writes the page anew"


CONFIGURED = ("<!-- configured: begin -->\n", "<!-- configured: end -->\n")
WORKS: dict[str, str] = {"GLUETUN_APIKEY": KEY}
SETTINGS: dict[str, dict[str, str]] = {
    "The variables of another tool": {
        "QBITTORRENT_SERVER": "qbittorrent",
        "QBITTORRENT_URL": "http://qbittorrent:8080",
        "QBITTORRENT_WEBUI_PORT": "8080",
        "GLUETUN_URL": "http://gluetun:8000",
        "GLUETUN_CONTROL_PORT": "8000",
    },
    "A misspelt variable": {"QBITTORENT_HOST": "qbittorrent"},
    "A variable in lower case": {"qbittorrent_host": "qbittorrent"},
    "A link of Kubernetes' or Docker's": {"QBITTORRENT_PORT": "tcp://10.43.1.2:8080"},
    "A comment that is part of a value": {"QBITTORRENT_PORT": "8080 # of the WebUI"},
    "A port that is qSticky's own": {"METRICS_PORT": "8080"},
    "A URL for a host": {"QBITTORRENT_HOST": "http://qbittorrent:8080"},
    "A folder that Docker made of a secret's file": {"QBITTORRENT_PASS_FILE": "{folder}/a-folder"},
    "A folder that Docker made of the port file": {"GLUETUN_PORT_FILE": "{folder}/a-folder"},
    "A password where its file is meant": {"QBITTORRENT_PASS_FILE": "adminadmin"},
    "Quotes that Compose kept": {"QBITTORRENT_PASS": "'adminadmin'"},
    "A blank at the end of a secret": {"QBITTORRENT_PASS": "adminadmin "},
    "A comment after a secret": {"QBITTORRENT_PASS": "adminadmin # of the WebUI"},
    "A variable that nothing replaced": {"QBITTORRENT_PASS": "${PASSWORD}"},
    "A line of an env file as a secret": {"QBITTORRENT_PASS": "QBITTORRENT_PASS=adminadmin"},
    "A secret that was copied from a page": {"QBITTORRENT_PASS": "adminadmin\u200b"},
    "A key that Compose took for a variable": {"GLUETUN_APIKEY": ""},
    "A password without GLUETUN_AUTH_TYPE": {
        "GLUETUN_APIKEY": "",
        "GLUETUN_USERNAME": "qsticky",
        "GLUETUN_PASSWORD": "a-password",
    },
    "An empty file for a password of the metrics": {
        "METRICS_USERNAME": "prometheus",
        "METRICS_PASSWORD_FILE": "{folder}/empty",
    },
    "A fixed port, and a restart of the VPN": {
        "FORWARDED_PORT": "51500",
        "GLUETUN_RESTART_AFTER": "600",
    },
    "An address to notify that nobody knows": {"NOTIFY_URLS": "discrod://a/b"},
    "A semicolon between addresses": {"NOTIFY_URLS": "ntfy://nas.local/me;json://pi.local"},
}


def told_of(variables: dict[str, str], folder: Path) -> tuple[str, list[str]]:
    """Return what becomes of the start with these variables, and each sentence that it tells."""
    environ = {
        name: value.replace("{folder}", str(folder)) for name, value in (WORKS | variables).items()
    }
    try:
        loaded = config.load(environ, folder / "secrets")
    except ConfigurationError as error:
        return "it ends with exit code 2", error.mistakes
    return "it runs, with a warning", [*hints.misnamed(loaded), *hints.advice(loaded)]


def test_the_page_has_what_is_told_of_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "empty").touch()
    rows = ["| what is set | what it does | what it tells |", "| --- | --- | --- |"]
    for title, variables in SETTINGS.items():
        does, told = told_of(variables, tmp_path)
        assert told, title
        text = "<br>".join(told).replace(str(tmp_path), "/run/secrets").replace("|", "\\|")
        rows.append(f"| {title} | {does} | {text} |")
    table = "\n".join(rows) + "\n"
    begin, end = CONFIGURED
    before, _, rest = PAGE.read_text().partition(begin)
    written, _, after = rest.partition(end)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(before + begin + table + end + after)
        written = table
    assert written == table, "what is told has changed: `make docs` writes the page anew"
