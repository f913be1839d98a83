"""Something in front of qBittorrent, or in its place: it is told from qBittorrent's own words.

A real nginx in front of a real qBittorrent, with what people put there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import GluetunSimulator
from tests.contract.targets import Client
from tests.end_to_end.conftest import Start, WebUI
from tests.end_to_end.test_check import Check, assignments, check  # noqa: F401 - a fixture
from tests.proxy import Nginx

LOGIN = 'auth_basic "Members only"; auth_basic_user_file {htpasswd};'
PASS_ON = "proxy_pass http://127.0.0.1:{upstream}; proxy_set_header Host $proxy_host;"
FOREIGN = "in words that are not qBittorrent's"

Front = Callable[[str], Nginx]


@pytest.fixture
def front(tmp_path: Path, qbittorrent: WebUI) -> Iterator[Front]:
    """Puts an nginx with these directives in front of qBittorrent."""
    users = tmp_path / "htpasswd"
    users.write_text("member:{PLAIN}password\n")
    with ExitStack() as running:

        def start_one(directives: str) -> Nginx:
            folder = tmp_path / f"nginx-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            for name, value in {"htpasswd": users, "upstream": qbittorrent.server.port}.items():
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
        ("location / { return 502; }", "answered 502"),
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
    assert found.remedies()[0] == ("QBITTORRENT_HOST=localhost", "QBITTORRENT_PORT=8080")
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
