"""What a look at the VPN interface shows, and when the listening socket is to be re-opened."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest

from qsticky.kernel.netlink import Interface, Listener
from qsticky.sync.listening import Look, Lookout, Reopening
from qsticky.sync.report import RebindCause

ADDRESS = ip_address("10.2.0.2")
PORT = 51500
TUN0 = Interface("tun0", 7, up=True, addresses=(ADDRESS,))
SOCKET = Listener(ADDRESS, PORT, 7)
WRONG = RebindCause.NOT_LISTENING


@dataclass
class Kernel:
    """A kernel that tells what the test wants; an error is raised."""

    tun0: Interface | OSError | None = TUN0
    sockets: Sequence[Listener] | OSError = (SOCKET,)
    asked: list[int] = field(default_factory=list)

    def interface(self, name: str) -> Interface | None:
        if isinstance(self.tun0, OSError):
            raise self.tun0
        return self.tun0 if name == "tun0" else None

    def listeners(self, port: int) -> Sequence[Listener]:
        self.asked.append(port)
        if isinstance(self.sockets, OSError):
            raise self.sockets
        return [socket for socket in self.sockets if socket.port == port]


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def lookout(kernel: Kernel) -> Lookout:
    return Lookout("tun0", beside=True, kernel=kernel)


# --- a look


def test_a_socket_on_the_interface_is_seen(lookout: Lookout) -> None:
    assert lookout.look(PORT) == Look(TUN0, listening=True)


@pytest.mark.parametrize(
    "sockets",
    [
        (),
        (replace(SOCKET, interface_index=6),),
        (replace(SOCKET, address=ip_address("127.0.0.1")),),
    ],
    ids=["none at all", "bound to the interface before", "on the loopback"],
)
def test_a_missing_socket_is_seen(
    lookout: Lookout, kernel: Kernel, sockets: Sequence[Listener]
) -> None:
    kernel.sockets = sockets
    assert lookout.look(PORT) == Look(TUN0, listening=False)


@pytest.mark.parametrize(
    "tun0",
    [None, replace(TUN0, up=False), replace(TUN0, addresses=()), OSError(errno.EPERM, "no")],
    ids=["missing", "down", "without an address", "netlink refused"],
)
def test_an_interface_that_was_never_visible_shows_nothing(
    lookout: Lookout, kernel: Kernel, tun0: Interface | OSError | None
) -> None:
    kernel.tun0 = tun0
    assert lookout.look(PORT) == Look()
    assert not lookout.seen
    assert not kernel.asked


def test_a_qbittorrent_elsewhere_can_not_be_looked_at(kernel: Kernel) -> None:
    lookout = Lookout("tun0", beside=False, kernel=kernel)
    assert lookout.look(PORT) == Look()
    assert lookout.visible_interface() is None
    assert lookout.interface() == TUN0


@pytest.mark.parametrize("tun0", [None, replace(TUN0, up=False), replace(TUN0, addresses=())])
def test_an_interface_that_was_visible_and_is_gone_is_lost(
    lookout: Lookout, kernel: Kernel, tun0: Interface | None
) -> None:
    lookout.look(PORT)
    kernel.tun0 = tun0
    assert lookout.look(PORT) == Look(lost=True)
    kernel.tun0 = TUN0
    assert lookout.look(PORT) == Look(TUN0, listening=True)


def test_an_interface_is_seen_where_the_kernel_tells_of_no_sockets(
    lookout: Lookout, kernel: Kernel
) -> None:
    kernel.sockets = OSError(errno.EACCES, "no")
    assert lookout.look(PORT) == Look(TUN0, listening=None)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_not_looked_for(lookout: Lookout, kernel: Kernel, port: int) -> None:
    """Port 0 is any to the kernel, and qBittorrent also stores what no socket can have."""
    kernel.sockets = (replace(SOCKET, port=port),)
    assert lookout.look(port) == Look(TUN0, listening=None)
    assert not kernel.asked


@pytest.mark.parametrize(
    "other",
    [replace(TUN0, index=8), replace(TUN0, addresses=(ip_address("10.2.0.3"),))],
    ids=["index", "address"],
)
def test_another_index_or_address_is_a_change(
    lookout: Lookout, kernel: Kernel, other: Interface
) -> None:
    lookout.look(PORT)
    assert lookout.changed
    lookout.look(PORT)
    assert not lookout.changed
    kernel.tun0 = other
    lookout.look(PORT)
    assert lookout.changed


def test_the_same_interface_back_again_is_a_change(lookout: Lookout, kernel: Kernel) -> None:
    lookout.look(PORT)
    lookout.look(PORT)
    kernel.tun0 = replace(TUN0, up=False)
    lookout.look(PORT)
    kernel.tun0 = TUN0
    lookout.look(PORT)
    assert lookout.changed


# --- when to re-open


@pytest.fixture
def reopening() -> Reopening:
    return Reopening()


def test_nothing_wrong_is_nothing_to_do(reopening: Reopening) -> None:
    assert reopening.due(None, 0) == (None, None)


def test_what_is_seen_to_be_wrong_is_acted_on_at_once(reopening: Reopening) -> None:
    assert reopening.due(WRONG, 1000) == (WRONG, None)


def test_what_does_not_help_is_tried_three_times_in_a_minute_and_then_every_ten_minutes(
    reopening: Reopening,
) -> None:
    now, opened = 1000.0, []
    while now < 1000 + 1300:
        cause, wait = reopening.due(WRONG, now)
        if cause:
            reopening.reopened(now)
            opened.append(now - 1000)
            now += 0.5
        else:
            assert wait is not None
            assert wait > 0
            now += min(wait, 7)
    assert opened == [0, 30, 60, 660, 1260]


def test_after_what_helped_the_next_is_due_at_once_and_counts_afresh(reopening: Reopening) -> None:
    for now in (0.0, 1.0, 2.0, 3.0):
        assert reopening.due(WRONG, now) == (WRONG, None)
        reopening.reopened(now)
        reopening.well()
    assert reopening.due(WRONG, 4) == (WRONG, None)
    reopening.reopened(4)
    assert reopening.due(WRONG, 5) == (None, 29)


def test_another_interface_ends_the_long_pause(reopening: Reopening) -> None:
    for _ in range(3):
        reopening.reopened(0)
    assert reopening.due(WRONG, 1) == (None, 599)
    reopening.well()
    assert reopening.due(WRONG, 1) == (WRONG, None)


def test_evidence_is_dropped_once_the_sockets_can_be_seen_but_a_request_is_not(
    reopening: Reopening,
) -> None:
    reopening.evidence(RebindCause.PORT_FILE, 100)
    reopening.visible()
    assert reopening.due(None, 101) == (None, None)
    reopening.evidence(RebindCause.REQUEST, 101)
    reopening.visible()
    assert reopening.due(None, 101) == (RebindCause.REQUEST, None)


def test_a_changed_port_is_no_useless_opening(reopening: Reopening) -> None:
    reopening.changed(0)
    assert reopening.due(WRONG, 0.2) == (WRONG, None)


def test_evidence_is_acted_on_once(reopening: Reopening) -> None:
    reopening.evidence(RebindCause.PORT_RETURNED, 100)
    assert reopening.due(None, 100) == (RebindCause.PORT_RETURNED, None)
    reopening.reopened(100)
    assert reopening.due(None, 200) == (None, None)


@pytest.mark.parametrize("opening", [Reopening.changed, Reopening.reopened])
@pytest.mark.parametrize("late", [False, True])
def test_evidence_within_5_seconds_belongs_to_the_opening_and_later_waits_for_10(
    reopening: Reopening, opening: Callable[[Reopening, float], None], late: bool
) -> None:
    opening(reopening, 100.0)
    reopening.evidence(RebindCause.ADDRESS_CHANGED, 105.5 if late else 104.5)
    if not late:
        assert reopening.due(None, 200) == (None, None)
        return
    assert reopening.due(None, 106) == (None, 4)
    assert reopening.due(None, 110) == (RebindCause.ADDRESS_CHANGED, None)


def test_an_opening_settles_the_evidence_before_it(reopening: Reopening) -> None:
    reopening.evidence(RebindCause.PORT_FILE, 100)
    reopening.changed(101)
    assert reopening.due(None, 200) == (None, None)


def test_the_first_evidence_is_the_cause(reopening: Reopening) -> None:
    reopening.evidence(RebindCause.PORT_FILE, 100)
    reopening.evidence(RebindCause.ADDRESS_CHANGED, 101)
    assert reopening.due(None, 102) == (RebindCause.PORT_FILE, None)


def test_evidence_does_not_wait_for_a_long_pause(reopening: Reopening) -> None:
    for _ in range(3):
        reopening.reopened(100)
    reopening.evidence(RebindCause.REQUEST, 106)
    assert reopening.due(WRONG, 107) == (None, 3)
    assert reopening.due(WRONG, 110) == (RebindCause.REQUEST, None)


def test_disconnected_counts_at_two_looks_2_seconds_apart(reopening: Reopening) -> None:
    assert not reopening.disconnected(True, 100)
    assert not reopening.disconnected(True, 101.5)
    assert reopening.disconnected(True, 102)
    assert not reopening.disconnected(False, 103)
    assert not reopening.disconnected(True, 110)
    reopening.changed(111)
    assert not reopening.disconnected(True, 112)
    assert reopening.disconnected(True, 114)
