"""The table of variables, and how an environment becomes a `Config`, or all mistakes at once."""

import ipaddress
from collections.abc import Iterator, Mapping, Set
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from qsticky import parsers
from qsticky.errors import ConfigurationError
from qsticky.healthcheck import DEFAULT_HEALTH_FILE
from qsticky.secret import Secret
from qsticky.variable import Setting, Variable, optional, read, secret, with_default

SECRETS_FOLDER = Path("/run/secrets")


class AuthType(StrEnum):
    """How qSticky presents itself to Gluetun's control server."""

    APIKEY = "apikey"
    BASIC = "basic"
    NONE = "none"


class LogFormat(StrEnum):
    """How log lines are written."""

    JSON = "json"
    TEXT = "text"


class Notice(StrEnum):
    """What can be told to the addresses in NOTIFY_URLS."""

    FAILING = "failing"
    RECOVERED = "recovered"
    PORT_CHANGED = "port_changed"
    VPN_RESTARTED = "vpn_restarted"


class Config(NamedTuple):
    """Everything that people can set, a row for each variable. Durations are in seconds."""

    qbittorrent_host: str = with_default(parsers.host, "localhost", "WebUI host")
    qbittorrent_port: int = with_default(parsers.port, "8080", "WebUI port")
    qbittorrent_user: Secret = secret("admin", "user name")
    qbittorrent_pass: Secret = secret("adminadmin", "password")
    qbittorrent_api_key: Secret = secret(
        "", "API key (qBittorrent 5.2 and later), used instead of user and password"
    )
    qbittorrent_https: bool = with_default(parsers.switch, "false", "speak HTTPS to the WebUI")
    qbittorrent_verify_ssl: bool = with_default(parsers.switch, "true", "verify its certificate")
    qbittorrent_ca_file: Path | None = optional(
        parsers.certificates, "CA bundle to verify it with, instead of the system's"
    )
    qbittorrent_rebind: bool = with_default(
        parsers.switch, "true", "rebind the listening socket where the VPN's restart closed it"
    )
    gluetun_host: str = with_default(parsers.host, "localhost", "control server host")
    gluetun_port: int = with_default(parsers.port, "8000", "control server port")
    gluetun_auth_type: AuthType = with_default(
        parsers.choice(AuthType), "apikey", "apikey, basic or none"
    )
    gluetun_apikey: Secret = secret("", "sent as X-API-Key; without it none is sent")
    gluetun_username: Secret = secret("", "user name for basic")
    gluetun_password: Secret = secret("", "password for basic")
    gluetun_port_file: Path | None = optional(
        parsers.whole_path,
        "Gluetun's forwarded-port file, if mounted: watched, and read when the API can't be",
    )
    gluetun_port_index: int = with_default(
        parsers.whole(1, 1000), "1", "which of several forwarded ports to use, 1 for the first"
    )
    gluetun_restart_after: float = with_default(
        parsers.seconds(5, or_never=True),
        "0",
        "seconds without a forwarded port until Gluetun is told to restart the VPN; 0 for never, "
        "600 is sensible",
    )
    forwarded_port: int | None = optional(
        parsers.port, "a fixed port, of a provider that gives one for good; Gluetun is not asked"
    )
    vpn_interface: str = with_default(
        parsers.interface, "tun0", "the VPN's network interface, looked at where it is visible"
    )
    check_interval: float = with_default(
        parsers.seconds(1), "30", "seconds between checks when nothing triggers one earlier"
    )
    request_timeout: float = with_default(
        parsers.seconds(0.1, 300), "10", "seconds for one request to either service, all of it"
    )
    port_grace: float = with_default(
        parsers.seconds(0), "300", "seconds without a forwarded port until that is unhealthy"
    )
    port_check_url: Secret = secret(
        "",
        "a service on the internet that dials back, with {port} in its address; nobody is asked "
        "unless it is set",
        parsers.port_check_url,
    )
    port_check_interval: float = with_default(
        parsers.seconds(1), "3600", "seconds between two such checks"
    )
    notify_urls: Secret = secret(
        "",
        "Apprise addresses to tell of failures, separated by blanks, commas or line breaks",
        parsers.notify_urls,
    )
    notify_after: float = with_default(
        parsers.seconds(0), "120", "seconds that a failure must last before it is told"
    )
    notify_on: frozenset[Notice] = with_default(
        parsers.some(Notice),
        "failing,recovered",
        "what is told: failing, recovered, port_changed, vpn_restarted",
    )
    health_file: Path = with_default(
        parsers.file_path, DEFAULT_HEALTH_FILE, "where the health document is written"
    )
    metrics_address: str = with_default(
        parsers.host, "0.0.0.0", "bind address of the HTTP server, :: for IPv4 and IPv6"
    )
    metrics_port: int = with_default(parsers.port, "10058", "its port")
    metrics_username: Secret = secret("", "with METRICS_PASSWORD: who may look")
    metrics_password: Secret = secret(
        "", "with METRICS_USERNAME: basic auth on everything but /-/healthy"
    )
    metrics_tls_cert_file: Path | None = optional(
        parsers.pem, "with METRICS_TLS_KEY_FILE: HTTPS; a renewed pair needs no restart"
    )
    metrics_tls_key_file: Path | None = optional(
        parsers.pem, "with METRICS_TLS_CERT_FILE: its key, unencrypted"
    )
    log_level: str = with_default(
        parsers.choice(("DEBUG", "INFO", "WARNING", "ERROR")),
        "INFO",
        "DEBUG, INFO, WARNING or ERROR",
    )
    log_format: LogFormat = with_default(
        parsers.choice(LogFormat), "json", "json, or text for people at a terminal"
    )

    settings: tuple[Setting, ...] = ()
    """What is set, without the defaults, in the table's order."""

    unread: tuple[str, ...] = ()
    """The names of the environment's other variables."""

    @property
    def gluetun_url(self) -> str:
        """The control server's address."""
        return f"http://{bracketed(self.gluetun_host)}:{self.gluetun_port}"

    @property
    def qbittorrent_url(self) -> str:
        """The WebUI's address."""
        scheme = "https" if self.qbittorrent_https else "http"
        return f"{scheme}://{bracketed(self.qbittorrent_host)}:{self.qbittorrent_port}"

    @property
    def metrics_url(self) -> str:
        """The HTTP server's own address, as people on this machine would open it."""
        scheme = "https" if self.metrics_tls_cert_file else "http"
        anywhere = self.metrics_address in ("", "0.0.0.0", "::")
        host = "localhost" if anywhere else bracketed(self.metrics_address)
        return f"{scheme}://{host}:{self.metrics_port}"

    def metrics_credentials(self) -> tuple[str, str] | None:
        """Return what the HTTP server wants: nobody has the right ones while one is empty.

        None where it wants none. An empty variable is unset, an empty secret file is not.
        """
        user, password = self.metrics_username, self.metrics_password
        if not (user.configured or password.configured):
            return None
        return user.reveal(), password.reveal()


VARIABLES: Mapping[str, Variable] = {
    field.upper(): row for field, row in Config._field_defaults.items() if isinstance(row, Variable)
}
NAMES = VARIABLES.keys() | {f"{name}_FILE" for name, row in VARIABLES.items() if row.secret}
"""What is read from the environment, with the forms of secrets that name a file."""


def bracketed(host: str) -> str:
    """Write a host as URLs have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether a host is this one, as services in one network namespace are to each other.

    Linux connects to 0.0.0.0 there, too.
    """
    try:
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return host.lower() == "localhost"


def load(environ: Mapping[str, str], secrets_folder: Path = SECRETS_FOLDER) -> Config:
    """Read the configuration from an environment and the secret files.

    Raises `ConfigurationError` with every mistake, each naming the variable, the value that it
    got (never what may be a secret) and what it accepts.
    """
    values: dict[str, Any] = {}
    settings: list[Setting] = []
    mistakes: list[str] = []
    present: set[str] = set()  # also with something wrong
    for name, variable in VARIABLES.items():
        try:
            values[name], setting = read(name, variable, environ, secrets_folder)
        except ConfigurationError as error:
            mistakes += error.mistakes
            present.add(name)
        else:
            settings += [setting] if setting else []
    present |= {setting.name for setting in settings}
    mistakes += _combined(values, present)
    if mistakes:
        raise ConfigurationError(mistakes)
    return Config(
        **{name.lower(): value for name, value in values.items()},
        settings=tuple(settings),
        unread=tuple(sorted(environ.keys() - NAMES)),
    )


def _combined(values: Mapping[str, Any], present: Set[str]) -> Iterator[str]:
    """Tell what can't be set together, or only together; `values` lacks those that are wrong."""
    yield from _both_or_neither(present, "METRICS_TLS_CERT_FILE", "METRICS_TLS_KEY_FILE")
    yield from _both_or_neither(present, "METRICS_USERNAME", "METRICS_PASSWORD")
    if values.get("FORWARDED_PORT"):
        unused = [
            name for name in ("GLUETUN_RESTART_AFTER", "GLUETUN_PORT_FILE") if values.get(name)
        ]
        if values.get("GLUETUN_PORT_INDEX", 1) > 1:
            unused.append("GLUETUN_PORT_INDEX")
        for name in unused:
            yield (
                f"{name} is set, and so is FORWARDED_PORT, with which Gluetun is not asked: unset "
                "one of them"
            )
    elif values.get("GLUETUN_AUTH_TYPE") is AuthType.BASIC:
        yield from _both_or_neither(present, "GLUETUN_USERNAME", "GLUETUN_PASSWORD")
        if not present & {"GLUETUN_USERNAME", "GLUETUN_PASSWORD"}:
            yield "GLUETUN_AUTH_TYPE is basic: set GLUETUN_USERNAME and GLUETUN_PASSWORD"


def _both_or_neither(present: Set[str], one: str, other: str) -> Iterator[str]:
    for here, missing in ((one, other), (other, one)):
        if here in present and missing not in present:
            yield f"{missing} is not set, and {here} is: set both or neither"
