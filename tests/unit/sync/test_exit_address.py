"""When the public address is asked for, that a change is noticed, and what peers see beside it."""

from ipaddress import ip_address

from qsticky.services.gluetun import PublicAddress
from qsticky.sync.exit_address import ExitAddress

HOME = PublicAddress("203.0.113.7", "Netherlands")
AWAY = PublicAddress("203.0.113.9", "Sweden")
V4, V6 = ip_address("203.0.113.7"), ip_address("2001:db8::7")


def test_it_is_asked_at_start_for_another_interface_or_port_and_every_ten_minutes() -> None:
    known = ExitAddress()
    assert known.due("tun0", 0, blind=False)
    known = known.after(HOME, "tun0", 0)
    assert not known.due("tun0", 599, blind=False)
    assert known.due("tun0", 600, blind=False)
    assert known.due("tun1", 1, blind=False)


def test_it_is_asked_always_where_the_interface_can_not_be_seen() -> None:
    assert ExitAddress().after(HOME, None, 0).due(None, 1, blind=True)


def test_another_address_is_a_change_until_the_next_sync() -> None:
    known = ExitAddress().after(HOME, None, 0)
    assert not known.changed
    assert not known.after(None, None, 1).changed  # unknown for a while
    moved = known.after(None, None, 1).after(AWAY, None, 2)
    assert moved.changed
    assert moved.last == AWAY
    assert not moved.not_asked().changed


def test_what_peers_see_is_of_the_family_that_gluetun_tells() -> None:
    known = ExitAddress().after(HOME, None, 0)
    assert known.seen_by_peers((V6, V4)) == "203.0.113.7"
    assert known.seen_by_peers((V6,)) is None
    assert ExitAddress().seen_by_peers((V6,)) == "2001:db8::7"
