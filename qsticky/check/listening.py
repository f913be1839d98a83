"""The section on whether peers can connect: the VPN's interface, the sockets, who came in."""

import re
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from qsticky.check import gluetun_remedies, remedies
from qsticky.check.facts import Facts
from qsticky.check.findings import Finding, Remedy, Section
from qsticky.config import is_loopback
from qsticky.kernel.netlink import Interface
from qsticky.services.qbittorrent import Preferences, QBittorrent
from qsticky.sync.listener import Listener, Listening
from qsticky.sync.report import ListeningBy
from qsticky.sync.sockets import Incoming

SECTION = Section("Listening")

_SECOND_LOOK = 1.0  # a socket comes back by itself within 20 ms, or not at all


def interface(facts: Facts) -> Iterator[Finding]:
    """See whether the VPN's interface is here, and in qBittorrent's network too."""
    check, name, vpn = "interface", facts.config.vpn_interface, facts.vpn
    vpn.observe()
    if not is_loopback(facts.config.qbittorrent_host):
        elsewhere = "qBittorrent is not at a loopback address, so that its sockets can't be seen"
        yield SECTION.skipped(check, elsewhere)
    elif vpn.found is None and not vpn.absent:
        refused = f"The kernel refuses to say whether there is an interface {name}"
        yield SECTION.unknown(check, refused)
    elif vpn.found is None:
        yield _missing(facts)
    elif not vpn.found.usable:
        down = f"{name} is there, but down or without an address: the VPN is not up"
        yield SECTION.failed(check, down, facts.place.log_of_gluetun)
    else:
        yield _usable(facts, vpn.found)


def sockets(facts: Facts) -> Iterator[Finding]:
    """Tell whether qBittorrent listens where the VPN's peers arrive, and who came in."""
    if facts.qbittorrent is None or facts.preferences is None:
        yield SECTION.skipped("socket", "Its socket: qBittorrent's port is not known")
        return
    listener = _listener(facts, facts.qbittorrent)
    found = _assessed(facts, listener, facts.preferences)
    if found.by is ListeningBy.SETTINGS:
        yield SECTION.failed("settings", *_with_remedy(found.problem or ""))
        return
    yield SECTION.ok("settings", "None of its settings shuts peers out")
    yield _socket(facts, found, facts.preferences.listen_port)
    if warning := listener.warning(facts.preferences):
        yield SECTION.warning("udp", warning)
    yield _incoming(facts, listener.incoming)
    port = facts.config.forwarded_port
    if port and not (listener.incoming.peers or facts.another_server_s):
        firewall = f"Whether Gluetun's firewall lets port {port} in can't be seen from here"
        yield SECTION.unknown(
            "firewall", firewall, *gluetun_remedies.open_the_firewall(facts, port)
        )


def address(facts: Facts) -> Iterator[Finding]:
    """Compare the address at which peers see qBittorrent with Gluetun's public one."""
    check = "external_address"
    told = facts.transfer.external_addresses if facts.transfer else ()
    gluetuns = ip_address(facts.public_address.address) if facts.public_address else None
    seen = next((one for one in told if gluetuns and one.version == gluetuns.version), None)
    if gluetuns is None:
        nothing = "Where peers see it can't be compared: Gluetun's public address is not known"
        yield SECTION.skipped(check, nothing)
    elif seen is None:
        nobody = "Where peers see it is not known: no peer told it yet, or it is older than 5.1"
        yield SECTION.skipped(check, nobody)
    elif seen == gluetuns:
        yield SECTION.ok(check, f"Peers see qBittorrent at Gluetun's public address {seen}")
    else:
        yield SECTION.warning(
            check,
            f"Peers last saw qBittorrent at {seen}, and Gluetun's public address is {gluetuns}: it "
            "may be from before the VPN reconnected; where it stays so for an hour, traffic "
            "leaves beside the VPN",
            remedies.bind(facts.config.vpn_interface),
        )


def port_check(facts: Facts) -> Iterator[Finding]:
    """Say whom PORT_CHECK_URL has asked, and what that tells them; it is not asked here."""
    check, url = "port_check", facts.config.port_check_url.reveal()
    if not url:
        return
    if facts.vpn.found is None:
        yield SECTION.skipped(
            check,
            f"PORT_CHECK_URL is not asked by qSticky, for there is no {facts.config.vpn_interface} "
            "here: asked from elsewhere, it would be told another address than the VPN's, and "
            "judge that",
        )
        return
    whom = urlsplit(url).hostname
    yield SECTION.ok(
        check,
        f"PORT_CHECK_URL has qSticky tell {whom} the forwarded port and, by asking, the VPN's "
        "public address, which it then dials; this check asks nobody",
    )


CHECKS = (interface, sockets, address, port_check)


def _usable(facts: Facts, found: Interface) -> Finding:
    addresses = ", ".join(map(str, found.addresses))
    if facts.qbittorrent is None or facts.preferences is None:
        there = f"There is {found.name}, with {addresses}; whether qBittorrent has it is not known"
        return SECTION.skipped("interface", there)
    qbittorrent = facts.qbittorrent
    facts.vpn.compare(qbittorrent.interface_addresses, qbittorrent.sockets_may_differ)
    if facts.vpn.visible is None:
        return SECTION.skipped(
            "interface",
            f"{found.name} is here, with {addresses}, which qBittorrent has not: it is in another "
            "network, so that its sockets can't be seen",
        )
    return SECTION.ok("interface", f"The VPN's interface {found.name} is visible, with {addresses}")


def _listener(facts: Facts, qbittorrent: QBittorrent) -> Listener:
    return Listener(
        qbittorrent,
        facts.vpn,
        webui_port=facts.config.qbittorrent_port,
        always_read=False,
        clock=facts.clock,
        stopping=threading.Event(),
    )


def _assessed(facts: Facts, listener: Listener, preferences: Preferences) -> Listening:
    port = preferences.listen_port

    def observed() -> Listening:
        facts.vpn.observe()
        listener.observe(port, preferences)
        return listener.assess(port, preferences)

    listener.read_log(port, preferences)
    return facts.observe_twice(
        _SECOND_LOOK,
        observed,
        lambda found: found.by is ListeningBy.KERNEL and found.listening is False,
    )


def _socket(facts: Facts, found: Listening, port: int) -> Finding:
    check, name = "socket", facts.config.vpn_interface
    if found.listening is False:
        return SECTION.failed(check, found.problem or "", *remedies.rebind(facts))
    if found.by is ListeningBy.KERNEL:
        return SECTION.ok(check, f"A socket of qBittorrent's listens on it with port {port}")
    if found.by is ListeningBy.QBITTORRENT:
        logged = f"qBittorrent logged that it listens on the VPN's address with port {port}"
        return SECTION.ok(check, logged)
    told = _told_by_the_daemon(facts, "listening")
    if isinstance(told, bool) and facts.document:
        by = facts.document["services"]["qbittorrent"].get("listening_by")
        listens = "listens" if told else "does not listen"
        finding = SECTION.ok if told else SECTION.failed
        return finding(check, f"The running qSticky knows that it {listens}, by {by}")
    return SECTION.unknown(
        check,
        f"Whether it listens with port {port} is not known: {name} can't be seen from here, and "
        "what it logged may be of before a restart of the VPN. A running qSticky knows, because it "
        "has it logged anew",
    )


def _incoming(facts: Facts, incoming: Incoming) -> Finding:
    check = "incoming"
    if incoming.peers is None:
        return SECTION.skipped(check, "Who came in can't be seen from here")
    if incoming.established:
        number = incoming.established
        are = "peer that came in is" if number == 1 else "peers that came in are"
        return SECTION.ok(check, f"{number} {are} connected now")
    if incoming.peers:
        return SECTION.ok(check, "A peer came in within the last minute")
    last = _told_by_the_daemon(facts, "last_incoming_connection")
    if isinstance(last, str):
        return SECTION.ok(check, f"No peer that came in is connected now; the last came at {last}")
    return SECTION.unknown(
        check,
        "No peer that came in is connected now, which proves nothing: there may be no active "
        "torrent, or only uTP",
    )


def _told_by_the_daemon(facts: Facts, name: str) -> object:
    return facts.document["services"]["qbittorrent"].get(name) if facts.document else None


def _with_remedy(sentence: str) -> tuple[str, Remedy]:
    """Part what is wrong from what to set in qBittorrent, which is the last part."""
    problem, _, what = sentence.rpartition("; ")
    verb, _, option = what.partition(" ")
    return problem, remedies.in_qbittorrent(verb, option)


def _missing(facts: Facts) -> Finding:
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
