"""The section on Gluetun: its control server, what its role permits, and the port file."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from qsticky.check import gluetun_remedies, remedies
from qsticky.check.facts import Facts
from qsticky.check.findings import Finding, Section
from qsticky.clock import in_words
from qsticky.config import AuthType, Config, is_loopback
from qsticky.errors import Reason, ServiceError
from qsticky.files import open_at_once
from qsticky.services import vpn_control
from qsticky.services.factory import make_gluetun, make_vpn_control
from qsticky.services.gluetun import PUBLIC_IP, Gluetun, no_port_at
from qsticky.services.gluetun_roles import RoleError
from qsticky.services.http import unobserved

SECTION = Section("Gluetun")


def control_server(facts: Facts) -> Iterator[Finding]:
    """Ask the control server for its ports, its version and its public address."""
    config = facts.config
    if config.forwarded_port:
        facts.forwarded_port = config.forwarded_port
        fixed = f"The forwarded port is {config.forwarded_port}, as FORWARDED_PORT says"
        yield SECTION.ok("forwarded_port", fixed)
        yield SECTION.skipped("rest", "Not asked: the control server, which a fixed port replaces")
        return
    gluetun = make_gluetun(config, unobserved)
    answers = f"Gluetun's control server at {config.gluetun_url} answers"
    try:
        facts.ports = gluetun.forwarded_ports()
    except RoleError as error:
        yield SECTION.ok("control_server", answers)
        yield SECTION.failed("route", str(error), *gluetun_remedies.permit_the_port(facts, error))
    except ServiceError as error:
        away = remedies.address(
            facts, "gluetun", 8000, absent=error.absent, recreated=_is_recreated(facts)
        )
        elsewhere = error.absent or error.reason is Reason.GLUETUN_INVALID_RESPONSE
        elsewhere = elsewhere or config.gluetun_port != 8000  # which another service may have
        yield SECTION.failed("control_server", str(error), *(away if elsewhere else ()))
    if facts.ports is None:
        yield SECTION.skipped("rest", "Not tried: its forwarded port and public address")
        return
    yield SECTION.ok("control_server", answers)
    yield _version(gluetun)
    yield SECTION.ok("credential", _credential(config, gluetun))
    facts.permits = (gluetun.route.in_a_role,)
    yield SECTION.ok("route", f"{gluetun.route.in_a_role} is permitted")
    yield _forwarded_port(facts, facts.ports)
    yield _public_ip(facts, gluetun)


def vpn_restart(facts: Facts) -> Iterator[Finding]:
    """See whether the VPN could be restarted, where that is asked for; this restarts nothing."""
    check, route = "vpn_restart", vpn_control.IN_A_ROLE
    if not facts.config.gluetun_restart_after or facts.ports is None:
        return
    try:
        make_vpn_control(facts.config, unobserved).check_permission()
    except RoleError as error:
        yield SECTION.failed(check, str(error), *gluetun_remedies.permit(facts, route))
    else:
        yield SECTION.ok(check, f"{route} is permitted, which GLUETUN_RESTART_AFTER needs")


def port_file(facts: Facts) -> Iterator[Finding]:
    """Read the port file, and compare it with what the control server told."""
    check, path, config = "port_file", facts.config.gluetun_port_file, facts.config
    if config.forwarded_port:
        return
    if path is None:
        not_set = "GLUETUN_PORT_FILE is not set; with it a change is seen at once (optional)"
        yield SECTION.skipped(check, not_set)
        return
    try:
        with open_at_once(path) as file:
            age = f"{in_words(facts.clock.now() - os.fstat(file.fileno()).st_mtime)} ago"
    except OSError as error:
        # Up to 3.40.0, Gluetun deletes it while it has no port.
        if error.errno == errno.ENOENT and facts.ports == () and path.parent.is_dir():
            yield SECTION.ok(check, f"{path} is not there, as Gluetun has no port")
        else:
            yield _unreadable(facts, path, error)
        return
    ports, index = make_gluetun(config, unobserved).ports_in_file(), config.gluetun_port_index
    port = ports[index - 1] if index <= len(ports) else None
    has = f"{path} has {'no port' if port is None else f'port {port}'}"
    if facts.ports is None and port:
        yield SECTION.ok(check, f"{has} ({age}), used while Gluetun doesn't tell its own")
    elif facts.ports is not None and port == facts.forwarded_port:
        yield SECTION.ok(check, f"{has} too ({age})")
    elif port is None:
        yield SECTION.failed(
            check, f"{has} in it ({age})", *gluetun_remedies.mount_the_port_file(facts, path)
        )
    else:
        yield SECTION.warning(
            check,
            f"{has} ({age}), which is not what Gluetun's control server tells, and "
            "that counts; the file is an old one, or not Gluetun's",
        )


def _unreadable(facts: Facts, path: Path, error: OSError) -> Finding:
    check, problem = "port_file", f"{path} can't be read ({error.strerror})"
    if isinstance(error, PermissionError):
        readable = gluetun_remedies.let_the_port_file_be_read(facts, path)
        return SECTION.failed(check, problem, *readable)
    return SECTION.failed(check, problem, *gluetun_remedies.mount_the_port_file(facts, path))


def _forwarded_port(facts: Facts, ports: tuple[int, ...]) -> Finding:
    check, index = "forwarded_port", facts.config.gluetun_port_index
    if not ports:
        none = "Gluetun has no forwarded port now; a VPN that just started may need a minute"
        return SECTION.failed(check, none, *gluetun_remedies.forward_a_port(facts))
    if index > len(ports):
        fewer = remedies.for_qsticky(facts, f"GLUETUN_PORT_INDEX={len(ports)}")
        return SECTION.failed(check, str(no_port_at(index, len(ports))), fewer)
    facts.forwarded_port = ports[index - 1]
    which = f", number {index} of {len(ports)}" if len(ports) > 1 else ""
    return SECTION.ok(check, f"The forwarded port is {facts.forwarded_port}{which}")


def _public_ip(facts: Facts, gluetun: Gluetun) -> Finding:
    check, route = "public_ip", f"GET {PUBLIC_IP}"
    facts.public_address = gluetun.public_address()
    if not gluetun.public_ip_refused:
        facts.permits = (*facts.permits, route)
    if facts.public_address:
        return SECTION.ok(check, f"{route} is permitted too (optional)")
    if not gluetun.public_ip_refused:
        return SECTION.skipped(check, f"{route} tells no address now (optional)")
    refused = f"{route} is not permitted (optional)"
    if _interface_is_here(facts):
        return SECTION.skipped(
            check, f"{refused}; with it, it could be compared with the address that peers see"
        )
    return SECTION.warning(
        check,
        f"{refused}; with it a changed public address tells that the VPN reconnected, which "
        f"can't be seen where {facts.config.vpn_interface} isn't visible",
        *gluetun_remedies.permit(facts, route),
    )


def _interface_is_here(facts: Facts) -> bool:
    facts.vpn.observe()
    found = facts.vpn.found
    return bool(found and found.usable and is_loopback(facts.config.qbittorrent_host))


def _is_recreated(facts: Facts) -> bool:
    """Whether Gluetun's container may have been recreated: this one keeps the dead network."""
    facts.vpn.observe()
    return facts.vpn.absent and is_loopback(facts.config.gluetun_host)


def _version(gluetun: Gluetun) -> Finding:
    version = gluetun.version()
    if version is None:
        return SECTION.skipped("version", "Which version it is, it doesn't tell")
    return SECTION.ok("version", f"It is Gluetun {version}")


def _credential(config: Config, gluetun: Gluetun) -> str:
    """Tell whether what was presented was asked for: up to 3.40, Gluetun may let everybody in."""
    presented = ""
    if config.gluetun_auth_type is AuthType.BASIC:
        presented = "GLUETUN_USERNAME and GLUETUN_PASSWORD"
    elif config.gluetun_auth_type is AuthType.APIKEY and config.gluetun_apikey:
        presented = "GLUETUN_APIKEY"
    if not presented:
        return "It asks for no credential"
    if gluetun.is_open():
        return f"It asks for no credential, so that {presented} may be right or wrong"
    return f"{presented} {'are' if ' and ' in presented else 'is'} accepted"
