"""What to do about what `qsticky check` found wrong: each remedy with the lines to copy."""

from qsticky.check.facts import Facts
from qsticky.check.findings import Remedy
from qsticky.check.place import DOCKER, KUBERNETES, MACHINE
from qsticky.config import Config, bracketed, is_loopback

_SHARE_THE_NETWORK = Remedy(
    "Nothing but qSticky is at that address, unless it shares Gluetun's network. In compose.yaml, "
    "for qSticky:",
    ("network_mode: service:gluetun",),
)


def for_qsticky(facts: Facts, *lines: str, why: str = "") -> Remedy:
    """Set these variables for qSticky: a container that is only restarted keeps the old ones."""
    return Remedy(f"{why}{facts.place.set_for_qsticky}", lines)


def in_qbittorrent(what: str, *options: str) -> Remedy:
    """Change these options of qBittorrent."""
    return Remedy(f"In qBittorrent, {what}:", options)


def either(first: Remedy, *others: Remedy) -> tuple[Remedy, ...]:
    """Leave the choice: each of them is enough."""
    return (first, *(Remedy(f"Or: {other.text}", other.copy) for other in others))


def address(
    facts: Facts, service: str, port: int, *, absent: bool = True, recreated: bool = False
) -> tuple[Remedy, ...]:
    """Find a service that is not at its address; `port` is the usual one.

    `absent` tells that nobody is there, and `recreated` that this network may be a dead one.
    """
    config, place, name = facts.config, facts.place, service.upper()
    configured = (config.gluetun_host, config.gluetun_port)
    if service == "qbittorrent":
        configured = (config.qbittorrent_host, config.qbittorrent_port)
    is_known = service == "qbittorrent" or place is not MACHINE
    ways = [place.runs] if absent and is_known else []
    if absent and place.has_compose and is_loopback(configured[0]) and facts.ports is None:
        ways.append(_SHARE_THE_NETWORK)
    ways += [
        for_qsticky(facts, f"{name}_HOST={host}", f"{name}_PORT={port}", why=f"{where}. ")
        for host, where in (("localhost", place.here), ("gluetun", place.elsewhere))
        if where and (host, port) != configured
    ]
    if absent and recreated and place.has_compose:
        why = (
            "If it runs: its container was perhaps recreated, and this one kept the dead network. "
            "Recreate all that share it:"
        )
        ways.append(Remedy(why, place.recreate_gluetun.copy))
    return either(*ways) if ways else ()


def webui_port(facts: Facts) -> tuple[Remedy, ...]:
    """Find the WebUI where something else speaks no HTTP, as at the port for peers."""
    if facts.config.qbittorrent_port == 8080:
        return ()
    why = (
        "If that is its port for peers, or another service's: the WebUI's is 8080 unless it was "
        "changed. "
    )
    return (for_qsticky(facts, "QBITTORRENT_PORT=8080", why=why),)


def qbittorrent_itself(facts: Facts) -> tuple[Remedy, ...]:
    """Have something else than qBittorrent get out of the way."""
    config = facts.config
    there = (config.qbittorrent_host, config.qbittorrent_port)
    if there == (config.gluetun_host, config.gluetun_port):
        why = "That is the address of Gluetun's control server. "
        return (for_qsticky(facts, "QBITTORRENT_PORT=8080", why=why),)
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
    if there == ("localhost", 8080):
        return (let_through,)
    here = facts.place.here
    why = f"To reach qBittorrent itself: {here[0].lower()}{here[1:]}. "
    itself = ("QBITTORRENT_HOST=localhost", "QBITTORRENT_PORT=8080")
    return either(for_qsticky(facts, *itself, why=why), let_through)


def certificate(facts: Facts, *others: str, by_ca: bool) -> tuple[Remedy, ...]:
    """Two ways out of a certificate that is refused, or one where no CA could verify it."""
    accept = for_qsticky(
        facts,
        *others,
        "QBITTORRENT_VERIFY_SSL=false",
        why="Accepting any certificate was tried, and works. ",
    )
    if not by_ca:
        return (accept,)
    return either(
        accept,
        for_qsticky(
            facts,
            *others,
            "QBITTORRENT_CA_FILE=/path/to/certificate.pem",
            why="To verify it, mount the certificate of the CA that signed it, with that of each "
            "CA above, which is its own where it is self-signed. ",
        ),
    )


def port_mapping(facts: Facts) -> Remedy:
    """Have qBittorrent listen on the port by which it is reached."""
    port = facts.config.qbittorrent_port
    is_another = f"It is reached by port {port}, and its own is another one."
    if facts.place.has_compose:
        return Remedy(
            f"{is_another} Make both the same in compose.yaml, by the variable of qBittorrent's "
            "image (linuxserver's is WEBUI_PORT, hotio's WEBUI_PORTS, qBittorrent's own "
            "QBT_WEBUI_PORT) and the mapping, which is Gluetun's where they share its network:",
            (f'WEBUI_PORT: "{port}"', f"- {port}:{port}"),
        )
    if facts.place is KUBERNETES:
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
    config, place = facts.config, facts.place
    if file := config.qbittorrent_pass.path:
        correct = Remedy(place.new_secret, (str(file),))
    else:
        is_set = any(setting.name == "QBITTORRENT_PASS" for setting in config.settings)
        why = "" if is_set else "None is set, so the default was tried. "
        if facts.place is DOCKER:  # what Compose makes of a $ can't be seen from here
            why += "In a compose file each $ of a password is written $$. "
        correct = for_qsticky(facts, "QBITTORRENT_PASS=the-password-of-the-WebUI", why=why)
    known = Remedy(
        "If it isn't known: 4.6.1 and later print a temporary one until you set your own. Log in "
        "with it, set your own under Options > Web UI, and give qSticky that:",
        (place.password_in_the_log,),
    )
    return correct, known


def api_key(facts: Facts) -> tuple[Remedy, ...]:
    """Correct an API key, or do without one."""
    copy = in_qbittorrent(
        "5.2 or later, copy the key, and set it as QBITTORRENT_API_KEY",
        "Options > Web UI > API Key",
    )
    before = "Up to 5.1 it has none; unset QBITTORRENT_API_KEY. "
    login = ("QBITTORRENT_USER=admin", "QBITTORRENT_PASS=the-password-of-the-WebUI")
    return either(copy, for_qsticky(facts, *login, why=before))


def lift_the_ban(facts: Facts) -> Remedy:
    """Have qBittorrent forget a ban."""
    restart = facts.place.restart_qbittorrent
    return Remedy(f"Then, to end the ban: {restart.text}", restart.copy)


def bind(interface: str) -> Remedy:
    """Bind qBittorrent to the VPN's interface."""
    return in_qbittorrent("choose", f"Options > Advanced > Network interface: {interface}")


NO_UPNP = in_qbittorrent(
    "untick", "Options > Connection > Use UPnP / NAT-PMP port forwarding from my router"
)


def rebind(facts: Facts) -> tuple[Remedy, ...]:
    """Have the socket opened anew."""
    return facts.place.restart_qbittorrent, bind(facts.config.vpn_interface)


def writable_health_file(facts: Facts) -> tuple[Remedy, ...]:
    """Give the health file a place that can be written."""
    if facts.place is MACHINE:
        return (
            for_qsticky(facts, "HEALTH_FILE=/run/qsticky/status.json"),
            Remedy("And in its unit, under [Service]:", ("RuntimeDirectory=qsticky",)),
        )
    where = "With a read-only root file system, for qSticky in compose.yaml:"
    lines: tuple[str, ...] = ("tmpfs: [/tmp]",)
    if facts.place is KUBERNETES:
        where = "With a read-only root file system, in the Pod's spec and for its container:"
        lines = (
            "volumes: [{name: health, emptyDir: {medium: Memory}}]",
            "volumeMounts: [{name: health, mountPath: /tmp/health}]",
        )
    return Remedy(where, lines), for_qsticky(facts, "HEALTH_FILE=/tmp/health/status.json")
