"""What qBittorrent's log says of its sockets now: what counts, what ages, and what holds."""

from ipaddress import ip_address
from typing import Literal

import pytest

from qsticky.services.listen_log import ListenEntry, ListenLog, LogMark
from qsticky.services.qbittorrent import Protocol
from qsticky.sync.opening_log import OpeningLog

VPN, LAN = ip_address("10.2.0.2"), ip_address("172.18.0.2")
BOTH, UTP_ONLY = Protocol.TCP_AND_UTP, Protocol.UTP


def entry(
    listening: bool, protocol: Literal["TCP", "UTP"] = "TCP", address: object = VPN
) -> ListenEntry:
    return ListenEntry(ip_address(str(address)), protocol, listening, f"of {address}")


def read(*entries: ListenEntry, continues: bool = True) -> ListenLog:
    return ListenLog(LogMark(len(entries), 0), continues, entries)


@pytest.fixture
def log() -> OpeningLog:
    return OpeningLog()


def test_what_was_not_read_is_not_known(log: OpeningLog) -> None:
    assert log.listening([VPN], BOTH) is None
    assert log.failure([VPN]) is None


def test_a_success_is_a_yes_and_a_failure_a_no(log: OpeningLog) -> None:
    log.take(read(entry(True)))
    assert log.listening([VPN], BOTH) is True
    log.take(read(entry(False)))
    assert log.listening([VPN], BOTH) is False
    assert log.failure([VPN]) == "of 10.2.0.2"


def test_only_the_vpns_addresses_count(log: OpeningLog) -> None:
    log.take(read(entry(True, address=LAN), entry(False, address="127.0.0.1")))
    assert log.listening([VPN], BOTH) is None
    log.take(read(entry(True), entry(False, address=LAN)))
    assert log.listening([VPN], BOTH) is True


def test_without_an_address_to_ask_about_nothing_is_known(log: OpeningLog) -> None:
    log.take(read(entry(True)))
    assert log.listening([], BOTH) is None


def test_a_udp_port_that_is_taken_takes_tcp_with_it(log: OpeningLog) -> None:
    log.take(read(entry(True), entry(False, "UTP")))
    assert log.listening([VPN], BOTH) is False


def test_a_failure_on_every_address_is_one_on_the_vpns(log: OpeningLog) -> None:
    log.take(read(entry(False, address="0.0.0.0")))
    assert log.listening([VPN], BOTH) is False
    assert log.failure([VPN]) == "of 0.0.0.0"


def test_a_success_of_every_address_is_none_of_the_vpns(log: OpeningLog) -> None:
    """As behind a proxy for peers, where only `UTP/… 0.0.0.0` is logged."""
    log.take(read(entry(True, "UTP", "0.0.0.0")))
    assert log.listening([VPN], BOTH) is None


@pytest.mark.parametrize(("protocol", "answer"), [("TCP", None), ("UTP", True)])
def test_where_only_utp_is_spoken_udp_decides(
    log: OpeningLog, protocol: Literal["TCP", "UTP"], answer: bool | None
) -> None:
    log.take(read(entry(True, protocol)))
    assert log.listening([VPN], UTP_ONLY) is answer


def test_a_success_ages_and_a_failure_holds(log: OpeningLog) -> None:
    log.take(read(entry(True)))
    log.age()
    assert log.listening([VPN], BOTH) is None
    log.take(read(entry(True)))
    assert log.listening([VPN], BOTH) is True
    log.take(read(entry(False)))
    log.age()
    assert log.listening([VPN], BOTH) is False


@pytest.mark.parametrize("log_now", [read(continues=False), None], ids=["another's", "unreadable"])
def test_another_process_or_an_unreadable_log_leaves_nothing_known(
    log: OpeningLog, log_now: ListenLog | None
) -> None:
    log.take(read(entry(False)))
    log.take(log_now)
    assert log.listening([VPN], BOTH) is None


def test_what_was_logged_before_an_opening_says_nothing_of_it(log: OpeningLog) -> None:
    log.take(read(entry(True)))
    log.forget()
    assert log.listening([VPN], BOTH) is None


def test_one_of_the_vpns_addresses_is_enough(log: OpeningLog) -> None:
    log.take(read(entry(True), entry(False, address="10.2.0.3")))
    assert log.listening([ip_address("10.2.0.3"), VPN], BOTH) is True


def test_tcp_alone_is_told(log: OpeningLog) -> None:
    log.take(read(entry(True)))
    assert log.without_udp([VPN])
    log.take(read(entry(True, "UTP")))
    assert not log.without_udp([VPN])


def test_a_tcp_port_that_another_program_has_is_not_told_as_a_missing_udp_one(
    log: OpeningLog,
) -> None:
    log.take(read(entry(False)))
    assert not log.without_udp([VPN])
