"""The section on Gluetun: its control server, what its role permits, and the port file."""

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from qsticky.check import listening, remedies
from qsticky.check.facts import Facts
from qsticky.check.findings import Finding, Section
from qsticky.clock import in_words
from qsticky.config import AuthType, is_loopback
from qsticky.errors import ServiceError, SyncError
from qsticky.files import open_at_once
from qsticky.services.factory import make_gluetun
from qsticky.services.gluetun import PUBLIC_IP, Gluetun, RoleError, Route, no_port_at
from qsticky.services.http import unobserved

SECTION = Section("Gluetun")


def control_server(facts: Facts) -> Iterator[Finding]:
    """Ask the control server for its ports and its public address."""
    config, gluetun = facts.config, make_gluetun(facts.config, unobserved)
    answers = f"Gluetun's control server at {config.gluetun_url} answers"
    try:
        facts.ports = gluetun.forwarded_ports()
    except RoleError as error:
        yield SECTION.ok("control_server", answers)
        permit = remedies.permit_the_port(facts, error.lacks)
        yield SECTION.failed("route", str(error), *permit)
    except ServiceError as error:
        dead = is_loopback(config.gluetun_host) and listening.interface(facts) is None
        away = remedies.address(facts, "gluetun", 8000, recreated=dead)
        yield SECTION.failed("control_server", str(error), *(away if error.gone else ()))
    if facts.ports is None:
        yield SECTION.skipped("rest", "Not tried: its forwarded port and public address")
        return
    yield SECTION.ok("control_server", answers)
    yield SECTION.ok("credential", _credential(facts))
    route = gluetun.route
    yield SECTION.ok(
        "route", f"{route.in_a_role} is permitted, the route of Gluetun {_VERSIONS[route]}"
    )
    yield _forwarded_port(facts, facts.ports)
    yield _public_ip(facts, gluetun)


def port_file(facts: Facts) -> Iterator[Finding]:
    """Read the port file, and compare it with what the control server told."""
    check, path, config = "port_file", facts.config.gluetun_port_file, facts.config
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
            check, f"{has} in it ({age})", *remedies.mount_the_port_file(facts, path)
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
        readable = remedies.let_the_port_file_be_read(facts, path)
        return SECTION.failed(check, problem, *readable)
    return SECTION.failed(check, problem, *remedies.mount_the_port_file(facts, path))


def _forwarded_port(facts: Facts, ports: tuple[int, ...]) -> Finding:
    check, index = "forwarded_port", facts.config.gluetun_port_index
    if not ports:
        none = "Gluetun has no forwarded port now; a VPN that just started may need a minute"
        return SECTION.failed(check, none, *remedies.forward_a_port(facts))
    if index > len(ports):
        fewer = remedies.for_qsticky(facts, f"GLUETUN_PORT_INDEX={len(ports)}")
        return SECTION.failed(check, str(no_port_at(index, len(ports))), fewer)
    facts.forwarded_port = ports[index - 1]
    which = f", number {index} of {len(ports)}" if len(ports) > 1 else ""
    return SECTION.ok(check, f"The forwarded port is {facts.forwarded_port}{which}")


def _public_ip(facts: Facts, gluetun: Gluetun) -> Finding:
    check, name = "public_ip", facts.config.vpn_interface
    if gluetun.public_address():
        return SECTION.ok(check, f"GET {PUBLIC_IP} is permitted too (optional)")
    if not gluetun.public_ip_refused:
        return SECTION.skipped(check, f"GET {PUBLIC_IP} tells no address now (optional)")
    refused = f"GET {PUBLIC_IP} is not permitted (optional)"
    if listening.visible_interface(facts):
        return SECTION.skipped(check, f"{refused}, and of no use where {name} is visible")
    return SECTION.warning(
        check,
        f"{refused}; with it a changed public address tells that the VPN reconnected, which "
        f"can't be seen where {name} isn't visible",
        *remedies.permit_the_public_ip(facts, gluetun.route),
    )


def _credential(facts: Facts) -> str:
    """Tell whether what was presented was asked for: up to 3.40, Gluetun may let everybody in."""
    config = facts.config
    presented = ""
    if config.gluetun_auth_type is AuthType.BASIC:
        presented = "GLUETUN_USERNAME and GLUETUN_PASSWORD"
    elif config.gluetun_auth_type is AuthType.APIKEY and config.gluetun_apikey:
        presented = "GLUETUN_APIKEY"
    if not presented:
        return "It asks for no credential"
    try:
        make_gluetun(replace(config, gluetun_auth_type=AuthType.NONE), unobserved).forwarded_ports()
    except SyncError:
        return f"{presented} {'are' if ' and ' in presented else 'is'} accepted"
    return f"It asks for no credential, so that {presented} may be right or wrong"


_VERSIONS = {Route.SINCE_3_41: "3.41 and later", Route.UP_TO_3_40: "up to 3.40"}
