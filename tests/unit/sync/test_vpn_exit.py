"""When the public address is asked for, that a change is noticed, and what peers see beside it."""

from ipaddress import ip_address

import pytest

from qsticky.services.gluetun import Gluetun, PublicAddress
from qsticky.sync.vpn_exit import VpnExit

HOME = PublicAddress("203.0.113.7", "Netherlands")
AWAY = PublicAddress("203.0.113.9", "Sweden")
V4, V6 = ip_address("203.0.113.7"), ip_address("2001:db8::7")


class FakeGluetun(Gluetun):
    """A Gluetun that tells ``address``; ``asked`` are the questions."""

    def __init__(self) -> None:
        self.address: PublicAddress | None = HOME
        self.asked: list[str] = []

    def public_address(self) -> PublicAddress | None:
        self.asked.append("address")
        return self.address

    def version(self) -> str | None:
        self.asked.append("version")
        return "v3.41.3"


@pytest.fixture
def gluetun() -> FakeGluetun:
    return FakeGluetun()


def test_it_is_asked_at_start_for_another_interface_or_port_and_every_ten_minutes(
    gluetun: FakeGluetun,
) -> None:
    known = VpnExit()
    for circumstances, now in (("tun0", 0), ("tun0", 599), ("tun0", 600), ("tun1", 601)):
        known.ask(gluetun, circumstances, now, blind=False)
    assert gluetun.asked == ["version", "address", "address", "address"]


def test_it_is_asked_always_where_the_interface_can_not_be_seen(gluetun: FakeGluetun) -> None:
    known = VpnExit()
    for now in (0, 1, 2):
        known.ask(gluetun, None, now, blind=True)
    assert gluetun.asked == ["version", *["address"] * 3]


def test_a_gluetun_that_was_away_is_asked_for_both(gluetun: FakeGluetun) -> None:
    known = VpnExit()
    known.ask(gluetun, "tun0", 0, blind=False)
    known.note_away()
    known.ask(gluetun, "tun0", 1, blind=False)
    assert gluetun.asked == ["version", "address"] * 2
    assert not known.changed


def test_another_address_is_a_change_until_the_next_sync(gluetun: FakeGluetun) -> None:
    known = VpnExit()
    changes = []
    for gluetun.address in (HOME, None, HOME, None, AWAY, AWAY):  # None: unknown for a while
        known.ask(gluetun, None, 0, blind=True)
        changes.append(known.changed)
    assert changes == [False, False, False, False, True, False]
    assert known.address == AWAY
    gluetun.address = HOME
    known.ask(gluetun, None, 0, blind=True)
    assert known.changed
    known.note_away()
    assert not known.changed


def test_what_peers_see_is_of_the_family_that_gluetun_tells(gluetun: FakeGluetun) -> None:
    known = VpnExit()
    assert known.seen_by_peers((V6,)) == "2001:db8::7"
    known.ask(gluetun, None, 0, blind=True)
    assert known.seen_by_peers((V6, V4)) == "203.0.113.7"
    assert known.seen_by_peers((V6,)) is None
