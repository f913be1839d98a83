"""The section on qBittorrent: its WebUI, and the settings that a forwarded port depends on."""

import contextlib
from collections.abc import Iterator

from qsticky.check import remedies, running_daemon, webui_probe
from qsticky.check.facts import Facts
from qsticky.check.findings import Finding, Section
from qsticky.config import Config, bracketed
from qsticky.errors import ErrorKind, Reason, ServiceError, SyncError
from qsticky.services.factory import make_qbittorrent
from qsticky.services.http import unobserved
from qsticky.services.qbittorrent import (
    Authentication,
    ConnectionStatus,
    Credentials,
    LoginLimit,
    Preferences,
    QBittorrent,
)
from qsticky.sync.rebind import DISCONNECTED_FOR

SECTION = Section("qBittorrent")


def webui(facts: Facts) -> Iterator[Finding]:
    """Log in where that is safe, and read what a forwarded port depends on."""
    qbittorrent = make_qbittorrent(facts.config, unobserved, _OneLogin(facts))
    try:
        version = qbittorrent.version()
    except SyncError as error:
        yield from _locked_out(facts, error)
        yield SECTION.skipped("rest", "Not tried: its port, UPnP, binding and connection")
        return
    try:
        yield from _answers(facts.config, f"qBittorrent {version}")
        yield SECTION.ok("authentication", _AUTHENTICATED[qbittorrent.authentication])
        facts.preferences = qbittorrent.preferences()
        yield from _preferences(facts, facts.preferences)
        yield _connection(facts, qbittorrent)
    finally:
        with contextlib.suppress(SyncError):
            qbittorrent.log_out()


def _answers(config: Config, name: str = "qBittorrent") -> Iterator[Finding]:
    yield SECTION.ok("webui", f"{name} at {config.qbittorrent_url} answers")
    host = f"{bracketed(config.qbittorrent_host)}:{config.qbittorrent_port}"
    yield SECTION.ok("host_header", f"It takes the Host header {host}")


def _locked_out(facts: Facts, error: SyncError) -> Iterator[Finding]:
    """Tell what was refused, and what helps."""
    config, withheld = facts.config, isinstance(error, _WithheldError)
    if isinstance(error, ServiceError) and error.kind is not ErrorKind.UNAUTHORIZED:
        reach = webui_probe.remedies_for_no_answer(error, facts)
        yield SECTION.failed("webui", str(error), *reach)
        return
    if not withheld and webui_probe.status(config) == 401:
        answers, _ = _answers(config)
        yield answers
        accept = webui_probe.remedies_for_the_host_header(facts)
        yield SECTION.failed("host_header", str(error), *accept)
        return
    yield from _answers(config)
    daemon_was_told = running_daemon.refusal(facts)
    if withheld and not daemon_was_told:
        yield SECTION.skipped("authentication", str(error))
        return
    correct = remedies.password(facts)
    if config.qbittorrent_api_key:
        correct = (remedies.API_KEY,)
    if Reason.QBITTORRENT_BANNED in (error.reason, daemon_was_told):
        correct = (*correct, remedies.lift_the_ban(facts))
    yield SECTION.failed("authentication", str(error), *correct)


def _preferences(facts: Facts, preferences: Preferences) -> Iterator[Finding]:
    port, forwarded, name = (
        preferences.listen_port,
        facts.forwarded_port,
        facts.config.vpn_interface,
    )
    if forwarded in (None, port):
        same = ", the forwarded one" if forwarded else ""
        yield SECTION.ok("listen_port", f"Its listening port is {port}{same}")
    else:
        when = "within CHECK_INTERVAL" if facts.document else "once it runs"
        change = f"Its listening port is {port}, and qSticky sets {forwarded} {when}"
        yield SECTION.ok("listen_port", change)
    if preferences.random_port:
        random = "It listens on a random port, until qSticky sets one"
        yield SECTION.warning("random_port", random)
    else:
        yield SECTION.ok("random_port", "It doesn't choose a random port")
    if preferences.upnp:
        upnp = "UPnP is on, which a forwarded port doesn't need"
        yield SECTION.warning("upnp", upnp, remedies.NO_UPNP)
    else:
        yield SECTION.ok("upnp", "UPnP is off")
    if preferences.interface == name:
        yield SECTION.ok("binding", f"It is bound to {name}")
    else:
        yield SECTION.warning(
            "binding",
            f"It is bound to {preferences.interface or 'no interface'}; bound to the VPN's, "
            "its sockets outlast a restart of the VPN (since 4.6), and nothing of it could "
            "leave by another network, should Gluetun's firewall ever be off",
            remedies.bind(name),
        )


def _connection(facts: Facts, qbittorrent: QBittorrent) -> Finding:
    # 4.6.7 and later say `disconnected` for up to 1.5 s without cause.
    status = facts.look_twice(
        DISCONNECTED_FOR,
        lambda: qbittorrent.transfer_info().connection_status,
        lambda status: status is ConnectionStatus.DISCONNECTED,
    )
    if status is ConnectionStatus.DISCONNECTED:
        nothing = "It is disconnected, with no socket at all"
        return SECTION.failed("connection", nothing, *remedies.reopen(facts))
    return SECTION.ok("connection", _CONNECTED[status])


class _WithheldError(SyncError):
    """No login was tried, for it could do harm."""


class _OneLogin(LoginLimit):
    """Permits one login, and none where a running qSticky was refused: it may have tried four."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts.clock)
        self._facts = facts
        self._spent = False

    def check(self, credentials: Credentials) -> None:  # noqa: ARG002 - whichever they are
        """Raise unless a login can be tried that brings no ban."""
        why_not = running_daemon.why_no_login(self._facts)
        if self._spent:
            why_not = "this check had its one login"
        if why_not:
            raise _WithheldError(
                Reason.QBITTORRENT_UNAUTHORIZED,
                f"No login was tried, as the fifth refused one would bring a ban: {why_not}",
            )
        self._spent = True

    def plan(self, pause: float | None) -> str:  # noqa: ARG002 - there is no other try
        """Tell what comes after a refusal."""
        return "this check tried once; the fifth refusal in a row bans this address for an hour"


_AUTHENTICATED = {
    Authentication.API_KEY: "QBITTORRENT_API_KEY is accepted",
    Authentication.PASSWORD: "QBITTORRENT_USER and QBITTORRENT_PASS are accepted, by a login of "
    "this check's own that is ended again",
    Authentication.BYPASS: "It lets this address in without a login, so that QBITTORRENT_USER and "
    "QBITTORRENT_PASS were not tried",
}
_CONNECTED = {
    ConnectionStatus.CONNECTED: "It is connected: peers came in",
    ConnectionStatus.FIREWALLED: "It is firewalled: it listens, and no peer came in yet, which "
    "says little without active torrents",
    None: "It tells a connection status that is not known here",
}
