"""Who came in: how many, and when last a new one was seen."""

from ipaddress import ip_address

from qsticky.kernel.netlink import Connection
from qsticky.sync.sockets import Incoming

VPN = ip_address("10.2.0.2")
PEER = ip_address("198.51.100.9")


def connection(
    port: int, *, peer: object = PEER, local: object = VPN, established: bool = True
) -> Connection:
    return Connection(ip_address(str(local)), ip_address(str(peer)), port, established)


def test_established_ones_are_counted_and_closed_ones_prove_as_much() -> None:
    seen = (
        Incoming()
        .after([], [VPN], 0)
        .after([connection(1), connection(2, established=False)], [VPN], 5)
    )
    assert (seen.established, seen.last) == (1, 5)


def test_what_was_there_at_the_first_look_or_the_look_before_is_not_new() -> None:
    seen = Incoming().after([connection(1)], [VPN], 0)
    assert (seen.established, seen.last) == (1, None)
    assert seen.after([connection(1)], [VPN], 5).last is None
    assert seen.after([connection(1), connection(2)], [VPN], 9).last == 9


def test_the_last_one_is_kept_when_nobody_is_there_any_more_or_nothing_can_be_seen() -> None:
    seen = Incoming().after([], [VPN], 0).after([connection(1)], [VPN], 5).after([], [VPN], 9)
    assert (seen.established, seen.last) == (0, 5)
    gone = seen.unseen()
    assert (gone.established, gone.last) == (None, 5)
    assert gone.after([connection(3)], [VPN], 20).last == 5  # it may have been there all along


def test_only_what_peers_open_on_the_vpns_address_counts() -> None:
    ours = [
        connection(1, local="127.0.0.1", peer="127.0.0.1"),
        connection(2, local="172.18.0.2"),
        connection(3, peer=VPN),
        connection(4, peer="127.0.0.1"),
    ]
    seen = Incoming().after([], [VPN], 0).after(ours, [VPN], 5)
    assert (seen.established, seen.last) == (0, None)
