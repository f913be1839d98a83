"""Something in front of qBittorrent, or in its place: it is told from qBittorrent's own words.

A real nginx in front of a real qBittorrent, with what people put there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import GluetunSimulator
from tests.certificates import Certificate, self_signed
from tests.contract.targets import Client
from tests.end_to_end.conftest import Start, WebUI
from tests.end_to_end.test_check import Check, assignments, check  # noqa: F401 - a fixture
from tests.proxy import Nginx
from tests.real import free_port

TLS = "ssl_certificate {chain}; ssl_certificate_key {key};"
LOGIN = 'auth_basic "Members only"; auth_basic_user_file {htpasswd};'
PASS_ON = "proxy_pass http://127.0.0.1:{upstream}; proxy_set_header Host $proxy_host;"
GLUETUN = "http://127.0.0.1:{gluetun}"
FOREIGN = "in words that are not qBittorrent's"

Front = Callable[[str], Nginx]


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """A certificate for 127.0.0.1 and localhost, signed by itself."""
    return self_signed(tmp_path)


@pytest.fixture
def front(
    tmp_path: Path, qbittorrent: WebUI, gluetun: GluetunSimulator, certificate: Certificate
) -> Iterator[Front]:
    """Puts an nginx with these directives in front of qBittorrent."""
    values = {
        "upstream": qbittorrent.server.port,
        "gluetun": gluetun.port,
        "chain": certificate.chain,
        "key": certificate.key,
    }
    users = tmp_path / "htpasswd"
    users.write_text("member:{PLAIN}password\n")
    with ExitStack() as running:

        def start_one(directives: str) -> Nginx:
            folder = tmp_path / f"nginx-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            for name, value in {"htpasswd": users, **values}.items():
                directives = directives.replace(f"{{{name}}}", str(value))
            return running.enter_context(Nginx(folder, directives))

        yield start_one


@pytest.mark.parametrize(
    ("directives", "told"),
    [
        (f"location / {{ {LOGIN} {PASS_ON} }}", "asks for another login than qBittorrent's"),
        (f"location / {{ deny all; {PASS_ON} }}", FOREIGN),
        ('location / { default_type text/plain; return 401 "Unauthorized\n"; }', FOREIGN),
        ('location / { default_type text/plain; return 403 "Blocked"; }', FOREIGN),
        ("location / { return 302 https://login.example/; }", "answered 302"),
        (
            "location / { proxy_pass http://127.0.0.1:1; }",
            "answered 502, as a proxy does that can't reach it; see that it runs",
        ),
        (
            "location /qbittorrent/ { proxy_pass http://127.0.0.1:{upstream}/; }",
            "answered 404",
        ),
    ],
    ids=["its own login", "an allow-list", "a service's 401", "a WAF", "SSO", "502", "a sub-path"],
)
def test_what_is_in_front_is_not_taken_for_qbittorrent(
    front: Front,
    check: Check,  # noqa: F811
    start: Start,
    directives: str,
    told: str,
) -> None:
    proxy = front(directives)
    found = check(QBITTORRENT_PORT=proxy.port)
    assert found.by_verdict("failed") == ["webui"]
    text = found.named("webui")["text"]
    assert told in text
    assert "QBITTORRENT_PORT" in text
    assert ("QBITTORRENT_HOST=localhost", "QBITTORRENT_PORT=8080") in found.remedies()
    qsticky = start(QBITTORRENT_PORT=proxy.port)
    qsticky.wait_for("failing", "qbittorrent_invalid_response")
    assert told in qsticky.health()["last_error"]


def test_what_refuses_the_login_alone_is_not_a_ban(
    front: Front,
    check: Check,  # noqa: F811
    start: Start,
    qbittorrent: WebUI,
) -> None:
    proxy = front(f"location /api/v2/auth {{ deny all; }} location / {{ {PASS_ON} }}")
    found = check(QBITTORRENT_PORT=proxy.port)
    assert found.by_verdict("failed") == ["authentication"]
    assert found.named("host_header")["verdict"] == "ok"
    assert FOREIGN in found.named("authentication")["text"]
    qsticky = start(QBITTORRENT_PORT=proxy.port)
    qsticky.wait_for("failing", "qbittorrent_invalid_response")
    client = Client(qbittorrent.server.url)
    assert client.login(qbittorrent.server.password).ok
    client.close()


def test_letting_qsticky_s_requests_through_helps(
    front: Front,
    check: Check,  # noqa: F811
) -> None:
    everybody = f"location / {{ {LOGIN} {PASS_ON} }}"
    refused = check(QBITTORRENT_PORT=front(everybody).port)
    _, lines = refused.remedies()
    block = "\n".join(lines).replace("172.20.0.0/16", "127.0.0.0/8").replace("…", PASS_ON)
    directives = f"{LOGIN} location / {{ {PASS_ON} }}\n{block}"
    assert check(QBITTORRENT_PORT=front(directives).port).code == 0


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        (None, "answered 400; if it speaks HTTPS there, set QBITTORRENT_HTTPS=true"),
        (
            "return 308 https://127.0.0.1:{secured}$request_uri;",
            "answered 308, which leads to HTTPS; set QBITTORRENT_HTTPS=true and QBITTORRENT_PORT=",
        ),
    ],
    ids=["its port for HTTPS", "its port for HTTP"],
)
def test_http_is_spoken_to_a_proxy_that_wants_https(
    front: Front,
    check: Check,  # noqa: F811
    start: Start,
    certificate: Certificate,
    plain: str | None,
    told: str,
) -> None:
    port = secured = free_port()
    front(f"listen 127.0.0.1:{secured} ssl; {TLS} location / {{ {PASS_ON} }}")
    if plain:
        port = front(f"location / {{ {plain.replace('{secured}', str(secured))} }}").port
    qsticky = start(QBITTORRENT_PORT=port)
    qsticky.wait_for("failing", "qbittorrent_invalid_response")
    assert told in qsticky.health()["last_error"]
    wrong = check(QBITTORRENT_PORT=port)
    assert told in wrong.named("webui")["text"]
    unverified, verified = ({"QBITTORRENT_PORT": port} | assignments(r) for r in wrong.remedies())
    assert check(**unverified).code == 0
    assert check(**verified | {"QBITTORRENT_CA_FILE": certificate.chain}).code == 0


def test_a_proxy_that_has_no_site_of_that_name(
    front: Front,
    check: Check,  # noqa: F811
    start: Start,
) -> None:
    port = free_port()
    there = {"QBITTORRENT_PORT": port, "QBITTORRENT_HTTPS": True, "QBITTORRENT_VERIFY_SSL": False}
    front(
        f"listen 127.0.0.1:{port} ssl; ssl_reject_handshake on; }} server {{ "
        f"listen 127.0.0.1:{port} ssl; server_name localhost; {TLS} location / {{ {PASS_ON} }}"
    )
    qsticky = start(**there)
    qsticky.wait_for("failing", "qbittorrent_unreachable")
    told = qsticky.health()["last_error"]
    assert "refused the TLS handshake" in told
    assert "set QBITTORRENT_HOST to the name that it has" in told
    assert check(**there).named("webui")["text"] == told
    assert check(**there, QBITTORRENT_HOST="localhost").code == 0


def test_a_proxy_that_removes_cookies(
    front: Front,
    check: Check,  # noqa: F811
) -> None:
    without = f"location / {{ {PASS_ON} proxy_hide_header Set-Cookie; }}"
    found = check(QBITTORRENT_PORT=front(without).port)
    assert found.by_verdict("failed") == ["authentication"]
    assert "no proxy between removes cookies" in found.named("authentication")["text"]
    direct, let_through = found.remedies()
    assert direct == ("QBITTORRENT_HOST=localhost", "QBITTORRENT_PORT=8080")
    assert let_through[0] == "location /api/v2/ {"


def test_a_login_in_front_of_gluetun_is_not_taken_for_its_role(
    front: Front,
    check: Check,  # noqa: F811
    start: Start,
) -> None:
    there = {"GLUETUN_PORT": front(f"location / {{ {LOGIN} proxy_pass {GLUETUN}; }}").port}
    found = check(**there)
    assert found.by_verdict("failed") == ["control_server"]
    assert "in words that are not Gluetun's" in found.named("control_server")["text"]
    assert ("GLUETUN_HOST=localhost", "GLUETUN_PORT=8000") in found.remedies()
    start(**there).wait_for("failing", "gluetun_invalid_response")


def test_a_host_header_that_a_proxy_passes_on(
    front: Front,
    check: Check,  # noqa: F811
) -> None:
    passed_on = "proxy_pass http://127.0.0.1:{upstream}; proxy_set_header Host $http_host;"
    refused = check(QBITTORRENT_PORT=front(f"location / {{ {passed_on} }}").port)
    assert refused.by_verdict("failed") == ["host_header"]
    *_, (line,), (option,) = refused.remedies()
    assert line == "proxy_set_header Host $proxy_host;"
    assert option.endswith("Enable Host header validation")
    mended = f"location / {{ proxy_pass http://127.0.0.1:{{upstream}}; {line} }}"
    assert check(QBITTORRENT_PORT=front(mended).port).code == 0


def test_gluetun_s_port_given_as_the_webui_s(
    check: Check,  # noqa: F811
    gluetun: GluetunSimulator,
) -> None:
    found = check(QBITTORRENT_PORT=gluetun.port)
    assert found.by_verdict("failed") == ["webui"]
    assert FOREIGN in found.named("webui")["text"]
    (lines,) = found.remedies()
    assert assignments(lines) == {"QBITTORRENT_PORT": "8080"}
