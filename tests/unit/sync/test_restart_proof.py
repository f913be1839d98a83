"""Only both sockets of qBittorrent's being others prove that it restarted."""

import errno
from ipaddress import ip_address

import pytest

from qsticky.kernel.netlink import Listener
from qsticky.sync.sockets import RestartProof
from tests.fakes import TUN0, FakeKernel

WEBUI_PORT, PORT = 8080, 51500
WEBUI = Listener(ip_address("0.0.0.0"), WEBUI_PORT, 0, uid=1000, inode=11)
PEERS = Listener(TUN0.addresses[0], PORT, 0, uid=1000, inode=21)


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel(listeners=[WEBUI, PEERS])


@pytest.fixture
def proof(kernel: FakeKernel) -> RestartProof:
    proof = RestartProof(kernel, WEBUI_PORT)
    proof.note(TUN0, PORT)
    return proof


@pytest.mark.parametrize(
    ("sockets", "proved"),
    [
        ([WEBUI, PEERS], False),
        ([WEBUI._replace(inode=12), PEERS], False),  # a proxy's, which was restarted
        ([WEBUI, PEERS._replace(inode=22)], False),  # its port was changed
        ([WEBUI._replace(inode=12), PEERS._replace(inode=22)], True),
        ([WEBUI._replace(inode=12), PEERS._replace(inode=22, uid=0)], False),  # another program's
        ([WEBUI._replace(inode=12), PEERS._replace(inode=22, address=WEBUI.address)], False),
        ([WEBUI._replace(inode=12)], False),
        ([PEERS._replace(inode=22)], False),
        ([], False),
    ],
)
def test_both_must_be_others(
    proof: RestartProof, kernel: FakeKernel, sockets: list[Listener], proved: bool
) -> None:
    assert not proof.proved
    kernel.listeners = sockets
    proof.note(TUN0, PORT)
    assert proof.proved is proved


def test_a_restart_of_which_one_half_is_seen_first_is_proved_by_the_other(
    proof: RestartProof, kernel: FakeKernel
) -> None:
    for sockets in ([], [WEBUI._replace(inode=12)]):
        kernel.listeners = sockets
        proof.note(TUN0, PORT)
    kernel.listeners = [WEBUI._replace(inode=12), PEERS._replace(inode=22)]
    proof.note(TUN0, PORT)
    assert proof.proved


def test_it_is_proved_once(proof: RestartProof, kernel: FakeKernel) -> None:
    kernel.listeners = [WEBUI._replace(inode=12), PEERS._replace(inode=22)]
    proof.note(TUN0, PORT)
    proof.note(TUN0, PORT)
    assert not proof.proved


def test_what_was_before_qbittorrent_answered_proves_nothing(
    proof: RestartProof, kernel: FakeKernel
) -> None:
    proof.forget()
    kernel.listeners = [WEBUI._replace(inode=12), PEERS._replace(inode=22)]
    proof.note(TUN0, PORT)
    assert not proof.proved


def test_a_kernel_that_tells_nothing_proves_nothing(
    proof: RestartProof, kernel: FakeKernel
) -> None:
    kernel.listeners = OSError(errno.EPERM, "no")
    proof.note(TUN0, PORT)
    assert not proof.proved
