"""A real qBittorrent is told to listen only where a peer of the VPN's can connect.

Runs with the qbittorrent-nox at hand, and with those in the folders to chroot into that
`QBITTORRENT_ROOTS` names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from qsticky.errors import Reason
from qsticky.kernel import netlink
from qsticky.sync.report import ListeningBy, Status, SyncReport, Trigger
from qsticky.sync.synchronizer import Synchronizer
from tests.contract.targets import Target, every_real_one
from tests.namespace.netns import Namespace
from tests.namespace.scene import ADDRESS, BOUND, LeapingClock, PeerScene, Scene
from tests.real import wait_until

pytestmark = every_real_one

HIDDEN = "absent0"  # the name of no interface: as from another network, but for who is asked
TORRENT = b"\x01" * 20  # its hash; nobody has it
HANDSHAKE = b"\x13BitTorrent protocol" + bytes(8) + TORRENT + b"-TS0001-" + b"0" * 12
BACK = {
    "proxy_peer_connections": False,
    "current_interface_address": "",
    "current_network_interface": "",
}


@pytest.fixture
def scene(inside: Namespace, target: Target, tmp_path: Path) -> Iterator[Scene]:
    with Scene(inside, target, tmp_path) as made:
        yield made


@pytest.fixture
def clock() -> LeapingClock:
    return LeapingClock()


def sync(synchronizer: Synchronizer, clock: LeapingClock) -> SyncReport:
    """Run one sync, a minute after the last."""
    clock.leap(60)
    return synchronizer.sync([Trigger.INTERVAL])


def shut_out(report: SyncReport, by: ListeningBy) -> str:
    """See that no peer can connect, by what that is known, and return the sentence."""
    assert report.status is Status.FAILING
    assert report.failure is not None
    assert report.failure.reason is Reason.NOT_LISTENING
    assert (report.listening, report.listening_by) == (False, by)
    return str(report.failure)


def proxy_of(target: Target) -> object:
    """A SOCKS5 proxy, as this version calls it: a number to 4.5, a name from 4.6 on."""
    return 2 if target.version < (4, 6) else "SOCKS5"


@pytest.mark.parametrize("interface", ["tun0", HIDDEN])
@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"proxy_peer_connections": True}, "untick Options > Connection > Proxy Server"),
        ({"current_interface_address": "192.0.2.9"}, "Optional IP address to bind to"),
        ({"current_interface_address": "::"}, "Optional IP address to bind to"),
        ({"current_network_interface": "lo"}, "Options > Advanced > Network interface"),
        ({"current_network_interface": "wg9"}, "Options > Advanced > Network interface"),
    ],
    ids=["proxy", "address", "family", "lo", "interface"],
)
def test_a_setting_that_shuts_peers_out_is_named_and_following_the_remedy_makes_it_green(
    scene: Scene,
    target: Target,
    clock: LeapingClock,
    interface: str,
    settings: Mapping[str, object],
    remedy: str,
) -> None:
    if "proxy_peer_connections" in settings:
        proxy = {"proxy_type": proxy_of(target), "proxy_ip": "127.0.0.1", "proxy_port": 9}
        scene.set(**proxy)
    synchronizer = scene.synchronizer(clock, interface)
    assert sync(synchronizer, clock).status is Status.SYNCED
    scene.set(**settings)
    report = sync(synchronizer, clock)
    assert remedy in shut_out(report, ListeningBy.SETTINGS)
    assert not report.rebinds
    assert not sync(synchronizer, clock).rebinds
    scene.set(**BACK)
    report = sync(synchronizer, clock)
    assert report.status is Status.SYNCED
    wait_until(scene.takes_a_peer, BOUND, "a peer to get in again")


@pytest.mark.parametrize("interface", ["tun0", HIDDEN])
@pytest.mark.parametrize("known", [False, True], ids=["before", "while it restarts"])
def test_a_port_that_another_program_took_is_never_green(
    scene: Scene, clock: LeapingClock, interface: str, known: bool
) -> None:
    synchronizer = scene.synchronizer(clock, interface)
    if known:
        assert sync(synchronizer, clock).listening is True
    scene.qbittorrent.server.stop()
    with scene.taken():
        scene.qbittorrent.server.start()
        for _ in range(2):
            report = sync(synchronizer, clock)
            sentence = shut_out(report, ListeningBy.QBITTORRENT)
            assert f"can't listen on port {scene.port}" in sentence
    report = sync(synchronizer, clock)  # it is free again, and rebinding helps
    assert (report.status, report.listening) == (Status.SYNCED, True)
    assert scene.takes_a_peer()


def test_a_port_that_another_program_took_while_the_vpn_restarted_is_never_green(
    scene: Scene, target: Target, clock: LeapingClock
) -> None:
    """QBittorrent 5 closes its socket with the interface, and logs nothing of it."""
    synchronizer = scene.synchronizer(clock)
    assert sync(synchronizer, clock).listening is True
    scene.namespace.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind"])
    scene.vpn.down()
    if target.version < (5, 0):  # keeps it, so that nobody can take the port
        with pytest.raises(OSError, match="in use"), scene.taken():
            pass
        return
    wait_until(lambda: not _on_the_vpn(scene), BOUND, "qBittorrent to close its socket")
    with scene.taken():
        scene.vpn.up()
        shut_out(sync(synchronizer, clock), ListeningBy.QBITTORRENT)
    report = sync(synchronizer, clock)
    assert (report.status, report.listening) == (Status.SYNCED, True)
    assert scene.takes_a_peer()


def _on_the_vpn(scene: Scene) -> bool:
    return any(str(each.address) == ADDRESS for each in netlink.sockets(scene.port).listeners)


@pytest.mark.parametrize("interface", ["tun0", HIDDEN])
def test_a_udp_port_that_another_program_took_is_not_green_either(
    scene: Scene, clock: LeapingClock, interface: str
) -> None:
    synchronizer = scene.synchronizer(clock, interface)
    port = scene.port + 1
    with scene.taken(port, udp=True):
        scene.forward(port)
        shut_out(sync(synchronizer, clock), ListeningBy.QBITTORRENT)
    assert sync(synchronizer, clock).status is Status.SYNCED


def test_the_webuis_own_port_is_never_set(scene: Scene, clock: LeapingClock) -> None:
    before = scene.qbittorrent.listen_port
    scene.forward(scene.qbittorrent.server.port)
    report = sync(scene.synchronizer(clock), clock)
    assert "give the WebUI another port" in shut_out(report, ListeningBy.SETTINGS)
    assert scene.qbittorrent.listen_port == before


def test_where_nothing_can_be_seen_it_is_known_by_what_qbittorrent_logged(
    scene: Scene, clock: LeapingClock
) -> None:
    report = scene.synchronizer(clock, HIDDEN).sync([Trigger.STARTUP])
    assert [cause.value for cause in report.rebinds] == ["startup"]
    assert (report.listening, report.listening_by) == (True, ListeningBy.QBITTORRENT)
    assert scene.takes_a_peer()


def test_in_another_network_a_success_on_eth0_is_no_yes(
    scene: Scene, inside: Namespace, clock: LeapingClock
) -> None:
    with Namespace(beside=inside) as bridge:
        pair = ["eth0", "type", "veth", "peer", "name", "far0", "netns", str(bridge.pid)]
        inside.run(["ip", "link", "add", *pair])
        inside.run(["ip", "address", "add", "172.18.0.2/16", "dev", "eth0"])
        inside.run(["ip", "link", "set", "eth0", "up"])
        bridge.run(["ip", "link", "set", "far0", "up"])
        synchronizer = scene.synchronizer(clock, beside=False)
        assert sync(synchronizer, clock).listening is True
        scene.bind_to("eth0")
        remedy = "set Options > Advanced > Network interface to tun0"
        assert remedy in shut_out(sync(synchronizer, clock), ListeningBy.SETTINGS)
        wait_until(lambda: not scene.takes_a_peer(), BOUND, "no peer to get in")
        scene.bind_to("tun0")
        assert sync(synchronizer, clock).listening is True
        assert scene.takes_a_peer()
        scene.bind_to("")
        scene.vpn.down()
        report = sync(scene.synchronizer(clock, beside=False), clock)
        assert (report.status, report.listening) == (Status.SYNCED, None)


@pytest.mark.parametrize("torrent", [False, True], ids=["no torrent", "a torrent, handshake"])
@pytest.mark.parametrize("closes", [False, True], ids=["stays", "closes first"])
def test_a_peer_that_comes_in_is_counted(
    inside: Namespace,
    target: Target,
    tmp_path: Path,
    clock: LeapingClock,
    torrent: bool,
    closes: bool,
) -> None:
    with PeerScene(inside, target, tmp_path) as scene:
        synchronizer = scene.synchronizer(clock)
        report = sync(synchronizer, clock)
        assert (report.incoming_connections, report.last_incoming) == (0, None)
        if torrent:
            scene.add_torrent(TORRENT)
        with scene.peer.connect("10.2.0.2", scene.port) as peer:
            if torrent:
                peer.sendall(HANDSHAKE)
                assert peer.recv(1) == HANDSHAKE[:1]  # it knows the torrent, and answers
            report = sync(synchronizer, clock)
            assert report.last_incoming is not None
            assert report.incoming_connections == int(torrent)  # without, qBittorrent closes first
            if not closes:
                assert sync(synchronizer, clock).last_incoming == report.last_incoming
        wait_until(lambda: _over(scene), BOUND, "the connection to be over")
        later = sync(synchronizer, clock)
        assert (later.incoming_connections, later.last_incoming) == (0, report.last_incoming)


def _over(scene: Scene) -> bool:
    connections = netlink.sockets(scene.port).connections
    return not any(connection.established for connection in connections)


def test_preferences_with_a_long_ban_list_keep_no_port_from_being_set(
    scene: Scene, clock: LeapingClock
) -> None:
    addresses = [
        f"198.{18 + high}.{middle}.{low}"
        for high in range(2)
        for middle in range(150)
        for low in range(1, 255)
    ]
    scene.qbittorrent.set(json.dumps({"banned_IPs": "\n".join(addresses)}))
    port = scene.port + 3
    scene.forward(port)
    report = sync(scene.synchronizer(clock), clock)
    assert (report.status, report.current_port) == (Status.SYNCED, port)
