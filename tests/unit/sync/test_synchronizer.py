"""One sync compares, changes, verifies, rebinds, and tells all of it in one report."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import PORT_ROUTE, PUBLIC_IP_ROUTE, GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.simulator import Answer, Disconnect
from qsticky.errors import Reason
from qsticky.kernel.netlink import Connection, Interface, Listener, PortSockets
from qsticky.services.port_check import PortCheck
from qsticky.services.qbittorrent import ConnectionStatus
from qsticky.sync.report import (
    ListeningBy,
    PortChange,
    PortSource,
    RebindCause,
    Status,
    SyncReport,
    Trigger,
)
from tests.clients import gluetun_client, make_synchronizer, qbittorrent_client
from tests.fakes import TUN0, FakeClock, FakeKernel

PORT, OTHER = 51500, 51218
ADDRESS = TUN0.addresses[0]
GRACE = 300.0
WEBUI_INODE = 11


class Kernel(FakeKernel):
    """A kernel beside a simulated qBittorrent, which opens a socket with each new port.

    ``listeners`` are those of others.
    """

    def __init__(self, qbittorrent: QBittorrentSimulator) -> None:
        super().__init__(tun0=None)
        self._qbittorrent = qbittorrent
        self._missing_for = 0

    def sockets(self, port: int) -> PortSockets:
        others = super().sockets(port)
        return PortSockets((*others.listeners, *self.own(port)), others.connections)

    def own(self, port: int) -> Sequence[Listener]:
        """The sockets of qBittorrent's that listen."""
        opened = len(self._qbittorrent.history)
        if port == self._qbittorrent.port:
            return [Listener(ip_address("127.0.0.1"), port, 0, inode=WEBUI_INODE)]
        there = opened >= self._missing_for and port == self._qbittorrent.listen_port
        busy = str(ADDRESS) in self._qbittorrent.busy.get(port, ())
        return [Listener(ADDRESS, port, 0, inode=100 + opened)] if there and not busy else []

    def restart_vpn(self, useless: int = 0) -> None:
        """Make the interface anew, and have qBittorrent lose its socket."""
        index = self.tun0.index if isinstance(self.tun0, Interface) else 6
        self.tun0 = replace(TUN0, index=index + 1)
        self.lose_socket(useless)

    def lose_socket(self, useless: int = 0) -> None:
        """Have qBittorrent lose its socket; it helps to rebind it, if not so many times."""
        self._missing_for = len(self._qbittorrent.history) + 2 * (useless + 1)


class Bench:
    """A synchronizer between both simulators, with the kernel and the clock in its hand."""

    def __init__(
        self, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator, port_file: Path
    ) -> None:
        self.gluetun = gluetun
        self.qbittorrent = qbittorrent
        self.port_file = port_file
        self.kernel = Kernel(qbittorrent)
        self.clock = FakeClock()
        self.stopping = threading.Event()
        self.set_up()

    def set_up(
        self,
        *,
        port_index: int = 1,
        rebind: bool = True,
        same_network: bool = True,
        beside: bool = True,
        fixed_port: int | None = None,
        port_check: PortCheck | None = None,
    ) -> None:
        """Make the synchronizer anew, as another configuration has it."""
        self.synchronizer = make_synchronizer(
            None if fixed_port else gluetun_client(self.gluetun.url, port_file=self.port_file),
            qbittorrent_client(self.qbittorrent.url, self.clock),
            kernel=self.kernel,
            clock=self.clock,
            stopping=self.stopping,
            webui_port=self.qbittorrent.port,
            beside=beside,
            same_network=same_network,
            port_index=port_index,
            fixed_port=fixed_port,
            metrics_port=10058,
            port_grace=GRACE,
            rebind=rebind,
            port_check=port_check,
        )

    def sync(self, *triggers: Trigger, rebind: bool = False, after: float = 0.0) -> SyncReport:
        """Run one sync, so many seconds later."""
        self.clock.advance(after)
        return self.synchronizer.sync(triggers or (Trigger.INTERVAL,), rebind)

    def settle(self) -> SyncReport:
        """Run the first sync, which may rebind, and let it be a minute ago."""
        report = self.sync(Trigger.STARTUP)
        self.clock.advance(60)
        return report

    def causes(self, *, after: float = 0.0) -> tuple[RebindCause, ...]:
        """Run one sync, and tell for which causes it rebinded the socket."""
        return self.sync(after=after).rebinds


@pytest.fixture
def gluetun() -> Iterator[GluetunSimulator]:
    with GluetunSimulator(ports=[PORT]) as simulator:
        yield simulator


@pytest.fixture
def qbittorrent() -> Iterator[QBittorrentSimulator]:
    with QBittorrentSimulator(listen_port=PORT) as simulator:
        yield simulator


@pytest.fixture
def bench(gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator, tmp_path: Path) -> Bench:
    return Bench(gluetun, qbittorrent, tmp_path / "forwarded_port")


def failed(report: SyncReport, reason: Reason) -> str:
    """See that a sync failed for a reason, and return the sentence that it gives."""
    assert report.status is Status.FAILING
    assert report.failure is not None
    assert report.problem is report.failure
    assert report.failure.reason is reason
    return str(report.failure)


# --- following the port


def test_equal_ports_are_left_alone(bench: Bench, qbittorrent: QBittorrentSimulator) -> None:
    bench.kernel.tun0 = TUN0
    qbittorrent.external_address = "203.0.113.7"
    report = bench.sync(Trigger.STARTUP)
    assert report == SyncReport(
        trigger=Trigger.STARTUP,
        finished_at=bench.clock.monotonic(),
        duration=0,
        status=Status.SYNCED,
        forwarded_port=PORT,
        port_source=PortSource.CONTROL_SERVER,
        port_count=1,
        gluetun_up=True,
        gluetun_version="v3.41.1",
        public_address="203.0.113.7",
        country="Netherlands",
        qbittorrent_up=True,
        qbittorrent_version="5.1.0",
        current_port=PORT,
        connection_status=ConnectionStatus.FIREWALLED,
        dht_nodes=312,
        external_address="203.0.113.7",
        interface_visible=True,
        listening=True,
        listening_by=ListeningBy.KERNEL,
        incoming_connections=0,
    )
    assert report.in_sync
    assert report.address_matches
    assert not qbittorrent.history
    assert "POST /api/v2/app/setPreferences" not in qbittorrent.requests


@pytest.mark.parametrize(("visible", "count"), [(True, 3), (False, 4)])
def test_a_steady_sync_is_three_requests_and_a_fourth_where_nothing_is_visible(
    bench: Bench,
    gluetun: GluetunSimulator,
    qbittorrent: QBittorrentSimulator,
    visible: bool,
    count: int,
) -> None:
    bench.kernel.tun0 = TUN0 if visible else None
    bench.settle()
    before = len(gluetun.requests) + len(qbittorrent.requests)
    bench.sync()
    assert len(gluetun.requests) + len(qbittorrent.requests) - before == count


def test_a_different_port_is_set_and_read_back(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.preferences.update(listen_port=OTHER, random_port=True, upnp=True)
    report = bench.sync()
    assert report.status is Status.SYNCED
    assert report.change == PortChange(OTHER, PORT, verified=True)
    assert report.current_port == PORT
    assert not report.rebinds
    assert qbittorrent.history == [PORT]
    assert qbittorrent.preferences["random_port"] is qbittorrent.preferences["upnp"] is False
    report = bench.sync(after=60)
    assert (report.change, report.rebinds) == (None, ())  # nor to have it logged anew


@pytest.mark.parametrize("stored", [0, -1, 65536])
@pytest.mark.parametrize("visible", [True, False])
def test_a_number_that_is_no_port_is_put_right(
    bench: Bench, qbittorrent: QBittorrentSimulator, stored: int, visible: bool
) -> None:
    """As qBittorrent stores them, and then listens on none or on a random port."""
    bench.kernel.tun0 = TUN0 if visible else None
    qbittorrent.listen_port = stored
    report = bench.sync()
    assert report.status is Status.SYNCED
    assert report.change == PortChange(stored, PORT, verified=True)
    assert report.listening is True
    by = ListeningBy.KERNEL if visible else ListeningBy.QBITTORRENT
    assert report.listening_by is by


@pytest.mark.parametrize(("index", "port"), [(1, PORT), (2, OTHER)])
def test_the_port_that_the_index_names_is_used(
    bench: Bench, gluetun: GluetunSimulator, index: int, port: int
) -> None:
    gluetun.ports = (PORT, OTHER)
    bench.set_up(port_index=index)
    assert bench.sync().current_port == port


def test_an_index_beyond_the_ports_fails_at_once_and_changes_nothing(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.set_up(port_index=2)
    report = bench.sync()
    assert "GLUETUN_PORT_INDEX asks for number 2" in failed(report, Reason.NO_FORWARDED_PORT)
    assert (report.forwarded_port, report.current_port) == (0, PORT)
    assert report.gluetun_up
    assert report.qbittorrent_up
    assert not qbittorrent.history


def test_a_port_that_qbittorrent_does_not_keep_is_rejected_after_2_seconds(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.listen_port, qbittorrent.ignores_settings = OTHER, True
    report = bench.sync()
    sentence = failed(report, Reason.PORT_REJECTED)
    assert f"took port {PORT} and still reports {OTHER}" in sentence
    assert report.change == PortChange(OTHER, PORT, verified=False)
    assert report.current_port == OTHER
    assert not report.in_sync
    assert report.duration == pytest.approx(2, abs=0.02)
    qbittorrent.ignores_settings = False
    assert bench.sync().change == PortChange(OTHER, PORT, verified=True)


def test_a_change_whose_answer_was_lost_is_verified_by_the_next_sync(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.listen_port = OTHER
    bench.sync()
    bench.gluetun.ports = (OTHER,)
    changed = list(qbittorrent.history)

    qbittorrent.fault = Disconnect(only="POST /api/v2/app/setPreferences")
    report = bench.sync()
    failed(report, Reason.QBITTORRENT_UNREACHABLE)
    assert report.change == PortChange(PORT, OTHER, verified=False)
    assert qbittorrent.history == [*changed, OTHER]  # it took the port, and its answer got lost

    qbittorrent.fault = None
    report = bench.sync()
    assert report.status is Status.SYNCED
    assert report.change == PortChange(PORT, OTHER, verified=True)
    assert bench.sync().change is None
    assert qbittorrent.history == [*changed, OTHER]


def test_a_change_that_somebody_undid_is_not_counted_as_verified(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.gluetun.ports = (OTHER,)
    qbittorrent.fault = Disconnect(only="POST /api/v2/app/setPreferences")
    bench.sync()
    qbittorrent.fault = None
    qbittorrent.listen_port = bench.gluetun.ports[0] + 1
    report = bench.sync()
    assert report.change == PortChange(OTHER + 1, OTHER, verified=True)
    assert bench.sync().change is None


def test_a_change_that_never_came_about_is_not_counted(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    gluetun.ports = (OTHER,)
    qbittorrent.fault = Answer(only="POST /api/v2/app/setPreferences", status=500)
    failed(bench.sync(), Reason.QBITTORRENT_INVALID_RESPONSE)
    qbittorrent.fault = None
    gluetun.ports = (PORT,)
    assert bench.sync().change is None


def test_a_log_too_long_to_be_read_keeps_no_port_from_being_set(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    """As with a full disk, of which qBittorrent logs a critical entry for each torrent."""
    for _ in range(8000):
        qbittorrent.add_log("Couldn't save the resume data of a torrent. " + "x" * 120)
    qbittorrent.listen_port = OTHER
    report = bench.sync()
    assert report.status is Status.SYNCED
    assert report.change == PortChange(OTHER, PORT, verified=True)


def test_a_qbittorrent_that_goes_away_before_the_change_is_not_changed(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.gluetun.ports = (OTHER,)
    qbittorrent.fault = Disconnect(only="GET /api/v2/log/main")
    failed(bench.sync(), Reason.QBITTORRENT_UNREACHABLE)
    assert not qbittorrent.history


# --- a service that fails


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        (["gluetun"], Reason.GLUETUN_UNREACHABLE),
        (["qbittorrent"], Reason.QBITTORRENT_UNREACHABLE),
        (["gluetun", "qbittorrent"], Reason.GLUETUN_UNREACHABLE),
    ],
)
def test_both_services_are_asked_whichever_fails(
    bench: Bench, gone: list[str], reason: Reason
) -> None:
    for name in gone:
        getattr(bench, name).stop()
    report = bench.sync()
    failed(report, reason)
    assert report.gluetun_up is ("gluetun" not in gone)
    assert report.qbittorrent_up is ("qbittorrent" not in gone)
    assert report.forwarded_port == (None if "gluetun" in gone else PORT)
    assert report.current_port == (None if "qbittorrent" in gone else PORT)
    for name in gone:
        getattr(bench, name).start()
    assert bench.sync().status is Status.SYNCED


def test_while_qbittorrent_is_gone_no_other_socket_is_taken_for_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.kernel.tun0 = TUN0
    bench.settle()
    # Asked for port 0, the kernel tells of every socket: this program's too.
    others = [Listener(ip_address("0.0.0.0"), 10058, 0)]
    monkeypatch.setattr(bench.kernel, "own", lambda port: [] if port else others)
    bench.qbittorrent.stop()
    report = bench.sync()
    assert report.interface_visible
    assert report.listening is None


def test_the_file_is_used_while_the_api_can_not_be_read(
    bench: Bench, gluetun: GluetunSimulator
) -> None:
    bench.port_file.write_text(str(OTHER))
    assert bench.sync().current_port == PORT  # the API's word comes first
    gluetun.stop()
    report = bench.sync()
    assert report.status is Status.SYNCED
    assert report.current_port == OTHER
    assert not report.gluetun_up
    assert report.failure is None
    assert report.problem is not None
    assert report.problem.reason is Reason.GLUETUN_UNREACHABLE


@pytest.mark.parametrize("content", ["", "0", "70000", "51500\nrubbish", None])
def test_a_file_without_a_port_does_not_stand_in(
    bench: Bench, qbittorrent: QBittorrentSimulator, content: str | None
) -> None:
    if content is not None:
        bench.port_file.write_text(content)
    bench.gluetun.fault = Answer(status=500)
    failed(bench.sync(), Reason.GLUETUN_INVALID_RESPONSE)
    assert not qbittorrent.history


@pytest.mark.parametrize("document", ['{"port":70000}', '{"port":-1}', '{"port":"51500"}', "[]"])
def test_what_is_no_port_is_never_passed_on(
    bench: Bench, qbittorrent: QBittorrentSimulator, document: str
) -> None:
    bench.gluetun.fault = Answer(body=document)
    failed(bench.sync(), Reason.GLUETUN_INVALID_RESPONSE)
    assert not qbittorrent.history


# --- no forwarded port


def test_no_port_is_waited_for_and_then_a_failure(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    gluetun.ports = ()
    report = bench.sync()
    assert (report.status, report.failure, report.again_in) == (Status.WAITING, None, GRACE)
    assert report.status.healthy
    assert not report.in_sync
    report = bench.sync(after=GRACE - 1)
    assert (report.status, report.again_in) == (Status.WAITING, 1)
    report = bench.sync(after=1)
    assert "VPN_PORT_FORWARDING=on" in failed(report, Reason.NO_FORWARDED_PORT)
    assert report.forwarded_port == 0
    assert not qbittorrent.history
    assert qbittorrent.listen_port == PORT

    gluetun.ports = (PORT,)
    assert bench.sync().status is Status.SYNCED
    gluetun.ports = ()
    assert bench.sync().status is Status.WAITING  # the grace is as long each time


def test_an_outage_of_gluetun_does_not_prolong_the_grace(
    bench: Bench, gluetun: GluetunSimulator
) -> None:
    gluetun.ports = ()
    bench.sync()
    gluetun.stop()
    failed(bench.sync(after=GRACE / 2), Reason.GLUETUN_UNREACHABLE)
    gluetun.start()
    failed(bench.sync(after=GRACE / 2), Reason.NO_FORWARDED_PORT)


def test_a_port_that_goes_away_and_comes_back_is_told_once_each(
    bench: Bench, gluetun: GluetunSimulator
) -> None:
    seen = []
    for ports in ((), (PORT,), (PORT,), (), (), (OTHER,), (OTHER,)):
        gluetun.ports = ports
        report = bench.sync()
        seen.append((report.port_lost, report.port_restored))
    nothing, lost, restored = (False, False), (True, False), (False, True)
    # At first there was none, which is no loss.
    assert seen == [nothing, nothing, nothing, lost, nothing, restored, nothing]


def test_a_port_that_gluetun_lost_while_it_was_gone_is_lost_and_restored(
    bench: Bench, gluetun: GluetunSimulator
) -> None:
    bench.sync()
    gluetun.stop()
    assert not bench.sync().port_lost
    gluetun.ports = ()
    gluetun.start()
    assert bench.sync().port_lost
    gluetun.stop()
    assert not bench.sync().port_lost  # which is told once
    gluetun.ports = (PORT,)
    gluetun.start()
    assert bench.sync().port_restored


# --- really listening, by looking


def test_a_socket_that_is_there_is_left_alone(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.kernel.tun0 = TUN0
    report = bench.sync()
    assert report.interface_visible
    assert report.listening is True
    assert not qbittorrent.history
    assert not bench.clock.waits


def test_a_missing_socket_is_rebound_after_a_second_look(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.kernel.restart_vpn()
    report = bench.sync()
    assert report.status is Status.SYNCED
    assert report.rebinds == (RebindCause.NOT_LISTENING,)
    assert report.listening is True
    assert report.current_port == PORT
    assert report.change is None
    assert qbittorrent.history == [PORT + 1, PORT]
    assert bench.clock.waits[0] == 1


def test_the_neighbour_of_the_last_port_is_the_one_before(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    gluetun.ports = (65535,)
    bench.sync()
    bench.kernel.restart_vpn()
    bench.sync()
    assert qbittorrent.history == [65535, 65534, 65535]


def test_a_socket_that_is_back_at_the_second_look_is_left_alone(
    bench: Bench, qbittorrent: QBittorrentSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.kernel.tun0 = TUN0
    back = Listener(ADDRESS, PORT, TUN0.index)
    looks = iter([[], [], [back], []])  # every second one is for the WebUI's
    monkeypatch.setattr(bench.kernel, "own", lambda _: next(looks))

    def wait(*_: object) -> bool:
        qbittorrent.add_log(f'IP: "{ADDRESS}". Port: "TCP/{PORT}"', 2)
        return False

    monkeypatch.setattr(bench.clock, "wait", wait)
    report = bench.sync()
    assert (report.status, report.rebinds, report.listening) == (Status.SYNCED, (), True)
    assert not qbittorrent.history


def test_stopping_ends_the_wait_for_the_second_look(bench: Bench) -> None:
    bench.kernel.restart_vpn()
    bench.stopping.set()
    assert not bench.sync().rebinds


def test_what_does_not_help_is_told_and_tried_seldom(bench: Bench) -> None:
    bench.kernel.restart_vpn(useless=4)
    opened: list[int] = []
    report = bench.sync()
    while not report.status.healthy and len(opened) < 10:
        assert "no socket on tun0" in failed(report, Reason.NOT_LISTENING)
        assert report.listening is False
        if report.rebinds:
            opened.append(round(bench.clock.monotonic()))
        assert report.again_in is not None
        report = bench.sync(after=report.again_in)
    assert report.rebinds == (RebindCause.NOT_LISTENING,)
    opened.append(round(bench.clock.monotonic()))
    pauses = [later - earlier for earlier, later in pairwise(opened)]
    assert pauses == pytest.approx([30, 30, 600, 600], abs=3)  # each with a second look


def test_a_restart_of_the_vpn_ends_the_pauses(bench: Bench) -> None:
    bench.kernel.restart_vpn(useless=100)
    for _ in range(3):
        bench.sync(after=30)
    assert not bench.causes(after=30)
    bench.kernel.restart_vpn()
    assert bench.causes() == (RebindCause.NOT_LISTENING,)


def test_an_interface_back_as_it_was_ends_the_pauses_too(bench: Bench) -> None:
    bench.kernel.restart_vpn(useless=100)
    for _ in range(3):
        bench.sync(after=30)
    assert not bench.causes(after=30)
    before, bench.kernel.tun0 = bench.kernel.tun0, None
    failed(bench.sync(), Reason.NOT_LISTENING)
    bench.kernel.tun0 = before
    assert bench.causes() == (RebindCause.NOT_LISTENING,)


def test_a_restart_of_qbittorrent_ends_the_pauses(bench: Bench) -> None:
    bench.kernel.restart_vpn(useless=100)
    for _ in range(3):
        bench.sync(after=30)
    bench.qbittorrent.stop()
    failed(bench.sync(after=30), Reason.QBITTORRENT_UNREACHABLE)
    bench.qbittorrent.start()
    assert bench.causes() == (RebindCause.NOT_LISTENING,)


def test_an_answer_that_is_none_does_not_end_the_pauses(bench: Bench) -> None:
    bench.kernel.restart_vpn(useless=100)
    for _ in range(3):
        bench.sync(after=30)
    bench.qbittorrent.fault = Answer(status=500)
    failed(bench.sync(after=30), Reason.QBITTORRENT_INVALID_RESPONSE)
    bench.qbittorrent.fault = None
    assert not bench.causes()


def test_what_helps_counts_toward_no_limit(bench: Bench) -> None:
    bench.kernel.tun0 = TUN0
    for _ in range(5):
        bench.kernel.lose_socket()
        assert bench.causes() == (RebindCause.NOT_LISTENING,)


def test_a_new_port_without_a_socket_is_rebound(
    bench: Bench,
    gluetun: GluetunSimulator,
    qbittorrent: QBittorrentSimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def listeners(port: int) -> Sequence[Listener]:
        there = port == PORT or qbittorrent.history != [OTHER]
        return [Listener(ADDRESS, port, 0)] if there else []

    bench.kernel.tun0 = TUN0
    monkeypatch.setattr(bench.kernel, "own", listeners)
    gluetun.ports = (OTHER,)
    report = bench.sync()
    assert report.change == PortChange(PORT, OTHER, verified=True)
    assert report.rebinds == (RebindCause.NOT_LISTENING,)
    assert report.listening is True


def test_while_the_interface_is_gone_nothing_is_rebound_not_even_on_request(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.kernel.tun0 = TUN0
    bench.sync()
    bench.kernel.tun0 = None
    qbittorrent.connection_status = "disconnected"
    for _ in range(3):
        report = bench.sync(Trigger.INTERFACE, rebind=True, after=60)
        assert "tun0 is gone" in failed(report, Reason.NOT_LISTENING)
        assert (report.interface_visible, report.listening, report.rebinds) == (False, False, ())
    assert not qbittorrent.history
    bench.kernel.tun0 = TUN0
    report = bench.sync()
    assert report.rebinds == (RebindCause.REQUEST,)
    assert report.status is Status.SYNCED


def test_without_a_forwarded_port_a_gone_interface_is_waited_for(
    bench: Bench, gluetun: GluetunSimulator
) -> None:
    bench.kernel.tun0 = TUN0
    bench.sync()
    bench.kernel.tun0, gluetun.ports = None, ()
    report = bench.sync()
    assert report.status is Status.WAITING
    assert not report.interface_visible


def test_a_request_rebinds_a_socket_that_is_there_and_is_never_dropped(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.kernel.tun0 = TUN0
    bench.settle()
    assert bench.synchronizer.rebind_waits() == 0
    report = bench.sync(Trigger.REQUEST, rebind=True)
    assert report.rebinds == (RebindCause.REQUEST,)
    assert qbittorrent.history == [PORT + 1, PORT]
    bench.clock.advance(4)
    assert bench.synchronizer.rebind_waits() == pytest.approx(6, abs=0.5)
    report = bench.sync(Trigger.REQUEST, rebind=True)
    assert not report.rebinds
    assert report.again_in == pytest.approx(6, abs=0.5)
    assert bench.causes(after=6) == (RebindCause.REQUEST,)


def test_with_rebinding_off_a_request_is_told_that_it_never_comes(bench: Bench) -> None:
    bench.set_up(rebind=False)
    assert bench.synchronizer.rebind_waits() is None


def test_with_rebind_off_it_looks_and_leaves_all_alone(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.set_up(rebind=False)
    bench.kernel.restart_vpn()
    for _ in range(2):
        report = bench.sync(Trigger.REQUEST, rebind=True, after=60)
        assert "set QBITTORRENT_REBIND=true" in failed(report, Reason.NOT_LISTENING)
        assert report.listening is False
    assert not qbittorrent.history


# --- really listening, by qBittorrent's log


def test_what_it_logged_counts_against_what_the_kernel_shows(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    bench.kernel.tun0 = TUN0
    qbittorrent.busy[OTHER] = [str(ADDRESS)]
    gluetun.ports = (OTHER,)
    report = bench.sync()
    sentence = failed(report, Reason.NOT_LISTENING)
    assert f"can't listen on port {OTHER}, and logged: Failed to listen on IP" in sentence
    assert "Address already in use" in sentence
    assert report.listening is False
    assert report.in_sync
    assert report.change == PortChange(PORT, OTHER, verified=True)
    assert report.rebinds == (RebindCause.NOT_LISTENING,)
    assert report.again_in == 30
    qbittorrent.busy.clear()
    assert not bench.causes(after=29)
    report = bench.sync(after=1)
    assert (report.status, report.listening) == (Status.SYNCED, True)
    assert report.rebinds == (RebindCause.NOT_LISTENING,)


def test_another_port_ends_what_it_logged(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    bench.kernel.tun0 = TUN0
    qbittorrent.busy[OTHER] = [str(ADDRESS)]
    gluetun.ports = (OTHER,)
    failed(bench.sync(), Reason.NOT_LISTENING)
    gluetun.ports = (PORT,)
    assert bench.sync().status is Status.SYNCED


@pytest.mark.parametrize("noticed", [True, False], ids=["refused meanwhile", "between two syncs"])
@pytest.mark.parametrize("still_busy", [False, True])
@pytest.mark.parametrize("visible", [True, False])
def test_after_a_restart_of_qbittorrent_its_new_log_counts(
    bench: Bench,
    gluetun: GluetunSimulator,
    qbittorrent: QBittorrentSimulator,
    noticed: bool,
    still_busy: bool,
    visible: bool,
) -> None:
    bench.kernel.tun0 = TUN0 if visible else None
    bench.set_up(rebind=False)
    qbittorrent.busy[OTHER] = [str(ADDRESS)]
    gluetun.ports = (OTHER,)
    assert "restart qBittorrent" in failed(bench.sync(), Reason.NOT_LISTENING)
    qbittorrent.stop()
    if noticed:
        failed(bench.sync(), Reason.QBITTORRENT_UNREACHABLE)
    if not still_busy:
        qbittorrent.busy.clear()
    qbittorrent.start()
    report = bench.sync()
    assert report.status is (Status.FAILING if still_busy else Status.SYNCED)
    assert bench.sync().status is report.status


@pytest.mark.parametrize(
    ("address", "counts"), [("10.2.0.2", True), ("172.18.0.2", False), ("127.0.0.1", False)]
)
@pytest.mark.parametrize("visible", [True, False])
def test_only_what_it_logged_of_the_vpns_address_counts(
    bench: Bench,
    gluetun: GluetunSimulator,
    qbittorrent: QBittorrentSimulator,
    address: str,
    visible: bool,
    counts: bool,
) -> None:
    bench.kernel.tun0 = TUN0 if visible else None
    qbittorrent.busy[OTHER] = [address]
    gluetun.ports = (OTHER,)
    report = bench.sync()
    assert (report.status is Status.FAILING) is counts
    assert report.listening is not counts
    assert report.rebinds == ((RebindCause.NOT_LISTENING,) if counts else ())


def test_what_it_logged_before_the_change_or_of_another_port_does_not_count(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.add_log(f'Failed to listen on IP. IP: "10.2.0.2". Port: "TCP/{OTHER}".')
    qbittorrent.busy[OTHER + 1] = [str(ADDRESS)]  # the one beside it, on the way
    gluetun.ports = (OTHER,)
    assert bench.sync().status is Status.SYNCED
    report = bench.sync(rebind=True, after=60)
    assert (report.status, report.rebinds) == (Status.SYNCED, (RebindCause.REQUEST,))


def test_what_it_logs_late_is_read(
    bench: Bench,
    gluetun: GluetunSimulator,
    qbittorrent: QBittorrentSimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench.settle()
    now = bench.clock.monotonic()
    wait = bench.clock.wait
    qbittorrent.interfaces["tun0"] = ()  # of whose address nothing is logged on opening

    def wait_and_log(event: threading.Event, timeout: float) -> bool:
        stopped = wait(event, timeout)
        if qbittorrent.log[-1]["type"] != 8 and bench.clock.monotonic() - now >= 0.14:
            qbittorrent.add_log(f'IP: "10.2.0.2". Port: "TCP/{OTHER}". Reason: "zu spät"')
        return stopped

    monkeypatch.setattr(bench.clock, "wait", wait_and_log)
    bench.kernel.tun0 = TUN0
    monkeypatch.setattr(bench.synchronizer._vpn, "compare", lambda *_: None)
    monkeypatch.setattr(bench.synchronizer._vpn, "_shared", True)
    gluetun.ports = (OTHER,)
    assert "zu spät" in failed(bench.sync(), Reason.NOT_LISTENING)


def test_what_it_logs_later_than_is_waited_for_is_read_at_the_next_sync(
    bench: Bench, qbittorrent: QBittorrentSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qbittorrent, "_open_sockets", lambda: None)
    assert bench.settle().listening is None
    qbittorrent.add_log(f'IP: "{ADDRESS}". Port: "TCP/{PORT}"', 2)
    assert bench.sync().listening is True


def test_where_nothing_is_visible_it_is_rebound_once_at_start_to_have_it_logged_anew(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.preferences.update(proxy_type="SOCKS5", proxy_peer_connections=True)
    assert not bench.sync(Trigger.STARTUP).rebinds  # which would not help
    qbittorrent.preferences.update(proxy_peer_connections=False)
    report = bench.sync()
    assert (report.listening, report.rebinds) == (True, (RebindCause.STARTUP,))
    assert not bench.causes(after=60)


def test_where_nothing_is_visible_another_binding_has_it_logged_anew(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    """As when it is bound to tun0: it logs nothing of the socket that stays open there."""
    bench.settle()
    qbittorrent.preferences["current_network_interface"] = "tun0"
    report = bench.sync()
    assert (report.listening, report.rebinds) == (True, (RebindCause.STARTUP,))
    assert not bench.causes(after=60)


def test_where_nothing_is_visible_what_it_logs_of_another_binding_is_enough(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.settle()
    qbittorrent.preferences["current_network_interface"] = "lo"
    failed(bench.sync(after=30), Reason.NOT_LISTENING)
    qbittorrent.preferences["current_network_interface"] = ""
    opened = f'Successfully listening on IP. IP: "{ADDRESS}". Port: "TCP/{PORT}"'
    qbittorrent.add_log(opened, severity=2)
    report = bench.sync(after=30)
    assert (report.listening, report.rebinds) == (True, ())


def test_another_protocol_leaves_what_it_logged_as_true_as_it_was(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.settle()
    for protocol in (2, 1, 0):
        qbittorrent.preferences["bittorrent_protocol"] = protocol
        report = bench.sync(after=60)
        assert (report.listening, report.rebinds) == (True, ())


def test_with_a_fixed_port_an_outage_is_seen_by_the_addresses_that_qbittorrent_has(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    """Gluetun, which would tell that it has no port, is not asked."""
    bench.set_up(fixed_port=PORT, beside=False)
    assert bench.settle().listening
    qbittorrent.interfaces["tun0"] = ()
    assert bench.sync().listening is None
    qbittorrent.interfaces["tun0"] = (str(ADDRESS),)
    report = bench.sync(after=60)
    assert (report.listening, report.rebinds) == (True, (RebindCause.STARTUP,))


# --- really listening, by evidence


def test_a_port_that_came_back_unchanged_is_evidence(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    bench.settle()
    gluetun.ports = ()
    assert not bench.causes()
    gluetun.ports = (PORT,)
    assert bench.causes() == (RebindCause.PORT_RETURNED,)
    assert qbittorrent.history[-2:] == [PORT + 1, PORT]
    assert not bench.causes(after=60)


def test_a_port_that_came_back_changed_opens_the_sockets_by_itself(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    bench.settle()
    gluetun.ports = ()
    bench.sync()
    gluetun.ports = (OTHER,)
    assert not bench.causes()
    assert not bench.causes(after=60)
    assert qbittorrent.history[-1] == OTHER


def test_another_public_address_is_evidence(bench: Bench, gluetun: GluetunSimulator) -> None:
    bench.settle()
    gluetun.public_ip = ""  # unknown for a while
    assert not bench.causes()
    gluetun.public_ip = "203.0.113.7"  # the same again
    assert not bench.causes()
    gluetun.public_ip = ""
    assert not bench.causes()
    gluetun.public_ip = "203.0.113.99"
    assert bench.causes() == (RebindCause.ADDRESS_CHANGED,)
    assert not bench.causes(after=60)


def test_the_public_address_is_not_asked_for_again_where_the_role_forbids_it(
    qbittorrent: QBittorrentSimulator, tmp_path: Path
) -> None:
    with GluetunSimulator(ports=[PORT], routes={PORT_ROUTE}) as gluetun:
        bench = Bench(gluetun, qbittorrent, tmp_path / "forwarded_port")
        for _ in range(3):
            report = bench.sync()
            assert (report.status, report.problem) == (Status.SYNCED, None)
        assert gluetun.requests.count(PUBLIC_IP_ROUTE) == 1
        gluetun.stop()
        bench.sync()
        gluetun.start()  # it may have another role now
        bench.sync()
        bench.sync()
        assert gluetun.requests.count(PUBLIC_IP_ROUTE) == 2


def test_a_port_file_written_anew_is_evidence(bench: Bench) -> None:
    bench.settle()
    assert not bench.sync(Trigger.INTERFACE).rebinds
    report = bench.sync(Trigger.REQUEST, Trigger.PORT_FILE)
    assert report.rebinds == (RebindCause.PORT_FILE,)


def test_no_evidence_counts_where_the_interface_is_visible(
    bench: Bench, gluetun: GluetunSimulator
) -> None:
    bench.kernel.tun0 = TUN0
    bench.settle()
    gluetun.ports = ()
    bench.sync()
    gluetun.ports = (PORT,)
    bench.qbittorrent.connection_status = "disconnected"
    for _ in range(3):
        assert not bench.sync(Trigger.PORT_FILE, after=60).rebinds


def test_evidence_of_before_is_forgotten_once_the_interface_is_visible(
    bench: Bench, gluetun: GluetunSimulator
) -> None:
    bench.sync()
    gluetun.ports = ()
    bench.sync(Trigger.PORT_FILE)
    bench.kernel.tun0 = TUN0
    gluetun.ports = (PORT,)
    report = bench.sync()
    assert (report.listening, report.rebinds) == (True, ())


def test_evidence_just_after_an_opening_is_its_own_and_later_evidence_waits(
    bench: Bench,
) -> None:
    bench.settle()
    assert bench.sync(Trigger.PORT_FILE).rebinds == (RebindCause.PORT_FILE,)
    report = bench.sync(Trigger.PORT_FILE, after=4)
    assert (report.rebinds, report.again_in) == ((), None)
    report = bench.sync(Trigger.PORT_FILE, after=2)
    assert not report.rebinds
    assert report.again_in is not None
    assert report.again_in == pytest.approx(10 - 6, abs=0.5)
    assert bench.causes(after=report.again_in) == (RebindCause.PORT_FILE,)


def test_evidence_outlasts_a_failure(bench: Bench, gluetun: GluetunSimulator) -> None:
    bench.settle()
    gluetun.ports = ()
    bench.sync()
    gluetun.ports = (PORT,)
    bench.qbittorrent.stop()
    failed(bench.sync(), Reason.QBITTORRENT_UNREACHABLE)
    bench.qbittorrent.start()
    assert bench.causes() == (RebindCause.PORT_RETURNED,)


def test_disconnected_at_two_looks_is_evidence(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.settle()
    qbittorrent.connection_status = "disconnected"
    report = bench.sync()
    assert report.rebinds == (RebindCause.DISCONNECTED,)
    assert report.status is Status.SYNCED
    assert report.duration == pytest.approx(2, abs=0.2)
    assert qbittorrent.listen_port == PORT
    report = bench.sync(after=2)  # the simulator is firewalled when its sockets are opened anew
    assert (report.status, report.rebinds, report.again_in) == (Status.SYNCED, (), None)


def test_disconnected_at_one_look_is_not(
    bench: Bench, qbittorrent: QBittorrentSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: object) -> bool:
        qbittorrent.connection_status = "firewalled"
        return False

    bench.settle()
    monkeypatch.setattr(bench.clock, "wait", wait)
    qbittorrent.connection_status = "disconnected"
    report = bench.sync()
    assert (report.status, report.listening, report.rebinds) == (Status.SYNCED, True, ())


def test_on_stop_nothing_waits_for_the_second_look(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.settle()
    qbittorrent.connection_status = "disconnected"
    bench.stopping.set()
    assert not bench.causes()


def test_what_it_logged_before_it_was_disconnected_says_nothing_of_afterwards(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    bench.set_up(rebind=False)
    gluetun.ports = (OTHER,)
    assert bench.sync().listening is True
    qbittorrent.connection_status = "disconnected"
    assert bench.sync().listening is False
    qbittorrent.connection_status = "firewalled"
    assert bench.sync(after=30).listening is None


def test_a_qbittorrent_that_stays_disconnected_is_told_and_rebound_seldom(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.settle()
    opened: list[float] = []
    while len(opened) < 5 and bench.clock.monotonic() < 2000:
        qbittorrent.connection_status = "disconnected"
        report = bench.sync()
        if report.rebinds:
            assert report.rebinds == (RebindCause.DISCONNECTED,)
            opened.append(bench.clock.monotonic())
        elif opened and report.failure:
            assert "is disconnected, with no socket" in failed(report, Reason.NOT_LISTENING)
        bench.clock.advance(report.again_in or 30)
    pauses = [later - earlier for earlier, later in pairwise(opened)]
    assert pauses == pytest.approx([30, 30, 600, 600], abs=3)


# --- a container that was recreated


def recreate_gluetun(bench: Bench, *, file: bool = False) -> None:
    if file:
        bench.port_file.write_text(str(PORT))
    bench.kernel.tun0 = TUN0
    bench.sync()
    bench.kernel.tun0 = None
    bench.gluetun.stop()


@pytest.mark.parametrize("file", [False, True], ids=["no port file", "a port file"])
def test_after_2_minutes_without_gluetun_and_interface_the_container_is_to_be_recreated(
    bench: Bench, file: bool
) -> None:
    recreate_gluetun(bench, file=file)
    first = Reason.NOT_LISTENING if file else Reason.GLUETUN_UNREACHABLE
    assert "recreate" not in failed(bench.sync(), first)
    assert "recreate" not in failed(bench.sync(after=119), first)
    sentence = failed(bench.sync(after=1), Reason.GLUETUN_UNREACHABLE)
    assert "recreate them too (docker compose up -d --force-recreate)" in sentence
    bench.gluetun.start()
    recreate_gluetun(bench)
    assert "recreate" not in failed(bench.sync(after=60), first)


@pytest.mark.parametrize("sign", ["interface", "qbittorrent", "network"])
def test_where_one_sign_is_missing_it_is_not(bench: Bench, sign: str) -> None:
    bench.set_up(same_network=sign != "network")
    recreate_gluetun(bench)
    if sign == "interface":
        bench.kernel.tun0 = replace(TUN0, up=False)
    if sign == "qbittorrent":
        bench.qbittorrent.stop()
    bench.sync()
    assert "recreate" not in failed(bench.sync(after=600), Reason.GLUETUN_UNREACHABLE)


@pytest.mark.parametrize("status", [200, 401])
def test_any_answer_of_gluetun_starts_the_2_minutes_afresh(bench: Bench, status: int) -> None:
    recreate_gluetun(bench)
    bench.sync()
    bench.gluetun.start()
    bench.gluetun.fault = Answer(status=status, body='{"port":0}')
    assert bench.sync(after=100).gluetun_up is (status == 200)
    bench.gluetun.stop()
    bench.sync()
    assert "recreate" not in failed(bench.sync(after=119), Reason.GLUETUN_UNREACHABLE)
    assert "recreate" in failed(bench.sync(after=1), Reason.GLUETUN_UNREACHABLE)


def test_a_gluetun_that_is_in_no_network_of_ours_is_only_gone(bench: Bench) -> None:
    bench.set_up(same_network=False, beside=False)
    bench.gluetun.stop()
    bench.sync()
    assert "recreate" not in failed(bench.sync(after=600), Reason.GLUETUN_UNREACHABLE)


# --- really listening, by qBittorrent's settings


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"proxy_type": "SOCKS5", "proxy_peer_connections": True}, "untick Options"),
        ({"current_interface_address": "192.0.2.9"}, "All addresses, or to 10.2.0.2"),
        ({"current_interface_address": "::"}, "All addresses, or to 10.2.0.2"),
        ({"current_network_interface": "lo"}, "Network interface"),
        ({"current_network_interface": "wg7"}, "Network interface"),
    ],
)
@pytest.mark.parametrize("visible", [True, False])
def test_a_setting_that_shuts_peers_out_is_told_and_taken_back_it_is_green(
    bench: Bench,
    qbittorrent: QBittorrentSimulator,
    settings: dict[str, object],
    remedy: str,
    visible: bool,
) -> None:
    bench.kernel.tun0 = TUN0 if visible else None
    bench.settle()
    opened = list(qbittorrent.history)
    before = {name: qbittorrent.preferences[name] for name in settings}
    qbittorrent.preferences.update(settings)
    for _ in range(3):
        report = bench.sync(after=30)
        assert remedy in failed(report, Reason.NOT_LISTENING)
        assert (report.listening, report.listening_by) == (False, ListeningBy.SETTINGS)
    assert qbittorrent.history == opened  # rebinding can't help
    qbittorrent.preferences.update(before)
    assert bench.sync(after=30).status is Status.SYNCED


def test_a_port_that_another_server_has_is_never_set(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    for port, says in ((qbittorrent.port, "WebUI"), (10058, "METRICS_PORT")):
        gluetun.ports = (port,)
        report = bench.sync()
        assert says in failed(report, Reason.NOT_LISTENING)
        assert (report.listening, report.listening_by) == (False, ListeningBy.SETTINGS)
        assert report.change is None
    assert not qbittorrent.history


# --- really listening, where the kernel alone can't tell


def test_a_socket_of_every_address_counts_only_with_what_qbittorrent_logged(
    bench: Bench, qbittorrent: QBittorrentSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    wildcard = Listener(ip_address("0.0.0.0"), PORT, 0)
    bench.kernel.tun0 = TUN0
    bench.kernel.listeners = [wildcard]
    monkeypatch.setattr(bench.kernel, "own", lambda _: [])
    report = bench.sync()
    assert (report.listening, report.listening_by) == (True, ListeningBy.QBITTORRENT)
    qbittorrent.interfaces["tun0"] = ()
    qbittorrent.start()
    monkeypatch.setattr(bench.synchronizer._vpn, "compare", lambda *_: None)
    bench.kernel.listeners = [wildcard._replace(inode=7)]
    qbittorrent.expire_sessions()
    qbittorrent.log.clear()
    report = bench.sync(after=60)
    assert (report.status, report.listening) == (Status.SYNCED, None)


def test_another_programs_socket_on_the_vpns_address_is_no_yes(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    """As where the forwarded port was taken before qBittorrent started."""
    bench.kernel.tun0 = TUN0
    bench.kernel.listeners = [Listener(ADDRESS, PORT, 0, uid=33, inode=5)]
    qbittorrent.stop()
    qbittorrent.busy[PORT] = [str(ADDRESS)]
    qbittorrent.start()
    report = bench.sync()
    failed(report, Reason.NOT_LISTENING)
    assert (report.listening, report.listening_by) == (False, ListeningBy.QBITTORRENT)


def test_a_socket_of_whose_opening_nothing_was_logged_is_no_yes(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    """As where another program was faster after a restart of the VPN."""
    bench.kernel.tun0 = TUN0
    bench.settle()
    bench.kernel.restart_vpn()
    bench.kernel.listeners = [Listener(ADDRESS, PORT, 0, inode=5)]
    qbittorrent.busy[PORT] = [str(ADDRESS)]
    report = bench.sync()
    failed(report, Reason.NOT_LISTENING)
    assert (report.listening, report.listening_by) == (False, ListeningBy.QBITTORRENT)
    assert report.rebinds == (RebindCause.NOT_LISTENING,)
    qbittorrent.busy.clear()
    bench.kernel.listeners = []
    assert bench.sync(after=60).listening
    assert not bench.causes(after=60)


def test_peers_that_come_in_are_counted(bench: Bench) -> None:
    bench.kernel.tun0 = TUN0
    bench.settle()
    peer = Connection(ADDRESS, ip_address("198.51.100.9"), 40000, True)
    bench.kernel.connections = (peer,)
    report = bench.sync()
    assert (report.incoming_connections, report.last_incoming) == (1, report.finished_at)
    bench.kernel.connections = ()
    later = bench.sync(after=30)
    assert (later.incoming_connections, later.last_incoming) == (0, report.finished_at)


@pytest.mark.parametrize("known", [True, False], ids=["no port from Gluetun", "no qBittorrent"])
def test_who_came_in_is_of_now_or_not_known(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator, known: bool
) -> None:
    bench.kernel.tun0 = TUN0
    bench.settle()
    bench.kernel.connections = (Connection(ADDRESS, ip_address("198.51.100.9"), 40000, True),)
    assert bench.sync().incoming_connections == 1
    bench.kernel.connections = ()
    gluetun.ports = ()
    if not known:
        qbittorrent.stop()
    assert bench.sync().incoming_connections == (0 if known else None)


def test_who_came_in_on_a_random_port_is_not_known(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    bench.kernel.tun0 = TUN0
    gluetun.ports, qbittorrent.listen_port = (), 0
    assert bench.sync().incoming_connections is None


def test_where_only_utp_is_spoken_a_tcp_connection_is_no_peer_that_came_in(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    bench.kernel.tun0 = TUN0
    qbittorrent.preferences["bittorrent_protocol"] = 2
    bench.settle()
    bench.kernel.connections = (Connection(ADDRESS, ip_address("198.51.100.9"), 40000, True),)
    report = bench.sync()
    assert (report.incoming_connections, report.last_incoming) == (None, None)


@pytest.mark.parametrize("visible", [True, False])
def test_another_program_that_sets_the_port_is_named(
    bench: Bench, qbittorrent: QBittorrentSimulator, visible: bool
) -> None:
    bench.kernel.tun0 = TUN0 if visible else None
    bench.settle()
    warned = []
    for _ in range(3):
        qbittorrent.listen_port = OTHER
        warned.append(bench.sync(after=30).warnings)
    assert warned[:2] == [(), ()]
    assert f"it was {OTHER} again" in warned[2][0]
    assert bench.sync(after=30).warnings == ()


# --- really listening, by asking the outside


@pytest.mark.parametrize("sign", ["interface", "port", "address"])
def test_of_a_vpn_that_was_restarted_the_outside_has_said_nothing(
    bench: Bench, gluetun: GluetunSimulator, sign: str
) -> None:
    """Restarting it is what `port_closed` has people do; the next check may be an hour away."""
    port_check = PortCheck(
        lambda _: False,
        interval=3600,
        inside_vpn=lambda: True,
        changed=lambda: None,
        count=lambda _: None,
        tell=lambda _: None,
        clock=bench.clock,
    )
    bench.set_up(port_check=port_check)
    bench.kernel.tun0 = TUN0 if sign == "interface" else None
    for _ in range(4):
        report = bench.sync(after=60)
        port_check.check_if_due()
    failed(report, Reason.PORT_CLOSED)
    if sign == "interface":
        bench.kernel.restart_vpn()
    elif sign == "port":
        gluetun.ports = ()
        bench.sync(after=600)
        gluetun.ports = (PORT,)
    else:
        gluetun.public_ip = "203.0.113.8"
    report = bench.sync(after=600)
    assert (report.status, report.reachable) == (Status.SYNCED, None)
    assert port_check.pause() == 0


# --- what can't be told, and what is fixed


def test_an_interface_that_the_kernel_does_not_tell_is_not_gone(bench: Bench) -> None:
    bench.kernel.tun0 = OSError("refused")
    bench.gluetun.stop()
    bench.sync()
    assert "recreate" not in failed(bench.sync(after=600), Reason.GLUETUN_UNREACHABLE)
    bench.gluetun.start()
    report = bench.sync()
    assert (report.status, report.interface_visible) == (Status.SYNCED, False)


def test_a_fixed_port_takes_gluetuns_place(
    bench: Bench, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    bench.set_up(fixed_port=OTHER)
    report = bench.sync()
    assert report.status is Status.SYNCED
    assert report.change == PortChange(PORT, OTHER, verified=True)
    assert (report.port_source, report.gluetun_up) == (PortSource.FIXED, None)
    assert qbittorrent.listen_port == OTHER
    assert not gluetun.requests


def test_on_stop_a_change_that_was_not_read_back_is_not_verified(
    bench: Bench, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.listen_port, qbittorrent.ignores_settings = OTHER, True
    bench.stopping.set()
    assert bench.sync().change == PortChange(OTHER, PORT, verified=False)
