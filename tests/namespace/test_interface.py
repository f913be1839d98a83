"""The kernel's word on a real tun device, as Gluetun makes, deletes and makes it again."""

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from qsticky.kernel.interface_watch import InterfaceWatch
from qsticky.kernel.netlink import Interface, Listener, PortSockets, interface, sockets
from tests.namespace.netns import Namespace, Vpn

pytestmark = pytest.mark.usefixtures("inside")

ADDRESS = ip_address("10.2.0.2")
PORT = 51500
BOUND = 5  # seconds; what is waited for comes within milliseconds


class Calls:
    """What a watch calls: looks at the interface, and lets the test wait for what it saw."""

    def __init__(self) -> None:
        self.count = 0
        self.seen: Interface | None = None
        self._called = threading.Condition()

    def __call__(self) -> None:
        seen = interface("tun0")
        with self._called:
            self.count += 1
            self.seen = seen
            self._called.notify_all()

    @property
    def sees_it(self) -> bool:
        """Whether the interface was visible at the last call."""
        return self.seen is not None and self.seen.usable

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for the call after which the condition holds."""
        with self._called:
            assert self._called.wait_for(condition, BOUND), (
                f"not so after {self.count} calls, the last of which saw {self.seen}"
            )


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def watch(calls: Calls) -> Iterator[InterfaceWatch]:
    watching = InterfaceWatch("tun0", calls)
    yield watching
    watching.stop()


def listening(namespace: Namespace, address: str, device: str | None = None) -> socket.socket:
    listener = namespace.open_socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if device:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    listener.bind((address, PORT))
    listener.listen()
    return listener


def who_listens() -> tuple[Listener, ...]:
    return sockets(PORT).listeners


def served(interface: Interface) -> bool:
    return any(one.serves(interface) for one in who_listens())


def inode_of(opened: socket.socket) -> int:
    return os.fstat(opened.fileno()).st_ino


def by_proc(namespace: Namespace, inode: int) -> tuple[int, int]:
    """Look a socket's inode up in /proc; return its owner's user id, and the inode."""
    tables = namespace.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"]).stdout
    lines = [line.split() for line in tables.splitlines()]
    ((uid, found),) = [(line[7], line[9]) for line in lines if line[9] == str(inode)]
    return int(uid), int(found)


def present() -> Interface:
    found = interface("tun0")
    assert found is not None
    return found


# --- the interface


def test_a_tun_device_is_visible_once_it_has_an_address_and_its_link_is_up(vpn: Vpn) -> None:
    assert interface("tun0") is None
    vpn.create()
    made = present()
    assert (made.up, made.addresses, made.usable) == (False, (), False)
    vpn.add_address("10.2.0.2/32")
    addressed = present()
    assert (addressed.up, addressed.addresses, addressed.usable) == (False, (ADDRESS,), False)
    vpn.link_up()
    upped = present()
    assert (upped.up, upped.addresses, upped.usable) == (True, (ADDRESS,), True)
    vpn.link_down()
    assert not present().usable
    vpn.down()
    assert interface("tun0") is None


def test_a_link_that_is_up_before_its_address_is_not_visible_yet(namespace: Namespace) -> None:
    with Vpn(namespace, address_first=False) as vpn:
        vpn.create()
        vpn.link_up()
        found = present()
        assert found.up
        assert not found.usable  # whatever link-local address the kernel gave it by itself
        vpn.down()
        vpn.up()
        assert present().usable


def test_an_interface_made_again_has_another_index(vpn: Vpn) -> None:
    vpn.up()
    first = present()
    vpn.down()
    vpn.up("10.2.0.7/32")
    second = present()
    assert second.index != first.index
    assert second.addresses == (ip_address("10.2.0.7"),)


def test_its_own_addresses_are_told_and_not_the_other_ends(vpn: Vpn, namespace: Namespace) -> None:
    vpn.up("fd7d::2/128")
    namespace.run(["ip", "addr", "add", "10.8.0.6", "peer", "10.8.0.5", "dev", "tun0"])
    namespace.run(["ip", "addr", "add", "10.9.9.9/32", "dev", "lo"])
    found = present()
    assert found.addresses == (ip_address("10.8.0.6"), ip_address("fd7d::2"))


def test_a_tun_device_that_nobody_holds_open_is_not_visible(namespace: Namespace, vpn: Vpn) -> None:
    vpn.up()  # the device's node is there, else this skips
    vpn.down()
    namespace.run(["ip", "tuntap", "add", "tun0", "mode", "tun"])
    namespace.run(["ip", "addr", "add", "10.2.0.2/32", "dev", "tun0"])
    namespace.run(["ip", "link", "set", "tun0", "up"])
    found = present()
    assert found.addresses == (ADDRESS,)
    assert not found.usable


# --- who listens


@pytest.mark.parametrize("address", ["10.2.0.2", "0.0.0.0", "::"])
@pytest.mark.parametrize("device", [None, "tun0"])
def test_a_socket_on_the_interface_or_the_wildcard_listens(
    address: str, device: str | None, vpn: Vpn, namespace: Namespace
) -> None:
    vpn.up()
    found = present()
    with listening(namespace, address, device) as opened:
        bound_to = found.index if device else 0
        owner = by_proc(namespace, inode_of(opened))
        assert who_listens() == (Listener(ip_address(address), PORT, bound_to, False, *owner),)
        assert served(found)
        assert sockets(PORT + 1) == PortSockets()
    assert not served(found)


def test_a_socket_on_the_loopback_does_not_listen_on_the_interface(
    vpn: Vpn, namespace: Namespace
) -> None:
    vpn.up()
    found = present()
    with listening(namespace, "127.0.0.1"), listening(namespace, "::1"):
        assert len(who_listens()) == 2
        assert not served(found)


def test_a_socket_bound_to_the_deleted_interface_is_told_from_a_live_one(
    vpn: Vpn, namespace: Namespace
) -> None:
    vpn.up()
    first = present()
    stale = listening(namespace, "10.2.0.2", "tun0")
    vpn.down()
    vpn.up()
    second = present()
    with stale:
        (found,) = who_listens()
        assert (found.address, found.interface_index) == (ADDRESS, first.index)
        assert not found.serves(second)

        # /proc shows it as if it lived: nothing in its line differs from a live one's.
        table = namespace.run(["cat", "/proc/net/tcp"]).stdout
        assert re.search(r"^ *\d+: 0200020A:C92C 00000000:0000 0A ", table, re.MULTILINE)

        with listening(namespace, "10.2.0.2", "tun0"):
            assert len(who_listens()) == 2
            assert served(second)


# --- the watch


def test_a_watch_tells_of_an_interface_that_comes_and_goes(
    vpn: Vpn, watch: InterfaceWatch, calls: Calls
) -> None:
    watch.start()
    for _ in range(3):
        vpn.up()
        calls.wait_until(lambda: calls.sees_it)
        vpn.down()
        calls.wait_until(lambda: calls.seen is None)


@pytest.mark.parametrize(
    "change",
    [
        lambda vpn: vpn.add_address("10.2.0.3/32"),
        lambda vpn: vpn.add_address("fd7d::3/128"),
        lambda vpn: vpn.remove_address("10.2.0.2/32"),
        lambda vpn: vpn.link_up(),
        lambda vpn: vpn.down(),
    ],
    ids=["an IPv4 address more", "an IPv6 address", "its address gone", "link up", "deleted"],
)
@pytest.mark.parametrize("known", [True, False], ids=["known from the start", "seen to appear"])
def test_a_watch_tells_of_each_change(
    change: Callable[[Vpn], None], known: bool, vpn: Vpn, watch: InterfaceWatch, calls: Calls
) -> None:
    if not known:
        watch.start()
    vpn.create()
    if not known:
        calls.wait_until(lambda: calls.count == 1)
    vpn.add_address("10.2.0.2/32")
    if known:
        watch.start()
    else:
        calls.wait_until(lambda: calls.count == 2)
    before = calls.count
    change(vpn)
    calls.wait_until(lambda: calls.count > before)


def test_a_watch_tells_of_a_link_that_goes_down(
    vpn: Vpn, watch: InterfaceWatch, calls: Calls
) -> None:
    watch.start()
    vpn.up()
    calls.wait_until(lambda: calls.sees_it)
    vpn.link_down()
    calls.wait_until(lambda: not calls.sees_it)


def test_a_watch_tells_of_an_interface_that_gets_the_name_and_loses_it(
    vpn: Vpn, namespace: Namespace, watch: InterfaceWatch, calls: Calls
) -> None:
    vpn.create()
    namespace.run(["ip", "link", "set", "tun0", "name", "other0"])
    watch.start()
    namespace.run(["ip", "address", "add", "10.3.0.2/32", "dev", "other0"])  # not its own yet
    namespace.run(["ip", "link", "set", "other0", "name", "tun0"])
    calls.wait_until(lambda: calls.seen is not None)
    assert calls.count == 1
    namespace.run(["ip", "address", "add", "10.3.0.3/32", "dev", "tun0"])
    calls.wait_until(lambda: calls.count == 2)
    namespace.run(["ip", "link", "set", "tun0", "name", "other0"])
    calls.wait_until(lambda: calls.seen is None)


def test_changes_of_another_interface_are_not_told(
    vpn: Vpn, namespace: Namespace, watch: InterfaceWatch, calls: Calls
) -> None:
    vpn.create()  # its link stays down, so that the kernel adds nothing by itself
    with Vpn(namespace, "tun1") as other:
        watch.start()
        for _ in range(20):
            other.up("10.3.0.2/32")
            other.down()
        other.up()
        vpn.add_address("10.2.0.2/32")
        calls.wait_until(lambda: calls.count > 0)
        assert calls.count == 1  # messages come in order: the others' have all been seen


def test_a_watch_survives_an_overrun(vpn: Vpn, namespace: Namespace) -> None:
    """While it is busy, the kernel has more to tell than it keeps, and throws the rest away."""
    vpn.create()
    calls, busy, go_on = Calls(), threading.Event(), threading.Event()

    def changed() -> None:
        busy.set()
        assert go_on.wait(BOUND * 4)
        calls()

    watch = InterfaceWatch("tun0", changed)
    watch.start()
    try:
        vpn.add_address("10.2.0.2/32")
        assert busy.wait(BOUND)
        burst = "".join(f"link set lo mtu {65000 + number % 2}\n" for number in range(2000))
        namespace.run(["ip", "-batch", "-"], input=burst)
        vpn.down()  # what the kernel tells of this is lost
        vpn.create()
        made_again = present()
        go_on.set()
        calls.wait_until(lambda: calls.count >= 2 and calls.seen == made_again)
        before = calls.count
        vpn.add_address("10.2.0.3/32")  # told with nothing but the new index
        calls.wait_until(lambda: calls.count > before)
    finally:
        go_on.set()
        watch.stop()


def test_a_watch_stops_while_changes_come_and_leaves_no_descriptor(
    vpn: Vpn, watch: InterfaceWatch, calls: Calls
) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        watch.start()
        vpn.up()
        calls.wait_until(lambda: calls.sees_it)
        vpn.down()
        watch.stop()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    count = calls.count
    vpn.up()
    assert calls.count == count
