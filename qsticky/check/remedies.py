"""What to do about what `qsticky check` found wrong: each remedy with the lines to copy."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qsticky.check.facts import Facts
from qsticky.check.findings import Remedy
from qsticky.check.place import Place
from qsticky.config import AuthType, Config, bracketed
from qsticky.services import vpn_control
from qsticky.services.gluetun import Route
from qsticky.services.gluetun_roles import RoleError, Wrong

_NEW_KEY = "a-long-random-key"
_ROLES_FILE = "/gluetun/auth/config.toml"


@dataclass(frozen=True)
class _Words:
    """How a place has what is the same everywhere; the lines of a remedy are to be copied."""

    set_for_qsticky: str
    new_secret: str
    runs: Remedy
    here: str  # where both services are at localhost
    elsewhere: tuple[str, str] | None  # another usual host, and where that is so
    recreate_gluetun: Remedy
    restart_qbittorrent: Remedy
    log_of_gluetun: Remedy
    password_in_the_log: str


_DEPLOYMENT = "kubectl -n qbittorrent {} deploy/qbittorrent"
_ON_A_MACHINE = "systemctl {} 'qbittorrent*'"
_WORDS: Mapping[Place, _Words] = {
    Place.CONTAINER: _Words(
        set_for_qsticky="Set for qSticky, then docker compose up -d qsticky:",
        new_secret="Write the WebUI's password into this file, as its only line:",
        runs=Remedy(
            "See that it runs, and start it if it doesn't:",
            ("docker compose ps --all", "docker compose up -d"),
        ),
        here="With network_mode: service:gluetun, where all share Gluetun's network",
        elsewhere=("gluetun", "With a Docker network that Gluetun's container is in, too"),
        recreate_gluetun=Remedy(
            "Then recreate Gluetun and what shares its network:",
            ("docker compose up -d --force-recreate",),
        ),
        restart_qbittorrent=Remedy("Restart qBittorrent:", ("docker restart qbittorrent",)),
        log_of_gluetun=Remedy("Gluetun's log says why:", ("docker logs --tail 50 gluetun",)),
        password_in_the_log="docker logs qbittorrent 2>&1 | grep -i password",
    ),
    Place.KUBERNETES: _Words(
        set_for_qsticky="Set for the container qsticky, then kubectl apply -k .:",
        new_secret="Have the Secret that is mounted here hold the WebUI's password:",
        runs=Remedy("See that its container runs:", ("kubectl -n qbittorrent get pods",)),
        here="In one Pod, whose containers share a network",
        elsewhere=("gluetun", "With a Service of that name, in front of Gluetun's Pod"),
        recreate_gluetun=Remedy(
            "Then apply it, and have a new Pod made:",
            ("kubectl apply -k .", _DEPLOYMENT.format("rollout restart")),
        ),
        restart_qbittorrent=Remedy(
            "Restart qBittorrent:", (_DEPLOYMENT.format("rollout restart"),)
        ),
        log_of_gluetun=Remedy(
            "Gluetun's log says why:", (f"{_DEPLOYMENT.format('logs')} -c gluetun --tail 50",)
        ),
        password_in_the_log=f"{_DEPLOYMENT.format('logs')} -c qbittorrent | grep -i password",
    ),
    Place.MACHINE: _Words(
        set_for_qsticky="Set for qSticky (under systemd in /etc/qsticky/qsticky.env, then "
        "systemctl restart qsticky):",
        new_secret="Write the WebUI's password into this file, as its only line, and restart "
        "qSticky, to which systemd shows a copy:",
        runs=Remedy("See that it runs; under systemd:", (_ON_A_MACHINE.format("status"),)),
        here="On this machine, or in a container that publishes its port to it",
        elsewhere=None,
        recreate_gluetun=Remedy("Then start Gluetun anew: a container has to be recreated.", ()),
        restart_qbittorrent=Remedy(
            "Restart qBittorrent; under systemd:", (_ON_A_MACHINE.format("restart"),)
        ),
        log_of_gluetun=Remedy("Gluetun's log says why.", ()),
        password_in_the_log="journalctl -u 'qbittorrent*' | grep -i password",
    ),
}


def for_qsticky(facts: Facts, *lines: str, why: str = "") -> Remedy:
    """Set these variables for qSticky: a container that is only restarted keeps the old ones."""
    return Remedy(f"{why}{_WORDS[facts.place].set_for_qsticky}", lines)


def in_qbittorrent(what: str, *options: str) -> Remedy:
    """Change these options of qBittorrent."""
    return Remedy(f"In qBittorrent, {what}:", options)


def either(first: Remedy, *others: Remedy) -> tuple[Remedy, ...]:
    """Leave the choice: each of them is enough."""
    return (first, *(Remedy(f"Or: {other.text}", other.copy) for other in others))


def address(
    facts: Facts, service: str, port: int, *, recreated: bool = False
) -> tuple[Remedy, ...]:
    """Find a service that nobody is at the address of; `port` is the usual one."""
    config, words, name = facts.config, _WORDS[facts.place], service.upper()
    configured = (config.gluetun_host, config.gluetun_port)
    if service == "qbittorrent":
        configured = (config.qbittorrent_host, config.qbittorrent_port)
    usual = {"localhost": words.here}
    if words.elsewhere:
        usual |= [words.elsewhere]
    ways = [words.runs] if service == "qbittorrent" or facts.place is not Place.MACHINE else []
    ways += [
        for_qsticky(facts, f"{name}_HOST={host}", f"{name}_PORT={port}", why=f"{where}. ")
        for host, where in usual.items()
        if (host, port) != configured
    ]
    if recreated and facts.place is Place.CONTAINER:
        why = (
            "If it runs: its container was perhaps recreated, and this one kept the dead network. "
            "Recreate all that share it:"
        )
        ways.append(Remedy(why, words.recreate_gluetun.copy))
    return either(*ways) if ways else ()


def permit_the_port(facts: Facts, refusal: RoleError) -> tuple[Remedy, ...]:
    """Have Gluetun permit the one route that its version knows: of the other it may refuse."""
    config, recreate = facts.config, _WORDS[facts.place].recreate_gluetun
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
    key = for_qsticky(facts, "GLUETUN_AUTH_TYPE=apikey", f"GLUETUN_APIKEY={_NEW_KEY}")
    first = () if _has_credential(config) else (key,)
    if refusal.wrong is Wrong.KIND:
        return either(_password_of_a_role(facts), *ways[refusal.route], recreate)
    return (*first, *either(*ways[refusal.route]), recreate)


def permit(facts: Facts, route: str) -> tuple[Remedy, ...]:
    """Have Gluetun permit a route beside what it permits: several roles may have the same one."""
    where = (
        f"In Gluetun's {_ROLES_FILE}, in place of the role that has qSticky's credential, or, "
        "where none has it, beside the others, which stay as they are:"
    )
    return Remedy(where, _role(facts, route)), _WORDS[facts.place].recreate_gluetun


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
            "And with Proton VPN or Private Internet Access, and no other:",
            ("PORT_FORWARD_ONLY=on",),
        ),
        _WORDS[facts.place].recreate_gluetun,
        fixed,
        Remedy("With that port for Gluetun's firewall:", ("FIREWALL_VPN_INPUT_PORTS=the-port",)),
    )


def open_the_firewall(facts: Facts, port: int) -> tuple[Remedy, ...]:
    """Have Gluetun let a fixed port in."""
    permit = Remedy("Set for Gluetun, unless it is set:", (f"FIREWALL_VPN_INPUT_PORTS={port}",))
    return permit, _WORDS[facts.place].recreate_gluetun


def mount_the_port_file(facts: Facts, path: Path) -> tuple[Remedy, ...]:
    """Have Gluetun write its port where qSticky reads it."""
    if facts.place is Place.MACHINE:
        mount = (
            "Mount its folder into Gluetun's container, which writes /tmp/gluetun/forwarded_port:"
        )
        return (Remedy(mount, (f"volumes: [{path.parent}:/tmp/gluetun]",)),)
    if facts.place is Place.KUBERNETES:
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
    if facts.place is Place.MACHINE:
        return either(chown, Remedy("Let all read it:", (f"chmod a+rX {path.parent} {path}",)))
    as_root = ('user: "0:0"',)
    if facts.place is Place.KUBERNETES:
        as_root = ("securityContext: {runAsUser: 0, runAsGroup: 0}",)
    return either(chown, Remedy("Run qSticky as root, or as the file's owner:", as_root))


def webui_port(facts: Facts) -> tuple[Remedy, ...]:
    """Find the WebUI where something else closes the connection, as the port for peers does."""
    if facts.config.qbittorrent_port == 8080:
        return ()
    why = "If that is its port for peers: the WebUI has another one, 8080 unless it was changed. "
    return (for_qsticky(facts, "QBITTORRENT_PORT=8080", why=why),)


def qbittorrent_itself(facts: Facts) -> tuple[Remedy, ...]:
    """Have something else than qBittorrent get out of the way."""
    config = facts.config
    there = (config.qbittorrent_host, config.qbittorrent_port)
    if there == (config.gluetun_host, config.gluetun_port):
        why = "That is the address of Gluetun's control server. "
        return (for_qsticky(facts, "QBITTORRENT_PORT=8080", why=why),)
    words = _WORDS[facts.place]
    ways = [
        for_qsticky(facts, "QBITTORRENT_HOST=localhost", "QBITTORRENT_PORT=8080", why=f"{why}. ")
        for why in (f"To reach qBittorrent itself: {words.here[0].lower()}{words.here[1:]}",)
        if there != ("localhost", 8080)
    ]
    let_through = Remedy(
        "Have the proxy pass qSticky's requests on as they are, without a login, an allow-list or "
        "a page of its own; its log says which it refused. For nginx, where qSticky comes from "
        "172.20.0.0/16:",
        (
            "location /api/v2/ {",
            "  satisfy any;",
            "  allow 172.20.0.0/16;",
            "  deny all;",
            "  …",
            "}",
        ),
    )
    return either(*ways, let_through)


def certificate(facts: Facts, *others: str) -> tuple[Remedy, ...]:
    """Two ways out of a certificate that is refused, or the one that is left."""
    accept = for_qsticky(
        facts,
        *others,
        "QBITTORRENT_VERIFY_SSL=false",
        why="Accepting any certificate was tried, and works. ",
    )
    if facts.config.qbittorrent_ca_file:
        return (accept,)
    return either(
        accept,
        for_qsticky(
            facts,
            *others,
            "QBITTORRENT_CA_FILE=/path/to/certificate.pem",
            why="To verify it, mount its certificate, or that of the CA that signed it. ",
        ),
    )


def port_mapping(facts: Facts) -> Remedy:
    """Have qBittorrent listen on the port by which it is reached."""
    port = facts.config.qbittorrent_port
    is_another = f"It is reached by port {port}, and its own is another one."
    if facts.place is Place.CONTAINER:
        return Remedy(
            f"{is_another} Make both the same in compose.yaml, by the variable of qBittorrent's "
            "image (linuxserver's is WEBUI_PORT, hotio's WEBUI_PORTS, qBittorrent's own "
            "QBT_WEBUI_PORT) and the mapping, which is Gluetun's where they share its network:",
            (f'WEBUI_PORT: "{port}"', f"- {port}:{port}"),
        )
    if facts.place is Place.KUBERNETES:
        return Remedy(
            f"{is_another} Make both the same, by the variable of qBittorrent's image and its "
            "Service:",
            (f'{{name: WEBUI_PORT, value: "{port}"}}', f"{{port: {port}, targetPort: {port}}}"),
        )
    set_it = in_qbittorrent("set", f"Options > Web UI > Port: {port}")
    return Remedy(f"{is_another} {set_it.text}", set_it.copy)


def server_domain(config: Config) -> Remedy:
    """Have qBittorrent know the name by which it is spoken to."""
    return in_qbittorrent(
        "add this to Options > Web UI > Server domains, which are separated by semicolons",
        bracketed(config.qbittorrent_host),
    )


HOST_OF_A_PROXY = Remedy(
    "If a proxy is in front, have it send a Host that qBittorrent takes. For nginx:",
    ("proxy_set_header Host $proxy_host;",),
)
VALIDATE_NO_HOST = in_qbittorrent(
    "if only people that you trust can reach its WebUI, untick",
    "Options > Web UI > Enable Host header validation",
)


def password(facts: Facts) -> tuple[Remedy, ...]:
    """Correct a password where it came from."""
    config, words = facts.config, _WORDS[facts.place]
    if file := config.qbittorrent_pass.path:
        correct = Remedy(words.new_secret, (str(file),))
    else:
        is_set = any(setting.name == "QBITTORRENT_PASS" for setting in config.settings)
        why = "" if is_set else "None is set, so the default was tried. "
        if facts.place is Place.CONTAINER:  # what Compose makes of a $ can't be seen from here
            why += "In a compose file each $ of a password is written $$. "
        correct = for_qsticky(facts, "QBITTORRENT_PASS=the-password-of-the-WebUI", why=why)
    known = Remedy(
        "If it isn't known: 4.6.1 and later print a temporary one until you set your own. Log in "
        "with it, set your own under Options > Web UI, and give qSticky that:",
        (words.password_in_the_log,),
    )
    return correct, known


API_KEY = in_qbittorrent(
    "5.2 or later, copy the key, and set it as QBITTORRENT_API_KEY",
    "Options > Web UI > API Key",
)


def lift_the_ban(facts: Facts) -> Remedy:
    """Have qBittorrent forget a ban."""
    restart = _WORDS[facts.place].restart_qbittorrent
    return Remedy(f"Then, which ends the ban: {restart.text}", restart.copy)


def bind(interface: str) -> Remedy:
    """Bind qBittorrent to the VPN's interface."""
    return in_qbittorrent("choose", f"Options > Advanced > Network interface: {interface}")


NO_UPNP = in_qbittorrent(
    "untick", "Options > Connection > Use UPnP / NAT-PMP port forwarding from my router"
)


def reopen(facts: Facts) -> tuple[Remedy, ...]:
    """Have the socket opened anew."""
    return _WORDS[facts.place].restart_qbittorrent, bind(facts.config.vpn_interface)


def log_of_gluetun(facts: Facts) -> Remedy:
    """Read why the VPN isn't up."""
    return _WORDS[facts.place].log_of_gluetun


def writable_health_file(facts: Facts) -> tuple[Remedy, ...]:
    """Give the health file a place that can be written."""
    if facts.place is Place.MACHINE:
        return (
            for_qsticky(facts, "HEALTH_FILE=/run/qsticky/status.json"),
            Remedy("And in its unit, under [Service]:", ("RuntimeDirectory=qsticky",)),
        )
    where = "With a read-only root file system, for qSticky in compose.yaml:"
    lines: tuple[str, ...] = ("tmpfs: [/tmp]",)
    if facts.place is Place.KUBERNETES:
        where = "With a read-only root file system, in the Pod's spec and for its container:"
        lines = (
            "volumes: [{name: health, emptyDir: {medium: Memory}}]",
            "volumeMounts: [{name: health, mountPath: /tmp/health}]",
        )
    return Remedy(where, lines), for_qsticky(facts, "HEALTH_FILE=/tmp/health/status.json")


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
    key = "the-value-of-GLUETUN_APIKEY" if _has_credential(config) else _NEW_KEY
    return {"auth": "apikey", "apikey": key}


def _has_credential(config: Config) -> bool:
    if config.gluetun_auth_type is AuthType.APIKEY:
        return bool(config.gluetun_apikey)
    return config.gluetun_auth_type is AuthType.BASIC
