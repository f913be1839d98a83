"""`qsticky check`: what is wrong is told with a remedy, and following it makes it right."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from qsticky.demo.gluetun_simulator import OLD_PORT_ROUTE, PORT_ROUTE, GluetunSimulator
from tests.certificates import self_signed
from tests.contract.targets import Client
from tests.end_to_end.command import BOUND, clean_environment, qsticky_command
from tests.end_to_end.conftest import GLUETUN_KEY, Start, WebUI
from tests.real import RealQBittorrent, free_port


class Checked:
    """What one check said, as its JSON document tells it."""

    def __init__(self, code: int, document: Mapping[str, Any]) -> None:
        self.code = code
        self.findings: list[dict[str, Any]] = document["findings"]
        assert document["ok"] is (code == 0)

    def named(self, check: str) -> dict[str, Any]:
        """The one finding of a check."""
        (finding,) = (finding for finding in self.findings if finding["check"] == check)
        return finding

    def by_verdict(self, verdict: str) -> list[str]:
        """The checks that ended so."""
        return [finding["check"] for finding in self.findings if finding["verdict"] == verdict]

    def remedies(self) -> list[tuple[str, ...]]:
        """The lines to copy of the only failure, a tuple for each remedy."""
        (failed,) = self.by_verdict("failed")
        return [tuple(remedy["copy"]) for remedy in self.named(failed)["remedies"]]


Check = Callable[..., Checked]


@pytest.fixture
def check(tmp_path: Path, variables: Mapping[str, object]) -> Check:
    """Runs `qsticky check` with `variables` and what it is given; None unsets one of them."""
    port = free_port()

    def check(**others: object) -> Checked:
        environment = {
            **clean_environment(tmp_path),
            "METRICS_ADDRESS": "127.0.0.1",
            "METRICS_PORT": str(port),
            "HEALTH_FILE": str(tmp_path / "health" / "status.json"),
            **{
                name: str(value)
                for name, value in {**variables, **others}.items()
                if value is not None
            },
        }
        ran = subprocess.run(
            [qsticky_command(), "check", "--json"],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=BOUND,
        )
        assert ran.stderr == ""
        return Checked(ran.returncode, json.loads(ran.stdout))

    return check


def assignments(lines: tuple[str, ...]) -> dict[str, Any]:
    """Read lines that set variables."""
    return dict(line.split("=", 1) for line in lines)


Private = Callable[..., RealQBittorrent]


@pytest.fixture
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Private]:
    """Starts a qBittorrent with preferences of its own."""
    with ExitStack() as running:

        def start_one(preferences: Mapping[str, object], **options: Any) -> RealQBittorrent:
            folder = tmp_path_factory.mktemp("private")
            return running.enter_context(
                RealQBittorrent(folder, preferences=preferences, **options)
            )

        yield start_one


@pytest.fixture
def synced(qbittorrent: WebUI, gluetun: GluetunSimulator) -> None:
    """Has qBittorrent listen on the forwarded port already."""
    qbittorrent.use_port(gluetun.ports[0])


@pytest.mark.usefixtures("synced")
def test_where_all_holds_nothing_fails_and_nothing_changes(
    check: Check, qbittorrent: WebUI, gluetun: GluetunSimulator, tmp_path: Path
) -> None:
    port_file = tmp_path / "forwarded_port"
    port_file.write_text(str(gluetun.ports[0]))
    before, files = qbittorrent.preferences(), sorted(tmp_path.rglob("*"))
    checked = check(GLUETUN_PORT_FILE=port_file)
    assert (checked.code, checked.by_verdict("failed")) == (0, [])
    assert checked.by_verdict("warning") == ["binding"]
    assert "PASS" in checked.named("authentication")["text"]
    assert str(gluetun.ports[0]) in checked.named("listen_port")["text"]
    assert checked.named("port_file")["verdict"] == "ok"
    assert qbittorrent.preferences() == before
    assert sorted(tmp_path.rglob("*")) == files


@pytest.mark.usefixtures("synced")
def test_a_wrong_password(check: Check, qbittorrent: WebUI) -> None:
    wrong = check(QBITTORRENT_PASS="wrong")
    assert wrong.code == 1
    assert wrong.by_verdict("failed") == ["authentication"]
    (line,), _ = wrong.remedies()
    name, placeholder = line.split("=")
    assert placeholder == "the-password-of-the-WebUI"
    assert check(**{name: qbittorrent.server.password}).code == 0


@pytest.mark.usefixtures("synced")
def test_a_wrong_password_in_a_file(check: Check, qbittorrent: WebUI, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("wrong")
    wrong = check(QBITTORRENT_PASS=None, QBITTORRENT_PASS_FILE=file)
    (named,), _ = wrong.remedies()
    Path(named).write_text(qbittorrent.server.password + "\n")
    assert check(QBITTORRENT_PASS=None, QBITTORRENT_PASS_FILE=file).code == 0


def test_a_webui_on_https(check: Check, private: Private, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    server = private(
        {
            "WebUI\\HTTPS\\Enabled": True,
            "WebUI\\HTTPS\\CertificatePath": certificate.chain,
            "WebUI\\HTTPS\\KeyPath": certificate.key,
        },
        https=True,
    )
    plain = check(QBITTORRENT_PORT=server.port)
    assert plain.by_verdict("failed") == ["webui"]
    unverified, verified = (assignments(lines) for lines in plain.remedies())
    assert check(QBITTORRENT_PORT=server.port, **unverified).code == 0
    assert verified["QBITTORRENT_CA_FILE"] == "/path/to/certificate.pem"
    verified["QBITTORRENT_CA_FILE"] = certificate.chain
    assert check(QBITTORRENT_PORT=server.port, **verified).code == 0

    refused = check(QBITTORRENT_PORT=server.port, QBITTORRENT_HTTPS="true")
    unverified, _ = (assignments(lines) for lines in refused.remedies())
    assert unverified == {"QBITTORRENT_VERIFY_SSL": "false"}


def test_https_to_a_webui_on_http(check: Check) -> None:
    wrong = check(QBITTORRENT_HTTPS="true", REQUEST_TIMEOUT=0.5)
    (way,) = (assignments(lines) for lines in wrong.remedies())
    assert way == {"QBITTORRENT_HTTPS": "false"}
    assert check(**way).code == 0


def test_the_port_for_peers_in_place_of_the_webui_s(
    check: Check, qbittorrent: WebUI, gluetun: GluetunSimulator
) -> None:
    qbittorrent.use_port(gluetun.ports[0])
    wrong = check(QBITTORRENT_PORT=gluetun.ports[0])
    assert wrong.by_verdict("failed") == ["webui"]
    assert "if that is its port for peers, set QBITTORRENT_PORT" in wrong.named("webui")["text"]
    assert wrong.remedies() == [("QBITTORRENT_PORT=8080",)]


def test_a_host_name_that_the_webui_does_not_know(check: Check, private: Private) -> None:
    server = private({"WebUI\\ServerDomains": "torrents.example"})
    there = {"QBITTORRENT_PORT": server.port, "QBITTORRENT_HOST": "localhost"}
    refused = check(**there)
    assert refused.by_verdict("failed") == ["host_header"]
    by_address, (domain,), (option,) = refused.remedies()
    assert check(**{**there, **assignments(by_address)}).code == 0

    webui = WebUI(server)
    webui.set(f'{{"web_ui_domain_list": "torrents.example;{domain}"}}')
    assert check(**there).code == 0

    webui.set('{"web_ui_domain_list": "torrents.example"}')
    assert check(**there).code == 1
    assert option.endswith("Enable Host header validation")
    webui.set('{"web_ui_host_header_validation_enabled": false}')
    assert check(**there).code == 0
    webui.close()


def test_a_ban_in_another_language(check: Check, private: Private) -> None:
    server = private({"General\\Locale": "zh_CN"})
    client = Client(server.url)
    for _ in range(5):
        client.login("wrong")
    refusal = client.login(server.password)
    client.close()
    assert (refusal.status_code, refusal.text.isascii()) == (403, False)
    banned = check(QBITTORRENT_PORT=server.port)
    assert banned.by_verdict("failed") == ["authentication"]
    assert "has banned this address" in banned.named("authentication")["text"]
    server.restart()  # as it advises
    assert check(QBITTORRENT_PORT=server.port).code == 0


def test_a_port_that_is_mapped(check: Check, private: Private) -> None:
    server = private({})
    with mapped_to(server.port) as port:
        refused = check(QBITTORRENT_PORT=port)
        assert refused.by_verdict("failed") == ["host_header"]
        (variable, mapping), (option,) = refused.remedies()
        assert option.endswith("Enable Host header validation")
    assert variable == f'WEBUI_PORT: "{port}"'
    assert mapping == f"- {port}:{port}"
    server.port = port
    server.restart()
    assert check(QBITTORRENT_PORT=port).code == 0


@contextmanager
def mapped_to(port: int) -> Iterator[int]:
    """Forward connections from another port, as Docker does for `8081:8080`."""

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        with source, suppress(OSError):  # reset, or closed by the other direction
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pass_on, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", free_port())) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def role(lines: tuple[str, ...]) -> dict[str, Any]:
    """Read a role as Gluetun does, with the key put in for its placeholder."""
    text = "\n".join(lines).replace("the-value-of-GLUETUN_APIKEY", GLUETUN_KEY)
    (only,) = tomllib.loads(text)["roles"]
    assert only["auth"] == "apikey"
    return {"api_key": only["apikey"], "routes": only["routes"]}


def test_a_role_that_lacks_the_route(check: Check, gluetun: GluetunSimulator) -> None:
    with GluetunSimulator(
        api_key=GLUETUN_KEY, ports=gluetun.ports, routes=[OLD_PORT_ROUTE]
    ) as outdated:
        lacking = check(GLUETUN_PORT=outdated.port)
    assert lacking.by_verdict("failed") == ["route"]
    block, _ = lacking.remedies()
    given = role(block)
    assert given["routes"] == [PORT_ROUTE]
    with GluetunSimulator(ports=gluetun.ports, **given) as permitting:
        assert check(GLUETUN_PORT=permitting.port).code == 0


def test_a_key_without_a_role(check: Check, gluetun: GluetunSimulator) -> None:
    refused = check(GLUETUN_APIKEY="another")
    assert refused.by_verdict("failed") == ["route"]
    (variable,), new, old, _ = refused.remedies()
    name, _, value = variable.partition("=")
    assert name == "HTTP_CONTROL_SERVER_AUTH_DEFAULT_ROLE"
    default = json.loads(value.replace("the-value-of-GLUETUN_APIKEY", GLUETUN_KEY))
    assert default == {"auth": "apikey", "apikey": GLUETUN_KEY}
    with GluetunSimulator(release="3.41", ports=gluetun.ports, **role(new)) as current:
        assert check(GLUETUN_PORT=current.port).code == 0
    with GluetunSimulator(release="3.40", ports=gluetun.ports, **role(old)) as older:
        checked = check(GLUETUN_PORT=older.port)
    assert checked.code == 0
    assert "3.40" in checked.named("version")["text"]


def test_a_running_daemon_is_recognised_and_left_alone(start: Start, check: Check) -> None:
    signed = {"METRICS_USERNAME": "me", "METRICS_PASSWORD": "secret"}
    qsticky = start(**signed, CHECK_INTERVAL=300)
    qsticky.headers = {"Authorization": "Basic bWU6c2VjcmV0"}
    qsticky.wait_for("synced")
    logins = qsticky.metric("qbittorrent_logins_total")
    beside = {**signed, "METRICS_PORT": qsticky.port, "HEALTH_FILE": qsticky.health_file}
    checked = check(**beside)
    assert checked.code == 0
    assert "served by a running qSticky" in checked.named("metrics_port")["text"]
    assert "healthy (synced)" in checked.named("daemon")["text"]
    assert qsticky.metric("qbittorrent_logins_total") == logins
    assert qsticky.health()["healthy"] is True


def test_where_the_daemon_was_refused_checks_earn_no_ban(
    start: Start, check: Check, private: Private
) -> None:
    server = private({})
    there = {"QBITTORRENT_PORT": server.port, "QBITTORRENT_PASS": "wrong"}
    qsticky = start(**there)
    qsticky.wait_for("failing", "qbittorrent_unauthorized")
    for _ in range(4):  # with the daemon's own, the fifth would be the one
        checked = check(**there, METRICS_PORT=qsticky.port, HEALTH_FILE=qsticky.health_file)
        assert checked.by_verdict("failed") == ["authentication", "daemon"]
        told = checked.named("authentication")["text"]
        assert told.startswith("No login was tried, as refused ones bring a ban")
        assert "refused the user name or the password" in told
    right = Client(server.url).login()
    assert (right.status_code, right.text) in ((200, "Ok."), (204, ""))
