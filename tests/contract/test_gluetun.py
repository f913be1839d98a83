"""How Gluetun's control server answers, by release."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import requests

from qsticky.demo.gluetun_simulator import GluetunSimulator, VpnStatus
from tests.real import wait_until

NEW = "/v1/portforward"
OLD = "/v1/openvpn/portforwarded"
VPN = "/v1/vpn/status"
EVERY_RELEASE = ("3.39.0", "3.40", "3.41", "3.41.3", "master")
WITH_ROLES = EVERY_RELEASE[1:]
SINCE_3_41 = EVERY_RELEASE[2:]

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


Put = Callable[..., requests.Response]


@pytest.fixture
def put() -> Put:
    """Asks for a VPN status, over a connection of its own, as a change can take its time."""

    def put(
        gluetun: GluetunSimulator, body: str, headers: dict[str, str] | None = None
    ) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.put(gluetun.url + VPN, data=body, headers=headers, timeout=5)

    return put


@pytest.fixture
def later(put: Put) -> Iterator[Callable[..., Future[requests.Response]]]:
    """Asks for a VPN status meanwhile."""
    with ThreadPoolExecutor() as pool:
        yield lambda *args: pool.submit(put, *args)


def port_route(release: str) -> str:
    return NEW if release in SINCE_3_41 else OLD


def status(name: str) -> str:
    return json.dumps({"status": name})


@pytest.mark.parametrize(
    ("release", "status"),
    [("3.39.0", 400), ("3.40", 401), ("3.41", 200), ("3.41.3", 200), ("master", 200)],
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


@pytest.mark.parametrize("release", SINCE_3_41)
def test_the_old_port_route_redirects_to_the_new_one_from_3_41_on(
    start: Start, get: Get, release: str
) -> None:
    response = get(start(release=release, api_key="key"), OLD, {"X-API-Key": "key"})
    assert (response.status_code, response.headers["Location"]) == (301, NEW)


@pytest.mark.parametrize("release", SINCE_3_41)
def test_a_role_with_only_the_old_route_is_redirected_and_then_refused(
    start: Start, get: Get, release: str
) -> None:
    gluetun = start(release=release, api_key="key", routes=[f"GET {OLD}"])
    assert get(gluetun, OLD, {"X-API-Key": "key"}).status_code == 301
    assert get(gluetun, NEW, {"X-API-Key": "key"}).status_code == 401


@pytest.mark.parametrize(
    ("release", "status"),
    [("3.39.0", 200), ("3.40", 200), ("3.41", 200), ("3.41.3", 200), ("master", 401)],
)
def test_without_roles_the_port_is_open_to_all_but_in_master(
    start: Start, get: Get, release: str, status: int
) -> None:
    assert get(start(release=release), port_route(release)).status_code == status


@pytest.mark.parametrize(
    ("release", "status"),
    [("3.39.0", 400), ("3.40", 401), ("3.41", 401), ("3.41.3", 404), ("master", 404)],
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
def test_up_to_3_41_1_the_body_has_port_for_one_and_ports_for_several(
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
@pytest.mark.parametrize("release", ["3.41.3", "master"])
def test_from_3_41_2_on_the_body_has_both_port_and_ports(
    start: Start, get: Get, release: str, ports: tuple[int, ...], body: str
) -> None:
    gluetun = start(release=release, ports=ports, routes=[f"GET {NEW}"])
    assert get(gluetun, NEW).text == body


@pytest.mark.parametrize(
    ("release", "ports"),
    [("3.41", [6000, 5914]), ("3.41.3", [6000, 5914]), ("master", [5914, 6000])],
)
def test_several_ports_come_in_the_providers_order_or_in_master_sorted(
    start: Start, get: Get, release: str, ports: list[int]
) -> None:
    gluetun = start(release=release, ports=[6000, 5914], routes=[f"GET {NEW}"])
    assert get(gluetun, NEW).json()["ports"] == ports


@pytest.mark.parametrize("release", EVERY_RELEASE)
def test_json_comes_as_plain_text(start: Start, get: Get, release: str) -> None:
    gluetun = start(release=release, api_key="key")
    response = get(gluetun, port_route(release), {"X-API-Key": "key"})
    assert response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("release", "status"),
    [("3.39.0", 400), ("3.40", 401), ("3.41", 401), ("3.41.3", 405), ("master", 405)],
)
def test_a_wrong_method_is_answered_by_release(start: Start, release: str, status: int) -> None:
    gluetun = start(release=release, api_key="key")
    assert requests.post(gluetun.url + OLD, timeout=5).status_code == status


@pytest.mark.parametrize(
    ("release", "version"),
    [("3.40", "v3.40.4"), ("3.41", "v3.41.1"), ("3.41.3", "v3.41.3"), ("master", "latest")],
)
def test_the_version_is_told_where_the_role_permits_it(
    start: Start, get: Get, release: str, version: str
) -> None:
    key = {"X-API-Key": "key"}
    permitted = start(release=release, api_key="key", routes=["GET /v1/version"])
    assert get(permitted, "/v1/version", key).json()["version"] == version
    not_permitted = start(release=release, api_key="key", routes=[f"GET {port_route(release)}"])
    assert get(not_permitted, "/v1/version", key).status_code == 401


# Roles


@pytest.mark.parametrize("release", WITH_ROLES)
def test_a_role_with_basic_credentials_says_so_on_its_routes_to_who_sends_none(
    start: Start, get: Get, release: str
) -> None:
    path = port_route(release)
    gluetun = start(release=release, username="me", password="secret", routes=[f"GET {path}"])
    challenge = 'Basic realm="restricted", charset="UTF-8"'
    assert get(gluetun, path).headers["WWW-Authenticate"] == challenge
    assert get(gluetun, path, {"X-API-Key": "key"}).headers["WWW-Authenticate"] == challenge
    assert "WWW-Authenticate" not in get(gluetun, path, auth=("me", "wrong")).headers
    assert "WWW-Authenticate" not in get(gluetun, "/v1/publicip/ip").headers
    assert "WWW-Authenticate" not in get(start(release=release, api_key="key"), path).headers


@pytest.mark.parametrize("release", SINCE_3_41)
def test_a_default_role_has_every_route_that_no_role_lists(
    start: Start, get: Get, release: str
) -> None:
    key = {"X-API-Key": "default"}
    alone = start(release=release, default_api_key="default")
    assert get(alone, NEW, key).status_code == 200
    beside = start(
        release=release, api_key="another", routes=[f"GET {NEW}"], default_api_key="default"
    )
    assert get(beside, OLD, key).status_code == 301
    assert get(beside, NEW, key).status_code == 401
    assert get(beside, NEW, {"X-API-Key": "another"}).status_code == 200


def test_before_3_41_there_is_no_default_role() -> None:
    with pytest.raises(ValueError, match="no default role"):
        GluetunSimulator(release="3.40", default_api_key="default")


# The VPN


@pytest.mark.parametrize("release", EVERY_RELEASE)
@pytest.mark.parametrize(
    ("address", "answer"),
    [("203.0.113.7", {"public_ip": "203.0.113.7", "country": "Norway"}), ("", {"public_ip": ""})],
)
def test_the_public_ip_is_empty_when_unknown(
    start: Start, get: Get, release: str, address: str, answer: dict[str, str]
) -> None:
    gluetun = start(release=release, api_key="key", public_ip=address, country="Norway")
    assert get(gluetun, "/v1/publicip/ip", {"X-API-Key": "key"}).json() == answer


@pytest.mark.parametrize("ports", [(), (5914,)])
def test_the_vpn_status_says_nothing_about_the_port(
    start: Start, get: Get, ports: tuple[int, ...]
) -> None:
    assert get(start(ports=ports), VPN).json() == {"status": "running"}


@pytest.mark.parametrize("release", EVERY_RELEASE)
def test_the_vpn_is_stopped_and_started_again(
    start: Start, get: Get, put: Put, release: str
) -> None:
    key = {"X-API-Key": "key"}
    gluetun = start(release=release, ports=[5914], api_key="key")
    gluetun.next_ports = (6000,)

    def port() -> int:
        return int(get(gluetun, port_route(release), key).json()["port"])

    answer = put(gluetun, status("stopped"), key)
    assert (answer.status_code, answer.text) == (200, '{"outcome":"stopped"}\n')
    assert get(gluetun, VPN, key).json() == {"status": "stopped"}
    assert port() == 0
    assert get(gluetun, "/v1/publicip/ip", key).json() == {"public_ip": ""}
    assert put(gluetun, status("running"), key).json() == {"outcome": "running"}
    assert get(gluetun, VPN, key).json() == {"status": "running"}
    assert port() == 6000


@pytest.mark.parametrize(
    ("vpn", "wanted"),
    [
        ("running", "running"),
        ("stopped", "stopped"),
        ("crashed", "stopped"),
        ("crashed", "running"),
        ("starting", "stopped"),
        ("starting", "running"),
    ],
)
def test_a_vpn_that_is_not_the_contrary_is_left_as_it_is(
    start: Start, put: Put, vpn: VpnStatus, wanted: str
) -> None:
    gluetun = start()
    gluetun.vpn = vpn
    assert put(gluetun, status(wanted)).json() == {"outcome": f"already {vpn}"}
    assert gluetun.vpn == vpn


def test_a_vpn_that_does_not_start_is_crashed(start: Start, get: Get, put: Put) -> None:
    gluetun = start()
    gluetun.vpn, gluetun.starts = "stopped", "crashed"
    assert put(gluetun, status("running")).json() == {"outcome": "crashed"}
    assert get(gluetun, VPN).json() == {"status": "crashed"}


@pytest.mark.parametrize("body", ["{}", status("paused"), "running", "", "[]", '{"status":1}'])
@pytest.mark.parametrize("release", EVERY_RELEASE)
def test_what_is_no_status_is_400_to_who_is_permitted_and_changes_nothing(
    start: Start, put: Put, release: str, body: str
) -> None:
    gluetun = start(release=release, api_key="key")
    answer = put(gluetun, body, {"X-API-Key": "key"})
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert (gluetun.vpn, gluetun.outcomes) == ("running", [])


@pytest.mark.parametrize("body", ["{}", status("stopped")])
@pytest.mark.parametrize("release", WITH_ROLES)
def test_a_role_without_the_route_is_401_and_changes_nothing(
    start: Start, put: Put, release: str, body: str
) -> None:
    gluetun = start(release=release, api_key="key", routes=[f"GET {VPN}"])
    for headers in ({"X-API-Key": "key"}, {}):
        answer = put(gluetun, body, headers)
        assert (answer.status_code, answer.text) == (401, "Unauthorized\n")
    assert gluetun.vpn == "running"


def test_3_39_0_asks_nobody_who_they_are(start: Start, put: Put) -> None:
    gluetun = start(release="3.39.0", api_key="key", routes=[f"GET {VPN}"])
    assert put(gluetun, "{}").status_code == 400
    assert put(gluetun, status("stopped")).json() == {"outcome": "stopped"}


Later = Callable[..., Future[requests.Response]]


def test_running_sent_while_it_stops_is_done_afterwards(
    start: Start, get: Get, later: Later
) -> None:
    gluetun = start(ports=[5914])
    gluetun.held = "stopping"
    stopped = later(gluetun, status("stopped"))
    wait_until(lambda: gluetun.vpn == "stopping", 5, "the VPN to be stopping")
    running = later(gluetun, status("running"))
    assert get(gluetun, VPN).json() == {"status": "stopping"}
    assert get(gluetun, NEW).json() == {"port": 0}
    assert not stopped.done()
    gluetun.held = None
    outcomes = [answer.result().json()["outcome"] for answer in (stopped, running)]
    assert outcomes == ["stopped", "running"]
    assert gluetun.vpn == "running"


@pytest.mark.parametrize("wanted", ["stopped", "running"])
def test_it_takes_effect_also_when_the_caller_hangs_up(start: Start, wanted: str) -> None:
    gluetun = start()
    if wanted == "running":
        gluetun.vpn = "stopped"
    gluetun.held = "stopping" if wanted == "stopped" else "starting"
    with pytest.raises(requests.ReadTimeout):
        requests.put(gluetun.url + VPN, data=status(wanted), timeout=0.2)
    gluetun.held = None
    wait_until(lambda: gluetun.vpn == wanted, 5, f"the VPN to be {wanted}")


def test_the_port_cannot_be_asked_for_while_the_down_command_of_3_41_3_runs(
    start: Start, get: Get, later: Later
) -> None:
    gluetun = start(release="3.41.3", ports=[5914])
    gluetun.held = "stopping"
    stopped = later(gluetun, status("stopped"))
    wait_until(lambda: gluetun.vpn == "stopping", 5, "the VPN to be stopping")
    with pytest.raises(requests.ReadTimeout):
        requests.get(gluetun.url + NEW, timeout=0.2)
    gluetun.held = None
    assert stopped.result().ok
    assert get(gluetun, NEW).json() == {"port": 0, "ports": []}


def test_the_old_ports_are_told_while_the_down_command_of_master_runs(
    start: Start, get: Get, later: Later
) -> None:
    gluetun = start(release="master", ports=[5914], routes=[f"GET {NEW}", f"PUT {VPN}"])
    gluetun.held = "stopping"
    stopped = later(gluetun, status("stopped"))
    wait_until(lambda: gluetun.vpn == "stopping", 5, "the VPN to be stopping")
    assert get(gluetun, NEW).json() == {"port": 5914, "ports": [5914]}
    gluetun.held = None
    assert stopped.result().ok
    assert get(gluetun, NEW).json() == {"port": 0, "ports": []}


def test_a_new_process_starts_the_vpn_by_itself(start: Start, get: Get, put: Put) -> None:
    gluetun = start(ports=[5914])
    put(gluetun, status("stopped"))
    gluetun.stop()
    gluetun.start()
    assert get(gluetun, NEW).json() == {"port": 5914}
