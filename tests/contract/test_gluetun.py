"""How Gluetun's control server answers, by release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests

from qsticky.demo.gluetun_simulator import GluetunSimulator

NEW = "/v1/portforward"
OLD = "/v1/openvpn/portforwarded"
EVERY_RELEASE = ("3.39.0", "3.40", "3.41", "master")
WITH_ROLES = ("3.40", "3.41", "master")

Start = Callable[..., GluetunSimulator]
Get = Callable[..., requests.Response]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as running:
        yield lambda **options: running.enter_context(GluetunSimulator(**options))


@pytest.fixture
def get() -> Iterator[Get]:
    with requests.Session() as session:
        session.trust_env = False

        def get(
            gluetun: GluetunSimulator,
            path: str,
            headers: dict[str, str] | None = None,
            auth: tuple[str, str] | None = None,
        ) -> requests.Response:
            url = gluetun.url + path
            return session.get(url, headers=headers, auth=auth, timeout=5, allow_redirects=False)

        yield get


def port_route(release: str) -> str:
    return NEW if release in ("3.41", "master") else OLD


@pytest.mark.parametrize(
    ("release", "status"), [("3.39.0", 400), ("3.40", 401), ("3.41", 200), ("master", 200)]
)
def test_the_new_port_route_is_known_from_3_41_on(
    start: Start, get: Get, release: str, status: int
) -> None:
    gluetun = start(release=release, api_key="key")
    assert get(gluetun, NEW, {"X-API-Key": "key"}).status_code == status


@pytest.mark.parametrize("release", ["3.39.0", "3.40"])
def test_the_old_port_route_gives_the_port_up_to_3_40(start: Start, get: Get, release: str) -> None:
    response = get(start(release=release, ports=[5914]), OLD)
    assert (response.status_code, response.json()) == (200, {"port": 5914})


@pytest.mark.parametrize("release", ["3.41", "master"])
def test_the_old_port_route_redirects_to_the_new_one_from_3_41_on(
    start: Start, get: Get, release: str
) -> None:
    response = get(start(release=release, api_key="key"), OLD, {"X-API-Key": "key"})
    assert (response.status_code, response.headers["Location"]) == (301, NEW)


@pytest.mark.parametrize("release", ["3.41", "master"])
def test_a_role_with_only_the_old_route_is_redirected_and_then_refused(
    start: Start, get: Get, release: str
) -> None:
    gluetun = start(release=release, api_key="key", routes=[f"GET {OLD}"])
    assert get(gluetun, OLD, {"X-API-Key": "key"}).status_code == 301
    assert get(gluetun, NEW, {"X-API-Key": "key"}).status_code == 401


@pytest.mark.parametrize(
    ("release", "status"), [("3.39.0", 200), ("3.40", 200), ("3.41", 200), ("master", 401)]
)
def test_without_roles_the_port_is_open_to_all_but_in_master(
    start: Start, get: Get, release: str, status: int
) -> None:
    assert get(start(release=release), port_route(release)).status_code == status


@pytest.mark.parametrize(
    ("release", "status"), [("3.39.0", 400), ("3.40", 401), ("3.41", 401), ("master", 404)]
)
@pytest.mark.parametrize("path", ["/v1/nothing", "/"])
def test_an_unknown_path_is_answered_by_release(
    start: Start, get: Get, release: str, status: int, path: str
) -> None:
    assert get(start(release=release), path).status_code == status


@pytest.mark.parametrize("release", WITH_ROLES)
def test_a_path_with_a_trailing_slash_is_another_path(start: Start, get: Get, release: str) -> None:
    gluetun = start(release=release, api_key="key")
    path = port_route(release) + "/"
    assert get(gluetun, path, {"X-API-Key": "key"}).status_code in (401, 404)


def test_3_40_refuses_a_role_that_names_the_new_route() -> None:
    with pytest.raises(ValueError, match="route not supported by the control server"):
        GluetunSimulator(release="3.40", api_key="key", routes=[f"GET {NEW}"])


@pytest.mark.parametrize("release", WITH_ROLES)
def test_an_api_key_goes_in_x_api_key_and_not_in_bearer(
    start: Start, get: Get, release: str
) -> None:
    gluetun, path = start(release=release, api_key="key", ports=[5914]), port_route(release)
    assert get(gluetun, path, {"X-API-Key": "key"}).json()["port"] == 5914
    assert get(gluetun, path, {"Authorization": "Bearer key"}).status_code == 401


@pytest.mark.parametrize("release", WITH_ROLES)
def test_basic_credentials_work_where_the_role_says_so(
    start: Start, get: Get, release: str
) -> None:
    path = port_route(release)
    basic = start(release=release, username="me", password="secret")
    assert get(basic, path, auth=("me", "secret")).status_code == 200
    keyed = start(release=release, api_key="secret")
    assert get(keyed, path, auth=("me", "secret")).status_code == 401


@pytest.mark.parametrize("release", WITH_ROLES)
def test_a_missing_or_wrong_credential_is_always_401(start: Start, get: Get, release: str) -> None:
    path = port_route(release)
    keyed = start(release=release, api_key="key")
    basic = start(release=release, username="me", password="secret")
    for response in (
        get(keyed, path),
        get(keyed, path, {"X-API-Key": "wrong"}),
        get(basic, path),
        get(basic, path, auth=("me", "wrong")),
    ):
        assert (response.status_code, response.text) == (401, "Unauthorized\n")


@pytest.mark.parametrize("release", WITH_ROLES)
def test_a_route_that_the_role_does_not_list_is_401(start: Start, get: Get, release: str) -> None:
    path = port_route(release)
    gluetun = start(release=release, api_key="key", routes=[f"GET {path}"])
    assert get(gluetun, path, {"X-API-Key": "key"}).status_code == 200
    assert get(gluetun, "/v1/publicip/ip", {"X-API-Key": "key"}).status_code == 401


@pytest.mark.parametrize("release", ["3.39.0", "3.40", "3.41"])
@pytest.mark.parametrize(
    ("ports", "body"),
    [
        ((), '{"port":0}\n'),
        ((5914,), '{"port":5914}\n'),
        ((5914, 6000), '{"ports":[5914,6000]}\n'),
    ],
)
def test_up_to_3_41_the_body_has_port_for_one_and_ports_for_several(
    start: Start, get: Get, release: str, ports: tuple[int, ...], body: str
) -> None:
    assert get(start(release=release, ports=ports), port_route(release)).text == body


@pytest.mark.parametrize(
    ("ports", "body"),
    [
        ((), '{"port":0,"ports":[]}\n'),
        ((5914,), '{"port":5914,"ports":[5914]}\n'),
        ((5914, 6000), '{"port":5914,"ports":[5914,6000]}\n'),
    ],
)
def test_in_master_the_body_has_both_port_and_ports(
    start: Start, get: Get, ports: tuple[int, ...], body: str
) -> None:
    gluetun = start(release="master", ports=ports, routes=[f"GET {NEW}"])
    assert get(gluetun, NEW).text == body


@pytest.mark.parametrize("release", EVERY_RELEASE)
def test_json_comes_as_plain_text(start: Start, get: Get, release: str) -> None:
    gluetun = start(release=release, api_key="key")
    response = get(gluetun, port_route(release), {"X-API-Key": "key"})
    assert response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("release", EVERY_RELEASE)
@pytest.mark.parametrize("address", ["203.0.113.7", ""])
def test_the_public_ip_is_empty_when_unknown(
    start: Start, get: Get, release: str, address: str
) -> None:
    gluetun = start(release=release, api_key="key", public_ip=address)
    answer = get(gluetun, "/v1/publicip/ip", {"X-API-Key": "key"}).json()
    assert answer["public_ip"] == address


@pytest.mark.parametrize("ports", [(), (5914,)])
def test_the_vpn_status_says_nothing_about_the_port(
    start: Start, get: Get, ports: tuple[int, ...]
) -> None:
    assert get(start(ports=ports), "/v1/vpn/status").json() == {"status": "running"}
