"""What to do about what `qsticky check` found wrong at Gluetun."""

import json
import os
from pathlib import Path

from qsticky.check.facts import Facts
from qsticky.check.findings import Remedy
from qsticky.check.place import KUBERNETES, MACHINE, Place
from qsticky.check.remedies import either, for_qsticky
from qsticky.config import AuthType, Config
from qsticky.services import vpn_control
from qsticky.services.gluetun_roles import RoleError, Route, Wrong

_NEW_KEY = "a-long-random-key"
_ROLES_FILE = "/gluetun/auth/config.toml"


def permit_the_port(facts: Facts, refusal: RoleError) -> tuple[Remedy, ...]:
    """Have Gluetun permit the one route that its version knows: of the other it may refuse."""
    config, recreate = facts.config, facts.place.recreate_gluetun
    if refusal.wrong is Wrong.ROUTE and refusal.route:
        return permit(facts, refusal.route.in_a_role)
    if refusal.wrong is Wrong.PASSWORD or (
        refusal.wrong is Wrong.KIND and not config.gluetun_apikey
    ):
        return (_password_of_a_role(facts),)
    default_role = json.dumps(_credential(config), separators=(",", ":"))
    recent = (
        Remedy(
            "With Gluetun 3.41 or later, set for Gluetun, which opens every route that no role "
            "names to this key, such as the one that tells the VPN's own keys:",
            (f"HTTP_CONTROL_SERVER_AUTH_DEFAULT_ROLE={default_role}",),
        ),
        Remedy(
            f"If a role has that route already, or for that route alone, in Gluetun's "
            f"{_ROLES_FILE}, beside the others:",
            _role(facts, Route.SINCE_3_41.in_a_role),
        ),
    )
    older = Remedy(
        f"With Gluetun up to 3.40, in its {_ROLES_FILE}, beside the others:",
        _role(facts, Route.UP_TO_3_40.in_a_role),
    )
    ways = {Route.SINCE_3_41: recent, Route.UP_TO_3_40: (older,), None: (*recent, older)}
    new_key = () if config.gluetun_apikey else (f"GLUETUN_APIKEY={_NEW_KEY}",)
    key = for_qsticky(facts, "GLUETUN_AUTH_TYPE=apikey", *new_key)
    first = () if _has_credential(config) else (key,)
    if refusal.wrong is Wrong.KIND:
        return (*either(_password_of_a_role(facts), *ways[refusal.route]), recreate)
    return (*first, *either(*ways[refusal.route]), recreate)


def permit(facts: Facts, route: str) -> tuple[Remedy, ...]:
    """Have Gluetun permit a route beside what it permits: several roles may have the same one."""
    where = (
        f"In Gluetun's {_ROLES_FILE}, in place of the role that has qSticky's credential, or, "
        "where none has it, beside the others, which stay as they are:"
    )
    return Remedy(where, _role(facts, route)), facts.place.recreate_gluetun


def forward_a_port(facts: Facts) -> tuple[Remedy, ...]:
    """Have Gluetun ask its provider for a port."""
    fixed = for_qsticky(
        facts,
        "FORWARDED_PORT=the-port",
        why="Or, with a provider that gives one port for good, as AirVPN does: Gluetun refuses to "
        "start with VPN_PORT_FORWARDING=on, and has no port to tell. ",
    )
    return (
        Remedy(
            "If it stays so, set for Gluetun, for a provider whose ports Gluetun asks for "
            "(Private Internet Access, Proton VPN, PrivateVPN, Perfect Privacy):",
            ("VPN_PORT_FORWARDING=on",),
        ),
        Remedy(
            "With Proton VPN, also a WireGuard key that was made with 'NAT-PMP (Port Forwarding)' "
            "on, or with OpenVPN, a user name that ends in +pmp:",
            ("OPENVPN_USER=the-user-name+pmp",),
        ),
        fixed,
        Remedy("With that port for Gluetun's firewall:", ("FIREWALL_VPN_INPUT_PORTS=the-port",)),
        facts.place.recreate_gluetun,
    )


def open_the_firewall(facts: Facts, port: int) -> tuple[Remedy, ...]:
    """Have Gluetun let a fixed port in."""
    permit = Remedy("Set for Gluetun, unless it is set:", (f"FIREWALL_VPN_INPUT_PORTS={port}",))
    return permit, facts.place.recreate_gluetun


def mount_the_port_file(facts: Facts, path: Path) -> tuple[Remedy, ...]:
    """Have Gluetun write its port where qSticky reads it."""
    return *_mounts(facts.place, path), facts.place.recreate_gluetun


def _mounts(place: Place, path: Path) -> tuple[Remedy, ...]:
    if place is MACHINE:
        mount = (
            "Mount its folder into Gluetun's container, which writes /tmp/gluetun/forwarded_port:"
        )
        return (Remedy(mount, (f"volumes: [{path.parent}:/tmp/gluetun]",)),)
    if place is KUBERNETES:
        volume = "Mount a volume of the Pod into both containers. In its spec:"
        name = "volumeMounts: [{{name: forwarded-port, mountPath: {}}}]"
        return (
            Remedy(volume, ("volumes: [{name: forwarded-port, emptyDir: {}}]",)),
            Remedy(
                "For Gluetun, which writes /tmp/gluetun/forwarded_port:",
                (name.format("/tmp/gluetun"),),
            ),
            Remedy("For qSticky:", (name.format(path.parent),)),
        )
    return (
        Remedy(
            "Mount a volume into both containers, in compose.yaml. For Gluetun, which writes "
            "/tmp/gluetun/forwarded_port:",
            ("volumes: [forwarded-port:/tmp/gluetun]",),
        ),
        Remedy("For qSticky:", (f"volumes: [forwarded-port:{path.parent}:ro]",)),
        Remedy("And at the end of the file:", ("volumes:", "  forwarded-port:")),
    )


def let_the_port_file_be_read(facts: Facts, path: Path) -> tuple[Remedy, ...]:
    """Let qSticky's user read what Gluetun's writes."""
    uid, gid = os.getuid(), os.getgid()
    chown = Remedy(
        "Set for Gluetun the user and the group for whom it writes the file, qSticky's:",
        (f"PUID={uid}", f"PGID={gid}"),
    )
    if facts.place is MACHINE:
        return either(chown, Remedy("Let all read it:", (f"chmod a+rX {path.parent} {path}",)))
    as_root = ('user: "0:0"',)
    if facts.place is KUBERNETES:
        as_root = ("securityContext: {runAsUser: 0, runAsGroup: 0}",)
    owner = Remedy("Run qSticky as root, or as the file's owner:", as_root)
    return *either(chown, owner), facts.place.recreate_gluetun


def _role(facts: Facts, route: str) -> tuple[str, ...]:
    """Make a role with a route, what is permitted already, and what the configuration asks for."""
    routes = [*facts.permits, route]
    if facts.config.gluetun_restart_after:
        routes.append(vpn_control.IN_A_ROLE)
    return (
        "[[roles]]",
        'name = "qsticky"',
        f"routes = {json.dumps([*dict.fromkeys(routes)])}",
        *(f'{name} = "{value}"' for name, value in _credential(facts.config).items()),
    )


def _password_of_a_role(facts: Facts) -> Remedy:
    config, lines = facts.config, ["GLUETUN_AUTH_TYPE=basic"]
    if config.gluetun_auth_type is AuthType.BASIC or not config.gluetun_username.configured:
        lines += ["GLUETUN_USERNAME=the-role-s-username", "GLUETUN_PASSWORD=the-role-s-password"]
    why = f"The role in Gluetun's {_ROLES_FILE} that has the route has a user and a password. "
    return for_qsticky(facts, *lines, why=why)


def _credential(config: Config) -> dict[str, str]:
    """Say in Gluetun's words what qSticky presents, or could, without telling any secret."""
    if config.gluetun_auth_type is AuthType.BASIC:
        values = {name: f"the-value-of-GLUETUN_{name.upper()}" for name in ("username", "password")}
        return {"auth": "basic", **values}
    key = "the-value-of-GLUETUN_APIKEY" if config.gluetun_apikey else _NEW_KEY
    return {"auth": "apikey", "apikey": key}


def _has_credential(config: Config) -> bool:
    if config.gluetun_auth_type is AuthType.APIKEY:
        return bool(config.gluetun_apikey)
    return config.gluetun_auth_type is AuthType.BASIC
