"""What to do about what `qsticky check` found wrong: each remedy with the lines to copy."""

import json
from pathlib import Path

from qsticky.check.findings import Remedy
from qsticky.config import AuthType, Config, bracketed, settings
from qsticky.services.gluetun import PUBLIC_IP, Route

_RECREATE = ("docker compose up -d --force-recreate",)
_THEN_RECREATE = Remedy("Then recreate Gluetun and what shares its network:", _RECREATE)
_NEW_KEY = "a-long-random-key"
_ROLES_FILE = "/gluetun/auth/config.toml"


def for_qsticky(*lines: str, why: str = "") -> Remedy:
    """Set these variables for qSticky: a container that is only restarted keeps the old ones."""
    return Remedy(f"{why}Set for qSticky, then docker compose up -d qsticky:", lines)


def in_qbittorrent(what: str, *options: str) -> Remedy:
    """Change these options of qBittorrent."""
    return Remedy(f"In qBittorrent, {what}:", options)


def either(first: Remedy, *others: Remedy) -> tuple[Remedy, ...]:
    """Leave the choice: each of them is enough."""
    return (first, *(Remedy(f"Or: {other.text}", other.copy) for other in others))


def address(
    service: str, port: int, config: Config, *, recreated: bool = False
) -> tuple[Remedy, ...]:
    """Find a service that nobody is at the address of; `port` is the usual one."""
    name = service.upper()
    here = (config.gluetun_host, config.gluetun_port)
    if service == "qbittorrent":
        here = (config.qbittorrent_host, config.qbittorrent_port)
    network = "network_mode: service:gluetun"
    runs = "docker compose ps --all"
    ways = [Remedy("See that it runs, and start it if it doesn't:", (runs, "docker compose up -d"))]
    ways += [
        for_qsticky(f"{name}_HOST={host}", f"{name}_PORT={port}", why=f"{where}. ")
        for host, where in {
            "localhost": f"With {network}, where all share Gluetun's network",
            "gluetun": "With a Docker network that Gluetun's container is in, too",
        }.items()
        if (host, port) != here
    ]
    if recreated:
        why = (
            "If it runs: its container was perhaps recreated, and this one kept the dead network. "
            "Recreate all that share it:"
        )
        ways.append(Remedy(why, _RECREATE))
    return either(*ways)


def permit_the_port(config: Config, lacks: Route | None) -> tuple[Remedy, ...]:
    """Have Gluetun permit the one route that its version knows: of the other it may refuse."""
    if lacks:
        return _in_place_of_the_role(config, lacks.in_a_role)
    default_role = json.dumps(_credential(config), separators=(",", ":"))
    ways = either(
        Remedy(
            "With Gluetun 3.41 or later, set for Gluetun:",
            (f"HTTP_CONTROL_SERVER_AUTH_DEFAULT_ROLE={default_role}",),
        ),
        Remedy(
            f"If it has a role for that route already, in its place in Gluetun's {_ROLES_FILE}:",
            _role(config, Route.SINCE_3_41.in_a_role),
        ),
        Remedy(
            f"With Gluetun up to 3.40, in its {_ROLES_FILE}:",
            _role(config, Route.UP_TO_3_40.in_a_role),
        ),
    )
    key = for_qsticky("GLUETUN_AUTH_TYPE=apikey", f"GLUETUN_APIKEY={_NEW_KEY}")
    first = () if _has_credential(config) else (key,)
    return (*first, *ways, _THEN_RECREATE)


def permit_the_public_ip(config: Config, route: Route) -> tuple[Remedy, ...]:
    """Have Gluetun permit the optional route too."""
    return _in_place_of_the_role(config, route.in_a_role, f"GET {PUBLIC_IP}")


FORWARD_A_PORT = (
    Remedy(
        "If it stays so, set for Gluetun, for a provider that forwards ports:",
        ("VPN_PORT_FORWARDING=on",),
    ),
    Remedy(
        "And with Proton VPN or Private Internet Access, and no other:", ("PORT_FORWARD_ONLY=on",)
    ),
    _THEN_RECREATE,
)


def mount_the_port_file(path: Path) -> tuple[Remedy, ...]:
    """Have Gluetun write its port where qSticky reads it."""
    return (
        Remedy(
            "Mount a volume into both containers, in compose.yaml. For Gluetun, which writes "
            "/tmp/gluetun/forwarded_port:",
            ("volumes: [forwarded-port:/tmp/gluetun]",),
        ),
        Remedy("For qSticky:", (f"volumes: [forwarded-port:{path.parent}:ro]",)),
        Remedy("And at the end of the file:", ("volumes:", "  forwarded-port:")),
    )


def certificate(config: Config, *others: str) -> tuple[Remedy, ...]:
    """Two ways out of a certificate that is refused, or the one that is left."""
    accept = for_qsticky(
        *others,
        "QBITTORRENT_VERIFY_SSL=false",
        why="Accepting any certificate was tried, and works. ",
    )
    if config.qbittorrent_ca_file:
        return (accept,)
    return either(
        accept,
        for_qsticky(
            *others,
            "QBITTORRENT_CA_FILE=/path/to/certificate.pem",
            why="To verify it, mount its certificate, or that of the CA that signed it. ",
        ),
    )


def port_mapping(config: Config) -> Remedy:
    """Have qBittorrent listen on the port by which it is reached."""
    port = config.qbittorrent_port
    return Remedy(
        f"It is reached by port {port}, and its own is another one. Make both the same in "
        "compose.yaml, by the variable of qBittorrent's image and the mapping:",
        (f'WEBUI_PORT: "{port}"', f"- {port}:{port}"),
    )


def server_domain(config: Config) -> Remedy:
    """Have qBittorrent know the name by which it is spoken to."""
    return in_qbittorrent(
        "add this to Options > Web UI > Server domains, which are separated by semicolons",
        bracketed(config.qbittorrent_host),
    )


VALIDATE_NO_HOST = in_qbittorrent(
    "if only people that you trust can reach its WebUI, untick",
    "Options > Web UI > Enable Host header validation",
)


def password(config: Config) -> tuple[Remedy, ...]:
    """Correct a password where it came from."""
    if file := config.qbittorrent_pass.path:
        into = "Write the WebUI's password into this file, as its only line:"
        correct = Remedy(into, (str(file),))
    else:
        is_set = any(setting.name == "QBITTORRENT_PASS" for setting in settings(config))
        unset = "" if is_set else "None is set, so the default was tried. "
        correct = for_qsticky("QBITTORRENT_PASS=the-password-of-the-WebUI", why=unset)
    known = Remedy(
        "If it isn't known: 4.6.1 and later print a temporary one until you set your own. Log in "
        "with it, set your own under Options > Web UI, and give qSticky that:",
        ("docker logs qbittorrent 2>&1 | grep -i password",),
    )
    return correct, known


API_KEY = in_qbittorrent(
    "5.2 or later, copy the key, and set it as QBITTORRENT_API_KEY",
    "Options > Web UI > API Key",
)
LIFT_THE_BAN = Remedy(
    "Then restart qBittorrent, which forgets the ban:", ("docker restart qbittorrent",)
)


def bind(interface: str) -> Remedy:
    """Bind qBittorrent to the VPN's interface."""
    return in_qbittorrent("choose", f"Options > Advanced > Network interface: {interface}")


NO_UPNP = in_qbittorrent(
    "untick", "Options > Connection > Use UPnP / NAT-PMP port forwarding from my router"
)


def reopen(interface: str) -> tuple[Remedy, ...]:
    """Have the socket opened anew."""
    return (Remedy("Restart qBittorrent:", ("docker restart qbittorrent",)), bind(interface))


LOG_OF_GLUETUN = Remedy("Its log says why:", ("docker logs --tail 50 gluetun",))
WRITABLE_HEALTH_FILE = (
    Remedy("With a read-only root file system, for qSticky in compose.yaml:", ("tmpfs: [/tmp]",)),
    for_qsticky("HEALTH_FILE=/tmp/health/status.json"),
)


def _role(config: Config, *routes: str) -> tuple[str, ...]:
    return (
        "[[roles]]",
        'name = "qsticky"',
        f"routes = {json.dumps(routes)}",
        *(f'{name} = "{value}"' for name, value in _credential(config).items()),
    )


def _in_place_of_the_role(config: Config, *routes: str) -> tuple[Remedy, ...]:
    where = f"In Gluetun's {_ROLES_FILE}, in place of the role that qSticky has there:"
    return (Remedy(where, _role(config, *routes)), _THEN_RECREATE)


def _credential(config: Config) -> dict[str, str]:
    """Say in Gluetun's words what qSticky presents, or could, without telling any secret."""
    if config.gluetun_auth_type is AuthType.BASIC:
        values = {name: f"the-value-of-GLUETUN_{name.upper()}" for name in ("username", "password")}
        return {"auth": "basic", **values}
    key = "the-value-of-GLUETUN_APIKEY" if _has_credential(config) else _NEW_KEY
    return {"auth": "apikey", "apikey": key}


def _has_credential(config: Config) -> bool:
    if config.gluetun_auth_type is AuthType.APIKEY:
        return bool(config.gluetun_apikey)
    return config.gluetun_auth_type is AuthType.BASIC
