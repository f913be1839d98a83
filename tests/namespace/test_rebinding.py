"""A VPN restart leaves a real qBittorrent without its socket, and `qsticky` has it rebound.

Runs with the qbittorrent-nox at hand, and with those in the folders to chroot into that
`QBITTORRENT_ROOTS` names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from qsticky.errors import Reason
from qsticky.sync.report import RebindCause, Status, Trigger
from tests.contract.targets import Target, every_real_one
from tests.namespace.netns import Namespace
from tests.namespace.scene import ADDRESS, BOUND, LeapingClock, Scene
from tests.real import free_port, wait_until

pytestmark = every_real_one

RESTARTS = 4  # of each kind, half of them while Gluetun names no port
REPAIRED_WITHIN = 5.0  # seconds from the interface's return, while syncs are paced to one a second
BY_ITSELF = 0.5  # qBittorrent opens its sockets within 20 ms or never; qSticky waits for a second
HIDDEN = "absent0"  # the name of no interface


@pytest.fixture
def scene(inside: Namespace, target: Target, tmp_path: Path) -> Iterator[Scene]:
    with Scene(inside, target, tmp_path) as made:
        yield made


@dataclass(frozen=True)
class Restart:
    """What is special about a VPN restart."""

    bound_to: str = ""
    changed_port: bool = False
    changed_address: bool = False
    link_first: bool = False


def bring_up(scene: Scene, address: str = ADDRESS, *, link_first: bool = False) -> None:
    scene.vpn.create()
    if link_first:
        scene.vpn.link_up()
    scene.vpn.add_address(f"{address}/32")
    if not link_first:
        scene.vpn.link_up()


def lose_the_socket(scene: Scene) -> None:
    """Restart the VPN until qBittorrent's socket is missing: once, or seldom twice."""
    for _ in range(5):
        scene.vpn.down()
        scene.vpn.up()
        try:
            scene.wait_for_listening(BY_ITSELF)
        except AssertionError:
            assert not scene.takes_a_peer()
            return
    pytest.fail("the socket came back by itself after each of 5 VPN restarts")


def test_without_qsticky_a_vpn_restart_leaves_no_socket(scene: Scene) -> None:
    lose_the_socket(scene)
    assert scene.qbittorrent.listen_port == scene.port  # which is all that its WebUI shows
    with pytest.raises(AssertionError, match="in vain"):
        scene.wait_for_listening(3)
    assert not scene.takes_a_peer()


@pytest.mark.parametrize(
    "restart",
    [
        pytest.param(Restart(), id="unchanged port, all interfaces"),
        pytest.param(Restart(bound_to="tun0"), id="unchanged port, bound to tun0"),
        pytest.param(Restart(changed_port=True), id="changed port, all interfaces"),
        pytest.param(Restart(changed_port=True, bound_to="tun0"), id="changed port, bound to tun0"),
        pytest.param(Restart(changed_address=True), id="changed address, all interfaces"),
        pytest.param(Restart(link_first=True), id="link before address, all interfaces"),
        pytest.param(Restart(link_first=True, bound_to="tun0"), id="link before address, bound"),
    ],
)
def test_every_vpn_restart_is_repaired_and_what_comes_back_by_itself_is_left_alone(
    scene: Scene, restart: Restart, request: pytest.FixtureRequest
) -> None:
    scene.bind_to(restart.bound_to)
    qsticky = scene.start()
    qsticky.wait_for("synced")
    scene.wait_for_listening(BOUND)
    taken: list[float] = []
    for number in range(RESTARTS):
        before = qsticky.rebinds.get("not_listening", 0)
        portless = number % 2 == 0  # in between; else Gluetun names one throughout
        if portless:
            scene.forward(None)
        scene.vpn.down()
        qsticky.wait_for(*(("waiting",) if portless else ("failing", "not_listening")))
        scene.forward(free_port() if restart.changed_port else scene.port)
        if not portless:
            qsticky.sync()  # a changed port is set before the interface is back
        address = f"10.2.0.{number + 3}" if restart.changed_address else ADDRESS
        bring_up(scene, address, link_first=restart.link_first)
        taken.append(scene.wait_for_listening(REPAIRED_WITHIN))
        qsticky.wait_for_port(scene.port)
        assert scene.takes_a_peer()
        assert scene.qbittorrent.listen_port == scene.port
        assert qsticky.rebinds.get("not_listening", 0) <= before + 1
    metrics = qsticky.metrics()
    assert metrics["qsticky_vpn_interface_visible"] == metrics["qsticky_vpn_listener_up"] == 1
    assert qsticky.health()["services"]["qbittorrent"]["listening"] is True
    assert set(qsticky.rebinds) <= {"not_listening"}
    assert metrics["qsticky_port_changes_total"] == (RESTARTS if restart.changed_port else 0)
    repairs = [seconds for seconds in taken if seconds > BY_ITSELF]
    summary = f"{len(repairs)} of {RESTARTS} VPN restarts repaired"
    if repairs:
        summary += f" after {median(repairs):.2f} s (median), {max(repairs):.2f} s at most"
    print(f"\n{request.node.callspec.id}: {summary}; the others came back by themselves")


def test_restarts_in_quick_succession_are_repaired_after_the_last(scene: Scene) -> None:
    qsticky = scene.start()
    qsticky.wait_for("synced")
    for _ in range(RESTARTS):
        scene.vpn.down()
        scene.vpn.up()
    # A sync that runs then ends, within a second and its requests; the next one repairs.
    scene.wait_for_listening(2 * REPAIRED_WITHIN)
    qsticky.wait_for("synced")
    assert scene.takes_a_peer()


def test_a_port_that_comes_some_time_after_the_interface_is_listened_on_at_once(
    scene: Scene,
) -> None:
    """As with a real Gluetun, which asks for a port once the VPN is up."""
    scene.write_port_file(scene.port)
    qsticky = scene.start(GLUETUN_PORT_FILE=scene.port_file)
    qsticky.wait_for("synced")
    scene.forward(None)
    scene.write_port_file()
    lose_the_socket(scene)
    qsticky.wait_for("waiting")
    assert not qsticky.rebinds
    scene.forward(scene.port)
    scene.write_port_file(scene.port)
    scene.wait_for_listening(REPAIRED_WITHIN)
    qsticky.wait_for("synced")
    assert qsticky.rebinds == {"not_listening": 1}


def test_a_link_that_goes_down_and_up_costs_no_socket_that_is_still_there(scene: Scene) -> None:
    qsticky = scene.start()
    qsticky.wait_for("synced")
    openings = scene.openings()
    for _ in range(3):
        scene.vpn.link_down()
        qsticky.wait_for("failing", "not_listening")
        scene.vpn.link_up()
        qsticky.wait_for("synced")
    assert scene.takes_a_peer()
    assert not qsticky.rebinds
    assert scene.openings() == openings


def test_while_the_interface_is_gone_that_is_told_and_nothing_is_rebound(scene: Scene) -> None:
    qsticky = scene.start()
    qsticky.wait_for("synced")
    scene.vpn.down()
    qsticky.wait_for("failing", "not_listening")
    for _ in range(3):
        qsticky.sync()
    metrics, health = qsticky.metrics(), qsticky.health()
    assert metrics["qsticky_vpn_interface_visible"] == metrics["qsticky_vpn_listener_up"] == 0
    assert metrics["qsticky_healthy"] == 0
    assert metrics["qsticky_qbittorrent_up"] == metrics["qsticky_gluetun_up"] == 1
    assert health["services"]["qbittorrent"]["listening"] is False
    assert "tun0 is gone" in health["last_error"]
    assert qsticky.get("/-/ready").status == 503
    assert qsticky.get("/-/healthy").status == 200
    assert not qsticky.rebinds
    scene.vpn.up()
    scene.wait_for_listening(REPAIRED_WITHIN)
    qsticky.wait_for("synced")
    assert qsticky.get("/-/ready").status == 200


def test_with_rebind_off_the_missing_socket_is_told_and_left_alone(scene: Scene) -> None:
    qsticky = scene.start(QBITTORRENT_REBIND=False)
    qsticky.wait_for("synced")
    lose_the_socket(scene)
    qsticky.wait_for("failing", "not_listening")
    wait_until(lambda: "no socket on tun0" in qsticky.health()["last_error"], BOUND, "its reason")
    qsticky.sync()
    metrics, health = qsticky.metrics(), qsticky.health()
    assert metrics["qsticky_vpn_interface_visible"] == 1
    assert metrics["qsticky_vpn_listener_up"] == 0
    assert health["services"]["qbittorrent"]["listening"] is False
    assert "QBITTORRENT_REBIND=true" in health["last_error"]
    assert not qsticky.rebinds
    assert not scene.takes_a_peer()


@pytest.mark.parametrize("number", [0, 65536])
def test_a_number_that_is_no_port_is_put_right(scene: Scene, number: int) -> None:
    """It is not looked for: to the kernel, port 0 is any, and `qsticky` itself listens too."""
    qsticky = scene.start(METRICS_ADDRESS="0.0.0.0")
    qsticky.wait_for("synced")
    port = scene.port
    scene.qbittorrent.set(f'{{"listen_port": {number}}}')
    scene.forward(None)
    qsticky.sync()
    assert qsticky.health()["status"] == "waiting"
    assert qsticky.health()["services"]["qbittorrent"]["listening"] is None
    scene.forward(port)
    qsticky.sync()
    assert qsticky.health()["status"] == "synced"
    assert scene.takes_a_peer()
    scene.qbittorrent.kill()
    qsticky.sync()
    qsticky.wait_for("failing", "qbittorrent_unreachable")
    assert qsticky.health()["services"]["qbittorrent"]["listening"] is None


def test_a_request_rebinds_the_socket(scene: Scene) -> None:
    qsticky = scene.start()
    qsticky.wait_for("synced")
    openings = scene.openings()
    qsticky.sync()
    assert scene.openings() == openings
    qsticky.sync("?rebind=true")
    assert qsticky.rebinds == {"request": 1}
    assert scene.openings() > openings
    assert scene.takes_a_peer()


# --- a port that another program has


def test_another_programs_socket_is_not_taken_for_qbittorrents(scene: Scene) -> None:
    qsticky = scene.start()
    qsticky.wait_for("synced")
    scene.forward(free_port())
    with scene.taken():
        qsticky.sync()
        health = qsticky.health()
        assert scene.listens()  # so a look finds
        assert (health["status"], health["reason"]) == ("failing", "not_listening")
        assert health["services"]["qbittorrent"]["listening"] is False
        # In qBittorrent's own words, which name the address and the port.
        assert "and logged: " in health["last_error"]
        assert all(name in health["last_error"] for name in (ADDRESS, f"TCP/{scene.port}"))
        assert qsticky.metric("vpn_listener_up") == 0
        assert qsticky.metric("port_changes_total") == 1
        before = qsticky.rebinds
        qsticky.sync()  # within 30 s of the last
        assert qsticky.rebinds == before == {"not_listening": 1}
    scene.forward(free_port())
    qsticky.sync()
    assert qsticky.health()["status"] == "synced"
    assert qsticky.rebinds == before
    assert scene.takes_a_peer()


def test_a_port_that_gets_free_is_listened_on_within_the_limits(scene: Scene) -> None:
    clock = LeapingClock()
    synchronizer = scene.synchronizer(clock)
    assert synchronizer.sync([Trigger.STARTUP]).status is Status.SYNCED
    scene.forward(free_port())
    with scene.taken():
        for pause, opened in ((0, True), (25, False), (5, True), (25, False), (5, True)):
            clock.leap(pause)
            report = synchronizer.sync([Trigger.INTERVAL])
            assert report.failure
            assert report.failure.reason is Reason.NOT_LISTENING
            assert (report.rebinds == (RebindCause.NOT_LISTENING,)) is opened
        clock.leap(595)
        report = synchronizer.sync([Trigger.INTERVAL])
        assert report.failure
        assert not report.rebinds
    assert not scene.takes_a_peer()
    clock.leap(5)
    report = synchronizer.sync([Trigger.INTERVAL])
    assert report.failure is None
    assert report.rebinds == (RebindCause.NOT_LISTENING,)
    assert report.listening
    assert scene.takes_a_peer()
    for _ in range(4):  # what is seen to help counts toward no limit
        lose_the_socket(scene)
        report = synchronizer.sync([Trigger.INTERFACE])
        assert report.status is Status.SYNCED
        assert report.rebinds == (RebindCause.NOT_LISTENING,)
        assert scene.takes_a_peer()
