"""`qsticky check` beside a real qBittorrent, with the VPN's interface visible."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contract.targets import Target, every_real_one
from tests.end_to_end.command import clean_environment, qsticky_command
from tests.namespace.netns import Namespace
from tests.namespace.scene import ADDRESS, Scene
from tests.real import free_port, wait_until

pytestmark = every_real_one

BIND_TO = "Options > Advanced > Optional IP address to bind to to All addresses, or to"

Found = Mapping[str, Mapping[str, Any]]
CheckInside = Callable[[], Found]


@pytest.fixture
def scene(inside: Namespace, target: Target, tmp_path: Path) -> Iterator[Scene]:
    with Scene(inside, target, tmp_path) as set_up:
        yield set_up


@pytest.fixture
def check(inside: Namespace, scene: Scene, tmp_path: Path) -> CheckInside:
    """Runs `qsticky check` in the namespace, and returns its findings by their names."""
    variables = {
        **clean_environment(tmp_path),
        "METRICS_PORT": free_port(),
        "HEALTH_FILE": tmp_path / "status.json",
        **scene.variables,
    }

    def check() -> Found:
        ran = inside.run(
            [qsticky_command(), "check", "--json"],
            env={name: str(value) for name, value in variables.items()},
            check=False,
        )
        return {each["check"]: each for each in json.loads(ran.stdout)["findings"]}

    return check


def failed(found: Found) -> list[str]:
    """The checks that failed."""
    return [name for name, finding in found.items() if finding["verdict"] == "failed"]


def test_it_sees_the_socket_and_that_it_is_lost(scene: Scene, check: CheckInside) -> None:
    seen = check()
    assert (seen["interface"]["verdict"], seen["socket"]["verdict"]) == ("ok", "ok")
    assert "A socket of qBittorrent's listens" in seen["socket"]["text"]
    assert failed(seen) == []

    scene.vpn.down()
    assert check()["interface"]["verdict"] == "skipped"
    scene.vpn.create()  # and neither an address nor a link
    assert check()["interface"]["verdict"] == "failed"

    def lost() -> bool:  # by most restarts
        scene.vpn.down()
        scene.vpn.up()
        return "socket" in failed(check())

    wait_until(lost, 60, "a VPN restart to cost the socket")


@pytest.mark.parametrize(
    ("wrong", "right", "remedy"),
    [
        (
            {"proxy_type": 2, "proxy_ip": "127.0.0.1", "proxy_peer_connections": True},
            {"proxy_peer_connections": False},
            "Options > Connection > Proxy Server > Use proxy for peer connections",
        ),
        (
            {"current_network_interface": "lo"},
            {"current_network_interface": "tun0"},
            "Options > Advanced > Network interface to tun0",
        ),
        (
            {"current_network_interface": "absent9"},
            {"current_network_interface": "tun0"},
            "Options > Advanced > Network interface to tun0",
        ),
        (
            {"current_interface_address": "::"},
            {"current_interface_address": ADDRESS},
            f"{BIND_TO} {ADDRESS}",
        ),
        (
            {"current_interface_address": "192.0.2.9"},
            {"current_interface_address": ""},
            f"{BIND_TO} {ADDRESS}",
        ),
    ],
    ids=["proxy", "lo", "no such interface", "IPv6 only", "no such address"],
)
def test_a_setting_that_shuts_peers_out_is_red_until_it_is_set_as_told(
    scene: Scene,
    target: Target,
    check: CheckInside,
    wrong: dict[str, object],
    right: dict[str, object],
    remedy: str,
) -> None:
    if target.version >= (4, 6) and "proxy_type" in wrong:
        wrong = {**wrong, "proxy_type": "SOCKS5"}
    scene.qbittorrent.set(json.dumps(wrong))
    found = check()
    assert "settings" in failed(found)
    assert [line for each in found["settings"]["remedies"] for line in each["copy"]] == [remedy]
    wait_until(lambda: not scene.takes_a_peer(), 5, "qBittorrent to shut peers out")
    scene.qbittorrent.set(json.dumps(right))
    wait_until(scene.takes_a_peer, 5, "qBittorrent to let peers in again")
    assert failed(check()) == []


def test_another_program_s_socket_is_not_qbittorrent_s(scene: Scene, check: CheckInside) -> None:
    port = scene.port
    scene.qbittorrent.use_port(free_port())
    wait_until(lambda: not scene.listens(), 5, "qBittorrent to leave the port")
    with scene.taken():
        scene.qbittorrent.use_port(port)
        found = check()
        assert failed(found) == ["socket"]
        assert f"TCP/{port}" in found["socket"]["text"]
    scene.qbittorrent.use_port(free_port())
    scene.qbittorrent.use_port(port)
    assert failed(check()) == []
