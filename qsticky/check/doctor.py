"""`qsticky check`: tries the whole configuration once, changes nothing, and tells what it found."""

import contextlib
import errno
import json
import os
import re
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from io import TextIOWrapper
from pathlib import Path

from qsticky import HOME, config
from qsticky.check import findings, remedies
from qsticky.check import webui_probe as ways_in
from qsticky.check.findings import Finding, Remedy, Section, Verdict
from qsticky.check.running_daemon import Neighbour
from qsticky.clock import Clock, SystemClock
from qsticky.config import AuthType, Config, bracketed, is_loopback
from qsticky.errors import ConfigurationError, ErrorKind, Reason, ServiceError, SyncError
from qsticky.files import open_at_once
from qsticky.kernel import netlink
from qsticky.services.factory import make_gluetun, make_qbittorrent
from qsticky.services.gluetun import PUBLIC_IP, RoleError, Route, no_port_at
from qsticky.services.http import unobserved
from qsticky.services.qbittorrent import (
    Authentication,
    ConnectionStatus,
    Credentials,
    LoginLimit,
    Preferences,
    QBittorrent,
)
from qsticky.sync.listening import DISCONNECTED_FOR, Kernel, Lookout

CONFIGURATION = Section("Configuration")
GLUETUN = Section("Gluetun")
QBITTORRENT = Section("qBittorrent")
LISTENING = Section("Listening")
QSTICKY = Section("qSticky")

_SECOND_LOOK = 1.0


def main(as_json: bool) -> int:
    """Check, write what was found, and return the exit code: 0 all holds, 1 not, 2 mistakes."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _check(as_json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # nobody reads on, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _check(as_json: bool) -> int:
    try:
        settings = config.load()
    except ConfigurationError as error:
        _show([CONFIGURATION.failed("mistake", text) for text in error.mistakes], as_json)
        return 2
    shown = _show(Doctor(settings).findings(), as_json)
    return 1 if any(finding.verdict is Verdict.FAILED for finding in shown) else 0


def _show(found: Iterable[Finding], as_json: bool) -> list[Finding]:
    if not as_json:
        return findings.write(found, sys.stdout)
    found = list(found)
    print(json.dumps(findings.document(found), indent=2))
    return found


class Doctor:
    """Examines one configuration, once. Each check yields what it finds, and later ones use it."""

    def __init__(
        self, config: Config, clock: Clock | None = None, kernel: Kernel = netlink
    ) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._neighbour = Neighbour(config, QSTICKY, self._clock)
        self._gluetun = make_gluetun(config, unobserved)
        self._lookout = Lookout(
            config.vpn_interface, beside=is_loopback(config.qbittorrent_host), kernel=kernel
        )
        self._ports: tuple[int, ...] | None = None
        self._forwarded_port: int | None = None
        self._current_port: int | None = None

    def findings(self) -> Iterator[Finding]:
        """Run every check, and yield the findings in the order of their sections."""
        # Before qBittorrent is asked, for a running daemon's word decides whether a login is safe.
        neighbours = [f for check in self._neighbour.checks for f in _guarded(QSTICKY, check)]
        yield from _guarded(CONFIGURATION, self._settings)
        yield from _guarded(GLUETUN, self._control_server)
        yield from _guarded(GLUETUN, self._port_file)
        yield from _guarded(QBITTORRENT, self._webui)
        yield from _guarded(LISTENING, self._listener)
        yield from neighbours

    def _settings(self) -> Iterator[Finding]:
        set_ones = config.settings(self._config)
        for setting in set_ones:
            value = " is set" if setting.text is None else f"={setting.text}"
            yield CONFIGURATION.ok("setting", f"{setting.name}{value} ({setting.source})")
        rest = len(fields(Config)) - len(set_ones)
        which = "The other" if set_ones else "All"
        yield CONFIGURATION.ok("defaults", f"{which} {rest} variables have their defaults")
        for sentence in config.misspelt():
            yield CONFIGURATION.warning("misspelt", sentence)
        for warning in self._config.warnings():
            yield CONFIGURATION.warning("advice", warning)

    # Gluetun

    def _control_server(self) -> Iterator[Finding]:
        config = self._config
        answers = f"Gluetun's control server at {config.gluetun_url} answers"
        try:
            self._ports = self._gluetun.forwarded_ports()
        except RoleError as error:
            yield GLUETUN.ok("control_server", answers)
            permit = remedies.permit_the_port(config, error.lacks)
            yield GLUETUN.failed("route", str(error), *permit)
        except ServiceError as error:
            dead = is_loopback(config.gluetun_host) and self._lookout.interface() is None
            away = remedies.address("gluetun", 8000, config, recreated=dead)
            yield GLUETUN.failed("control_server", str(error), *(away if error.gone else ()))
        if self._ports is None:
            yield GLUETUN.skipped("rest", "Not tried: its forwarded port and public address")
            return
        route = self._gluetun.route
        yield GLUETUN.ok("control_server", answers)
        yield GLUETUN.ok("credential", _credential(config))
        yield GLUETUN.ok(
            "route", f"{route.in_a_role} is permitted, the route of Gluetun {_VERSIONS[route]}"
        )
        yield self._port(self._ports)
        yield self._public_ip(route)

    def _port(self, ports: tuple[int, ...]) -> Finding:
        check, index = "forwarded_port", self._config.gluetun_port_index
        if not ports:
            none = "Gluetun has no forwarded port now; a VPN that just started may need a minute"
            return GLUETUN.failed(check, none, *remedies.FORWARD_A_PORT)
        if index > len(ports):
            fewer = remedies.for_qsticky(f"GLUETUN_PORT_INDEX={len(ports)}")
            return GLUETUN.failed(check, str(no_port_at(index, len(ports))), fewer)
        self._forwarded_port = ports[index - 1]
        which = f", number {index} of {len(ports)}" if len(ports) > 1 else ""
        return GLUETUN.ok(check, f"The forwarded port is {self._forwarded_port}{which}")

    def _public_ip(self, route: Route) -> Finding:
        check, name = "public_ip", self._lookout.name
        if self._gluetun.public_ip():
            return GLUETUN.ok(check, f"GET {PUBLIC_IP} is permitted too (optional)")
        if not self._gluetun.public_ip_refused:
            return GLUETUN.skipped(check, f"GET {PUBLIC_IP} tells no address now (optional)")
        refused = f"GET {PUBLIC_IP} is not permitted (optional)"
        if self._lookout.visible_interface():
            return GLUETUN.skipped(check, f"{refused}, and of no use where {name} is visible")
        return GLUETUN.warning(
            check,
            f"{refused}; with it a changed public address tells that the VPN reconnected, which "
            f"can't be seen where {name} isn't visible",
            *remedies.permit_the_public_ip(self._config, route),
        )

    def _port_file(self) -> Iterator[Finding]:
        check, path = "port_file", self._config.gluetun_port_file
        if path is None:
            yield GLUETUN.skipped(
                check,
                "GLUETUN_PORT_FILE is not set; with it a change is seen at once (optional)",
            )
            return
        try:
            with open_at_once(path) as file:
                age = _ago(self._clock.now() - os.fstat(file.fileno()).st_mtime)
        except OSError as error:
            # Up to 3.40.0, Gluetun deletes it while it has no port.
            if error.errno == errno.ENOENT and self._ports == () and path.parent.is_dir():
                yield GLUETUN.ok(check, f"{path} is not there, as Gluetun has no port")
            else:
                mount = remedies.mount_the_port_file(path)
                yield GLUETUN.failed(check, f"{path} can't be read ({error.strerror})", *mount)
            return
        ports, index = self._gluetun.ports_in_file(), self._config.gluetun_port_index
        port = ports[index - 1] if index <= len(ports) else None
        has = f"{path} has {'no port' if port is None else f'port {port}'}"
        if self._ports is None and port:
            yield GLUETUN.ok(check, f"{has} ({age}), used while Gluetun doesn't tell its own")
        elif self._ports is not None and port == self._forwarded_port:
            yield GLUETUN.ok(check, f"{has} too ({age})")
        elif port is None:
            mount = remedies.mount_the_port_file(path)
            yield GLUETUN.failed(check, f"{has} in it ({age})", *mount)
        else:
            yield GLUETUN.warning(
                check,
                f"{has} ({age}), which is not what Gluetun's control server tells, and "
                "that counts; the file is an old one, or not Gluetun's",
            )

    # qBittorrent

    def _webui(self) -> Iterator[Finding]:
        limit = _OneLogin(self._clock, self._neighbour)
        qbittorrent = make_qbittorrent(self._config, unobserved, limit)
        try:
            version = qbittorrent.version()
        except SyncError as error:
            yield from self._locked_out(error)
            yield QBITTORRENT.skipped("rest", "Not tried: its port, UPnP, binding and connection")
            return
        try:
            yield from self._doors(f"qBittorrent {version}")
            yield QBITTORRENT.ok("authentication", _AUTHENTICATED[qbittorrent.authentication])
            preferences = qbittorrent.preferences()
            self._current_port = preferences.listen_port
            yield from self._preferences(preferences)
            yield self._connection(qbittorrent)
        finally:
            with contextlib.suppress(SyncError):
                qbittorrent.log_out()

    def _doors(self, name: str = "qBittorrent") -> Iterator[Finding]:
        config = self._config
        yield QBITTORRENT.ok("webui", f"{name} at {config.qbittorrent_url} answers")
        host = f"{bracketed(config.qbittorrent_host)}:{config.qbittorrent_port}"
        yield QBITTORRENT.ok("host_header", f"It takes the Host header {host}")

    def _locked_out(self, error: SyncError) -> Iterator[Finding]:
        """Tell at which door it ended, and what opens it."""
        config, withheld = self._config, isinstance(error, _WithheldError)
        if isinstance(error, ServiceError) and error.kind is not ErrorKind.UNAUTHORIZED:
            yield QBITTORRENT.failed("webui", str(error), *ways_in.past(error, config))
            return
        if not withheld and ways_in.status(config) == 401:
            answers, _ = self._doors()
            yield answers
            known = ways_in.past_the_host_check(config)
            yield QBITTORRENT.failed("host_header", str(error), *known)
            return
        yield from self._doors()
        if withheld and not self._neighbour.refused_for:
            yield QBITTORRENT.skipped("authentication", str(error))
            return
        correct = remedies.password(config)
        if config.qbittorrent_api_key:
            correct = (remedies.API_KEY,)
        if Reason.QBITTORRENT_BANNED in (error.reason, self._neighbour.refused_for):
            correct = (*correct, remedies.LIFT_THE_BAN)
        yield QBITTORRENT.failed("authentication", str(error), *correct)

    def _preferences(self, preferences: Preferences) -> Iterator[Finding]:
        port, forwarded, name = preferences.listen_port, self._forwarded_port, self._lookout.name
        if forwarded in (None, port):
            same = ", the forwarded one" if forwarded else ""
            yield QBITTORRENT.ok("listen_port", f"Its listening port is {port}{same}")
        else:
            when = "within CHECK_INTERVAL" if self._neighbour.document else "once it runs"
            change = f"Its listening port is {port}, and qSticky sets {forwarded} {when}"
            yield QBITTORRENT.ok("listen_port", change)
        if preferences.random_port:
            random = "It listens on a random port, until qSticky sets one"
            yield QBITTORRENT.warning("random_port", random)
        else:
            yield QBITTORRENT.ok("random_port", "It doesn't choose a random port")
        if preferences.upnp:
            upnp = "UPnP is on, which a forwarded port doesn't need"
            yield QBITTORRENT.warning("upnp", upnp, remedies.NO_UPNP)
        else:
            yield QBITTORRENT.ok("upnp", "UPnP is off")
        if preferences.interface == name:
            yield QBITTORRENT.ok("binding", f"It is bound to {name}")
        else:
            yield QBITTORRENT.warning(
                "binding",
                f"It is bound to {preferences.interface or 'no interface'}; bound to the VPN's, "
                "its sockets outlast a restart of the VPN (since 4.6), and nothing of it could "
                "leave by another network, should Gluetun's firewall ever be off",
                remedies.bind(name),
            )

    def _connection(self, qbittorrent: QBittorrent) -> Finding:
        status = qbittorrent.connection_status()
        if status is ConnectionStatus.DISCONNECTED:
            # 4.6.7 and later say so for up to 1.5 s without cause.
            self._clock.wait(threading.Event(), DISCONNECTED_FOR)
            status = qbittorrent.connection_status()
        if status is ConnectionStatus.DISCONNECTED:
            nothing = "It is disconnected, with no socket at all"
            return QBITTORRENT.failed("connection", nothing, *remedies.reopen(self._lookout.name))
        return QBITTORRENT.ok("connection", _CONNECTED[status])

    # Listening

    def _listener(self) -> Iterator[Finding]:
        name, port = self._lookout.name, self._current_port
        if not is_loopback(self._config.qbittorrent_host):
            yield LISTENING.skipped(
                "interface",
                "qBittorrent is not at a loopback address, so that its sockets can't be seen",
            )
            return
        interface = self._lookout.interface()
        if interface is None:
            yield self._missing_interface()
            return
        if not interface.usable:
            down = f"{name} is there, but down or without an address: the VPN is not up"
            yield LISTENING.failed("interface", down, remedies.LOG_OF_GLUETUN)
            return
        addresses = ", ".join(map(str, interface.addresses))
        yield LISTENING.ok("interface", f"The VPN's interface {name} is visible, with {addresses}")
        if port is None:
            yield LISTENING.skipped("socket", "Its socket: qBittorrent's port is not known")
            return
        look = self._lookout.look(port)
        if look.listening is False:  # it comes back by itself within 20 ms, or not at all
            self._clock.wait(threading.Event(), _SECOND_LOOK)
            look = self._lookout.look(port)
        if look.listening:
            yield LISTENING.ok("socket", f"A socket listens on it with port {port}")
        elif look.listening is None:
            yield LISTENING.skipped("socket", "Its sockets: the kernel doesn't tell them")
        else:
            missing = f"qBittorrent has port {port} and no socket on {name} for it"
            yield LISTENING.failed("socket", missing, *remedies.reopen(name))

    def _missing_interface(self) -> Finding:
        name = self._lookout.name
        none = f"There is no interface {name} here"
        for _, other in socket.if_nameindex():
            if re.match("tun|tap|wg|ppp", other):
                set_it = remedies.for_qsticky(f"VPN_INTERFACE={other}")
                return LISTENING.warning("interface", f"{none}, but {other}", set_it)
        return LISTENING.skipped(
            "interface",
            f"{none}, which is right where qSticky doesn't share Gluetun's network; where it does, "
            "the VPN is down",
        )


class _WithheldError(SyncError):
    """No login was tried, for it could do harm."""


class _OneLogin(LoginLimit):
    """Permits one login, and none where a running qSticky was refused: it may have tried four."""

    def __init__(self, clock: Clock, neighbour: Neighbour) -> None:
        super().__init__(clock)
        self._neighbour = neighbour
        self._spent = False

    def check(self, credentials: Credentials) -> None:  # noqa: ARG002 - whichever they are
        """Raise unless a login can be tried that brings no ban."""
        why_not = "this check had its one login" if self._spent else self._neighbour.why_no_login
        if why_not:
            raise _WithheldError(
                Reason.QBITTORRENT_UNAUTHORIZED,
                f"No login was tried, as the fifth refused one would bring a ban: {why_not}",
            )
        self._spent = True

    def plan(self, pause: float | None) -> str:  # noqa: ARG002 - there is no other try
        """Tell what comes after a refusal."""
        return "this check tried once; the fifth refusal in a row bans this address for an hour"


def _guarded(section: Section, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except SyncError as error:
        yield section.failed("answer", str(error))
    except Exception as error:  # noqa: BLE001 - the others are worth trying, whatever it is
        # Not the error's text, which can hold anything.
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
        mistake = f"A check failed by a mistake of qSticky's own ({place})"
        yield section.failed("internal", mistake, Remedy("Report it at", (f"{HOME}/issues",)))


def _credential(config: Config) -> str:
    if config.gluetun_auth_type is AuthType.BASIC:
        return "GLUETUN_USERNAME and GLUETUN_PASSWORD are accepted"
    if config.gluetun_auth_type is AuthType.APIKEY and config.gluetun_apikey:
        return "GLUETUN_APIKEY is accepted"
    return "It asks for no credential"


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"


_VERSIONS = {Route.SINCE_3_41: "3.41 and later", Route.UP_TO_3_40: "up to 3.40"}
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
