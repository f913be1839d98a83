"""Credentials and certificates: refused with a remedy, corrected without a restart, never shown."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from qsticky.demo.gluetun_simulator import OLD_PORT_ROUTE, PORT_ROUTE, GluetunSimulator
from qsticky.demo.simulator import Answer
from tests.end_to_end.command import QSticky, assert_failing, assert_recovered
from tests.end_to_end.conftest import Start, WebUI
from tests.real import RealQBittorrent, free_port

PLANTED = "planted-c0ffee-for"


def test_a_wrong_password_is_refused_once_and_names_what_to_correct(
    start: Start, qbittorrent: WebUI
) -> None:
    before = qbittorrent.listen_port
    qsticky = start(QBITTORRENT_PASS="wrong", CHECK_INTERVAL=1)
    qsticky.wait_for("failing", "qbittorrent_unauthorized")
    assert_failing(qsticky, "qbittorrent_unauthorized", "QBITTORRENT_PASS", qbittorrent.server.url)
    qsticky.wait_for_syncs(1, "interval")
    qsticky.sync()
    metrics = qsticky.metrics()
    assert metrics["qsticky_qbittorrent_logins_total"] == 1
    assert metrics["qsticky_qbittorrent_login_failures_total"] == 1
    assert metrics['qsticky_sync_failures_total{reason="qbittorrent_unauthorized"}'] >= 3
    assert metrics["qsticky_qbittorrent_up"] == 0
    assert metrics["qsticky_gluetun_up"] == 1
    assert qsticky.events() == ["startup", "http", "login_refused", "sync_failed"]
    assert qbittorrent.listen_port == before


def test_a_corrected_password_file_counts_without_a_restart(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI, tmp_path: Path
) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("wrong\n")
    qsticky = start(QBITTORRENT_PASS=None, QBITTORRENT_PASS_FILE=password_file, CHECK_INTERVAL=1)
    qsticky.wait_for("failing", "qbittorrent_unauthorized")
    password_file.write_text(qbittorrent.server.password + "\n")
    qsticky.wait_for_port(gluetun.ports[0])
    assert qbittorrent.listen_port == gluetun.ports[0]
    assert_recovered(qsticky, "qbittorrent_unauthorized")
    assert qsticky.metric("qbittorrent_logins_total") == 2
    assert qsticky.metric("qbittorrent_login_failures_total") == 1
    assert [name for name in qsticky.events() if "login" in name] == ["login_refused", "login"]


def test_a_wrong_gluetun_key_names_both_role_lines_and_counts_once_corrected(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI, tmp_path: Path
) -> None:
    before = qbittorrent.listen_port
    key_file = tmp_path / "key"
    key_file.write_text("wrong\n")
    qsticky = start(GLUETUN_APIKEY=None, GLUETUN_APIKEY_FILE=key_file, CHECK_INTERVAL=1)
    qsticky.wait_for("failing", "gluetun_unauthorized")
    assert_failing(
        qsticky, "gluetun_unauthorized", "GLUETUN_APIKEY", f'"{PORT_ROUTE}"', f'"{OLD_PORT_ROUTE}"'
    )
    assert qsticky.metric("gluetun_up") == 0
    assert qsticky.metric("qbittorrent_up") == 1
    assert qsticky.metric("api_errors_total", service="gluetun", reason="unauthorized") >= 1
    assert qbittorrent.listen_port == before
    key_file.write_text("the-key-of-the-role\n")
    qsticky.wait_for_port(gluetun.ports[0])
    assert qbittorrent.listen_port == gluetun.ports[0]
    assert_recovered(qsticky, "gluetun_unauthorized")


def test_a_role_from_before_3_41_is_told_the_line_that_it_lacks(
    start: Start, gluetun: GluetunSimulator
) -> None:
    with GluetunSimulator(api_key="key", ports=gluetun.ports, routes={OLD_PORT_ROUTE}) as outdated:
        qsticky = start(GLUETUN_PORT=outdated.port, GLUETUN_APIKEY="key")
        qsticky.wait_for("failing", "gluetun_unauthorized")
        assert_failing(qsticky, "gluetun_unauthorized", f'add "{PORT_ROUTE}"')


def test_basic_credentials_and_an_open_control_server_work_too(
    start: Start, gluetun: GluetunSimulator
) -> None:
    with GluetunSimulator(username="user", password="pässword:1", ports=gluetun.ports) as basic:
        start(
            GLUETUN_PORT=basic.port,
            GLUETUN_AUTH_TYPE="basic",
            GLUETUN_USERNAME="user",
            GLUETUN_PASSWORD="pässword:1",
        ).wait_for("synced")
    with GluetunSimulator(ports=gluetun.ports) as unlocked:
        start(GLUETUN_PORT=unlocked.port, GLUETUN_AUTH_TYPE="none", GLUETUN_APIKEY=None).wait_for(
            "synced"
        )


def test_the_environments_proxies_bundles_and_netrc_are_not_for_this(
    start: Start, gluetun: GluetunSimulator, qbittorrent: WebUI, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text("machine 127.0.0.1 login nobody password nothing\n")
    (home / ".netrc").chmod(0o600)
    nowhere = f"http://127.0.0.1:{free_port()}"
    qsticky = start(
        HOME=home,
        HTTP_PROXY=nowhere,
        http_proxy=nowhere,
        ALL_PROXY=nowhere,
        REQUESTS_CA_BUNDLE=home / ".netrc",
    )
    qsticky.wait_for_port(gluetun.ports[0])
    assert qbittorrent.listen_port == gluetun.ports[0]
    assert qsticky.metric("qbittorrent_login_failures_total") == 0


@pytest.fixture
def private(
    tmp_path: Path,
) -> Iterator[Callable[[Mapping[str, object], bool], RealQBittorrent]]:
    """Starts a qBittorrent with preferences of its own."""
    running: list[RealQBittorrent] = []

    def start_one(preferences: Mapping[str, object], https: bool = False) -> RealQBittorrent:
        profile = tmp_path / "profile"
        profile.mkdir()
        server = RealQBittorrent(profile, preferences=preferences, https=https)
        server.start()
        running.append(server)
        return server

    yield start_one
    for server in running:
        server.stop()


Private = Callable[..., RealQBittorrent]


def test_where_localhost_is_let_in_nobody_logs_in(start: Start, private: Private) -> None:
    server = private({"WebUI\\LocalHostAuth": False})
    qsticky = start(QBITTORRENT_PORT=server.port, QBITTORRENT_PASS="whatever")
    qsticky.wait_for("synced")
    assert qsticky.metric("qbittorrent_logins_total") == 0
    assert "login" not in qsticky.events()


def test_a_refused_name_in_the_host_header_is_no_refused_login_and_its_remedy_works(
    start: Start, private: Private
) -> None:
    server = private({"WebUI\\ServerDomains": "torrents.example"})
    qsticky = start(QBITTORRENT_PORT=server.port, QBITTORRENT_HOST="localhost")
    qsticky.wait_for("failing", "qbittorrent_unauthorized")
    assert_failing(
        qsticky,
        "qbittorrent_unauthorized",
        'refuses the name "localhost" in the Host header',
        "set QBITTORRENT_HOST=127.0.0.1",
    )
    assert qsticky.metric("qbittorrent_logins_total") == 0
    qsticky.stop()
    start(QBITTORRENT_PORT=server.port, QBITTORRENT_HOST="127.0.0.1").wait_for("synced")


@dataclass(frozen=True)
class Authority:
    """A user's own CA, and a certificate of it for 127.0.0.1, as PEM files."""

    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    files = Authority(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A CA of one's own")])
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "qbittorrent")])
    ca_identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    nothing = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(**{**nothing, "key_cert_sign": True, "crl_sign": True}), critical=True
        )
        .add_extension(ca_identifier, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    localhost = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        _certificate(name, ca_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName([localhost]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )


def test_https_needs_the_users_ca_or_their_word(
    start: Start, private: Private, authority: Authority
) -> None:
    server = private(
        {
            "WebUI\\HTTPS\\Enabled": True,
            "WebUI\\HTTPS\\CertificatePath": authority.certificate,
            "WebUI\\HTTPS\\KeyPath": authority.key,
        },
        https=True,
    )
    there = {"QBITTORRENT_PORT": server.port, "QBITTORRENT_HTTPS": "true"}
    with_ca = start(**there, QBITTORRENT_CA_FILE=authority.ca)
    unverified = start(**there, QBITTORRENT_VERIFY_SSL="false")
    distrustful = start(**there)
    plain = start(**{**there, "QBITTORRENT_HTTPS": "false"})

    with_ca.wait_for("synced")
    unverified.wait_for("synced")
    distrustful.wait_for("failing", "qbittorrent_unreachable")
    assert_failing(
        distrustful,
        "qbittorrent_unreachable",
        "QBITTORRENT_CA_FILE",
        "QBITTORRENT_VERIFY_SSL=false",
    )
    assert distrustful.metric("api_errors_total", service="qbittorrent", reason="tls") >= 1
    assert distrustful.metric("qbittorrent_logins_total") == 0
    plain.wait_for("failing", "qbittorrent_unreachable")
    assert_failing(plain, "qbittorrent_unreachable", "QBITTORRENT_HTTPS=true")


def planted(*names: str) -> dict[str, object]:
    """Give each variable a secret that can be recognised, also in another notation."""
    return {name: f'{PLANTED}-{name}-"ü&%' for name in names}


def traces(secrets: Mapping[str, object]) -> Iterator[str]:
    """Every string by which a planted secret would show, plain or in base64."""
    yield PLANTED
    for begins in range(3):  # base64 of the middle depends on where it begins
        encoded = base64.b64encode(b"-" * begins + PLANTED.encode()).decode()
        yield encoded[4 if begins else 0 : -4]
    users = [value for name, value in secrets.items() if "USER" in name]
    for user, password in zip(users, (v for n, v in secrets.items() if "PASS" in n), strict=True):
        yield base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("secrets", "others"),
    [
        pytest.param(
            planted("QBITTORRENT_USER", "QBITTORRENT_PASS", "GLUETUN_APIKEY"),
            {},
            id="password-and-key",
        ),
        pytest.param(
            planted("QBITTORRENT_API_KEY", "GLUETUN_USERNAME", "GLUETUN_PASSWORD"),
            {"GLUETUN_AUTH_TYPE": "basic"},
            id="key-and-password",
        ),
    ],
)
def test_no_secret_shows_anywhere_whatever_fails(
    start: Start,
    gluetun: GluetunSimulator,
    qbittorrent: WebUI,
    secrets: dict[str, object],
    others: dict[str, object],
) -> None:
    served = planted("METRICS_USERNAME", "METRICS_PASSWORD")
    credentials = f"{served['METRICS_USERNAME']}:{served['METRICS_PASSWORD']}".encode()
    qsticky: QSticky = start(**secrets, **others, **served, LOG_LEVEL="DEBUG", REQUEST_TIMEOUT=1.5)
    qsticky.headers = {"Authorization": f"Basic {base64.b64encode(credentials).decode()}"}
    shown: list[str] = []

    def look() -> None:
        shown.extend(
            qsticky.get(path, headers=headers).text
            for path in ("/", "/metrics", "/-/ready", "/-/healthy", "/elsewhere")
            for headers in (qsticky.headers, {}, {"Authorization": "Basic bm86bm8="})
        )
        shown.append(qsticky.health_file.read_text())
        shown.append(qsticky.healthcheck().stdout)

    def fail_by(reason: str) -> None:
        qsticky.sync()
        assert qsticky.health()["reason"] == reason
        look()

    qsticky.wait_for("failing", "gluetun_unauthorized")
    look()
    for fault, reason in {
        Answer(status=500): "gluetun_invalid_response",
        Answer(body="no JSON"): "gluetun_invalid_response",
        Answer(body='{"port":0}'): "qbittorrent_unauthorized",
    }.items():
        gluetun.fault = fault
        fail_by(reason)
    qbittorrent.server.freeze()
    fail_by("qbittorrent_unreachable")
    qbittorrent.kill()
    gluetun.stop()
    fail_by("gluetun_unreachable")
    assert "debug" in {line["level"] for line in qsticky.log()}
    assert qsticky.get("/metrics", headers={}).status == 401
    assert qsticky.stop() == 0

    everything = "\n".join([*shown, qsticky.stdout, qsticky.stderr])
    assert "gluetun_unauthorized" in everything
    assert "qbittorrent_unauthorized" in everything
    for trace in traces({**secrets, **served}):
        assert trace not in everything
