"""The section on qBittorrent: its WebUI, and the settings that a forwarded port depends on."""

import contextlib
from collections.abc import Iterator

from qsticky.check import remedies, running_daemon, webui_probe
from qsticky.check.facts import Facts
from qsticky.check.findings import Finding, Section
from qsticky.config import Config, bracketed
from qsticky.errors import ErrorKind, Reason, ServiceError, SyncError
from qsticky.services import words
from qsticky.services.factory import make_qbittorrent
from qsticky.services.http import unobserved
from qsticky.services.login_limit import Credentials, LoginLimit
from qsticky.services.qbittorrent import ConnectionStatus, Preferences, QBittorrent
from qsticky.sync.listener import DISCONNECTED_FOR
from qsticky.sync.settings import port_conflict

SECTION = Section("qBittorrent")


def webui(facts: Facts) -> Iterator[Finding]:
    """Log in where that is safe, and read what a forwarded port depends on."""
    limit = _OneLogin(facts)
    qbittorrent = make_qbittorrent(facts.config, unobserved, limit)
    try:
        version = qbittorrent.version()
    except SyncError as error:
        yield from _locked_out(facts, error)
        yield SECTION.skipped("rest", "Not tried: its port, UPnP, binding and connection")
        return
    facts.qbittorrent = qbittorrent
    yield from _answers(facts.config, f"qBittorrent {version}")
    yield SECTION.ok("authentication", _let_in_by(facts.config, limit))
    facts.preferences = qbittorrent.preferences()
    yield from _preferences(facts, facts.preferences)
    yield _connection(facts, qbittorrent)


def log_out(facts: Facts) -> None:
    """End the session of this check's own, if there is one."""
    if facts.qbittorrent:
        with contextlib.suppress(SyncError):
            facts.qbittorrent.log_out()


def _answers(config: Config, name: str = "qBittorrent") -> Iterator[Finding]:
    yield SECTION.ok("webui", f"{name} at {config.qbittorrent_url} answers")
    host = f"{bracketed(config.qbittorrent_host)}:{config.qbittorrent_port}"
    yield SECTION.ok("host_header", f"It takes the Host header {host}")


def _locked_out(facts: Facts, error: SyncError) -> Iterator[Finding]:
    """Tell what was refused, and what helps."""
    config, withheld = facts.config, isinstance(error, _WithheldError)
    if isinstance(error, ServiceError) and error.kind is not ErrorKind.UNAUTHORIZED:
        reach = webui_probe.remedies_for_no_answer(error, facts)
        check = "webui"
        if error.kind in _FOREIGN and webui_probe.is_qbittorrent(config):
            yield from _answers(config)
            check = "authentication"  # what is in front refuses the login alone
        yield SECTION.failed(check, str(error), *reach)
        return
    if not withheld and words.is_unauthorized(webui_probe.ask(config)):
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
        correct = remedies.api_key(facts)
    if Reason.QBITTORRENT_BANNED in (error.reason, daemon_was_told):
        correct = (*correct, remedies.lift_the_ban(facts))
    yield SECTION.failed("authentication", str(error), *correct)


def _preferences(facts: Facts, preferences: Preferences) -> Iterator[Finding]:
    name = facts.config.vpn_interface
    yield _listen_port(facts, preferences)
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


def _listen_port(facts: Facts, preferences: Preferences) -> Finding:
    check, port, forwarded = "listen_port", preferences.listen_port, facts.forwarded_port
    if forwarded is None:
        return SECTION.ok(check, f"Its listening port is {port}")
    if conflict := port_conflict(forwarded, preferences.web_ui_port, _metrics_port(facts)):
        facts.another_server_s = True
        return SECTION.failed(check, conflict)
    if forwarded == port:
        return SECTION.ok(check, f"Its listening port is {port}, the forwarded one")
    when = "within CHECK_INTERVAL" if facts.document else "once it runs"
    change = f"Its listening port is {port}, and qSticky sets {forwarded} {when}"
    return SECTION.ok(check, change)


def _metrics_port(facts: Facts) -> int | None:
    """Return METRICS_PORT, where it is served on the VPN's address too."""
    facts.vpn.observe()
    found, address = facts.vpn.found, facts.config.metrics_address
    on_all = address in ("0.0.0.0", "::")
    covers = found and (on_all or address in map(str, found.addresses))
    return facts.config.metrics_port if covers else None


def _connection(facts: Facts, qbittorrent: QBittorrent) -> Finding:
    # 4.6.7 and later say `disconnected` for up to 1.5 s without cause.
    facts.transfer = facts.observe_twice(
        DISCONNECTED_FOR,
        qbittorrent.transfer_info,
        lambda told: told.connection_status is ConnectionStatus.DISCONNECTED,
    )
    check, status = "connection", facts.transfer.connection_status
    if status is ConnectionStatus.DISCONNECTED:
        nothing = "It says disconnected: it has no socket at all"
        return SECTION.failed(check, nothing, *remedies.rebind(facts))
    if status is ConnectionStatus.CONNECTED:
        once = "It says connected: a peer came in at least once since its sockets were opened"
        return SECTION.ok(check, once)
    if status is ConnectionStatus.FIREWALLED:
        return SECTION.unknown(
            check,
            "It says firewalled: no peer came in since its sockets were opened, which proves "
            "nothing without active torrents",
        )
    return SECTION.unknown(check, "It tells a connection status that is not known here")


def _let_in_by(config: Config, limit: "_OneLogin") -> str:
    if config.qbittorrent_api_key:
        return "QBITTORRENT_API_KEY is accepted"
    if limit.spent:
        return (
            "QBITTORRENT_USER and QBITTORRENT_PASS are accepted, by a login of this check's own "
            "that is ended again"
        )
    return (
        "It lets this address in without a login, so that QBITTORRENT_USER and QBITTORRENT_PASS "
        "were not tried"
    )


class _WithheldError(SyncError):
    """No login was tried, for it could do harm."""


class _OneLogin(LoginLimit):
    """Permits one login, and none where a running qSticky was refused: it may have tried four."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts.clock)
        self._facts = facts
        self.spent = False

    def check(self, credentials: Credentials) -> None:  # noqa: ARG002 - whichever they are
        """Raise unless a login can be tried that brings no ban."""
        why_not = running_daemon.why_no_login(self._facts)
        if self.spent:
            why_not = "this check had its one login"
        if why_not:
            raise _WithheldError(
                Reason.QBITTORRENT_UNAUTHORIZED,
                f"No login was tried, as refused ones bring a ban: {why_not}",
            )
        self.spent = True

    def plan(self, pause: float) -> str:
        """Tell what comes after a refusal."""
        if pause == self._BAN_PAUSE:
            return "this check tried once"
        beside = ""
        if self._facts.document:
            beside = " beside the running qSticky, which tries four when its session ends"
        return (
            f"this check tried once{beside}; the fifth refusal in a row bans this address for an "
            "hour, or an earlier one where qBittorrent is set so"
        )


_FOREIGN = (ErrorKind.INVALID_RESPONSE, ErrorKind.HTTP_STATUS)
