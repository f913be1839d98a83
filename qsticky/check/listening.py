"""The section on the VPN's interface, and the socket that listens on it."""

import re
import socket
from collections.abc import Iterator

from qsticky.check import remedies
from qsticky.check.facts import Facts
from qsticky.check.findings import Finding, Section
from qsticky.config import is_loopback
from qsticky.kernel import netlink
from qsticky.kernel.netlink import Interface

SECTION = Section("Listening")

_SECOND_LOOK = 1.0  # a socket comes back by itself within 20 ms, or not at all


def listener(facts: Facts) -> Iterator[Finding]:
    """Look for the VPN's interface, and for a socket on it."""
    name = facts.config.vpn_interface
    if not is_loopback(facts.config.qbittorrent_host):
        elsewhere = "qBittorrent is not at a loopback address, so that its sockets can't be seen"
        yield SECTION.skipped("interface", elsewhere)
        return
    found = interface(facts)
    if found is None:
        yield _missing_interface(facts)
        return
    if not found.usable:
        down = f"{name} is there, but down or without an address: the VPN is not up"
        yield SECTION.failed("interface", down, remedies.log_of_gluetun(facts))
        return
    addresses = ", ".join(map(str, found.addresses))
    yield SECTION.ok("interface", f"The VPN's interface {name} is visible, with {addresses}")
    yield _socket(facts)


def interface(facts: Facts) -> Interface | None:
    """The VPN's interface; None also where the kernel refuses to tell."""
    try:
        return facts.kernel.interface(facts.config.vpn_interface)
    except OSError:
        return None


def visible_interface(facts: Facts) -> Interface | None:
    """The VPN's interface, if qBittorrent's sockets on it can be seen from here."""
    found = interface(facts) if is_loopback(facts.config.qbittorrent_host) else None
    return found if found and found.usable else None


def _socket(facts: Facts) -> Finding:
    check, name = "socket", facts.config.vpn_interface
    if facts.preferences is None:
        return SECTION.skipped(check, "Its socket: qBittorrent's port is not known")
    port = facts.preferences.listen_port
    listens = facts.look_twice(
        _SECOND_LOOK, lambda: _listens(facts, port), lambda listens: listens is False
    )
    if listens:
        return SECTION.ok(check, f"A socket listens on it with port {port}")
    if listens is None:
        return SECTION.skipped(check, "Its sockets: the kernel doesn't tell them")
    missing = f"qBittorrent has port {port} and no socket on {name} for it"
    return SECTION.failed(check, missing, *remedies.reopen(facts))


def _listens(facts: Facts, port: int) -> bool | None:
    found = visible_interface(facts)
    if found is None or not 1 <= port <= 65535:  # qBittorrent stores any number
        return None
    try:
        return netlink.listens(facts.kernel.sockets(port).listeners, found)
    except OSError:
        return None


def _missing_interface(facts: Facts) -> Finding:
    none = f"There is no interface {facts.config.vpn_interface} here"
    for _, other in socket.if_nameindex():
        if re.match("tun|tap|wg|ppp", other):
            set_it = remedies.for_qsticky(facts, f"VPN_INTERFACE={other}")
            return SECTION.warning("interface", f"{none}, but {other}", set_it)
    return SECTION.skipped(
        "interface",
        f"{none}, which is right where qSticky doesn't share Gluetun's network; where it does, "
        "the VPN is down",
    )
