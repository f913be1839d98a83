"""Turns the environment and secret files into one frozen `Config`, or into all mistakes at once."""

import contextlib
import difflib
import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, cast

from environs import Env, EnvError, EnvValidationError

from qsticky.errors import ConfigurationError
from qsticky.files import open_at_once
from qsticky.healthcheck import DEFAULT_HEALTH_FILE

_T = TypeVar("_T")

SECRETS_FOLDER = Path("/run/secrets")
_LONGEST_SECRET = 4096


class AuthType(StrEnum):
    """How qSticky presents itself to Gluetun's control server."""

    APIKEY = "apikey"
    BASIC = "basic"
    NONE = "none"


class LogFormat(StrEnum):
    """How log lines are written."""

    JSON = "json"
    TEXT = "text"


@dataclass
class Secret:
    """A value that shows in no `repr`; when it came from a file, that file is its source."""

    _value: str = field(repr=False)
    path: Path | None = None

    def reveal(self) -> str:
        """The value now: its file's, or the last known where the file can't be read.

        Secrets that are rotated on disk so take effect without a restart.
        """
        if self.path is not None:
            with contextlib.suppress(OSError, ValueError):
                self._value = _read_secret(self.path) or self._value
        return self._value

    @property
    def empty(self) -> bool:
        """Whether its file has nothing in it, which counts as unset."""
        if self.path is not None:
            with contextlib.suppress(OSError, ValueError):
                return not _read_secret(self.path)
        return False

    def __bool__(self) -> bool:
        return bool(self._value)


@dataclass(frozen=True)
class Config:
    """Everything that people can set. Durations are in seconds."""

    qbittorrent_host: str
    qbittorrent_port: int
    qbittorrent_user: Secret
    qbittorrent_pass: Secret
    qbittorrent_api_key: Secret
    qbittorrent_https: bool
    qbittorrent_verify_ssl: bool
    qbittorrent_ca_file: Path | None
    qbittorrent_rebind: bool
    gluetun_host: str
    gluetun_port: int
    gluetun_auth_type: AuthType
    gluetun_apikey: Secret
    gluetun_username: Secret
    gluetun_password: Secret
    gluetun_port_file: Path | None
    gluetun_port_index: int
    vpn_interface: str
    check_interval: float
    request_timeout: float
    port_grace: float
    health_file: Path
    metrics_address: str
    metrics_port: int
    metrics_username: Secret
    metrics_password: Secret
    metrics_tls_cert_file: Path | None
    metrics_tls_key_file: Path | None
    log_level: str
    log_format: LogFormat

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

    def warnings(self) -> list[str]:
        """What is allowed, and yet worth a sentence at start."""
        warnings = [
            f"{name.upper()}: {value.path} is empty, which counts as unset; write the secret to it"
            for name, value in vars(self).items()
            if isinstance(value, Secret) and value.empty
        ]
        if os.path.isdir(SECRETS_FOLDER) and not os.access(SECRETS_FOLDER, os.X_OK):
            warnings.append(
                f"Secrets in {SECRETS_FOLDER} are not used, since qSticky's user can't enter that "
                "folder; let it, or run qSticky as the user who can"
            )
        if self.gluetun_auth_type is AuthType.APIKEY and not self.gluetun_apikey:
            warnings.append(
                "GLUETUN_APIKEY is empty, so no key is sent to Gluetun, which works only where "
                "its control server is open; set GLUETUN_APIKEY, or GLUETUN_AUTH_TYPE=none to "
                "say that this is meant"
            )
        return warnings


def bracketed(host: str) -> str:
    """Write a host as URLs have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class Setting:
    """A variable that is set: its text, which is None for a secret's, and where it came from."""

    name: str
    text: str | None
    source: str


def settings(config: Config) -> list[Setting]:
    """Return what this process's environment and the secret files set, without the defaults."""
    found = []
    for name, value in ((name.upper(), value) for name, value in vars(config).items()):
        given = os.environ.get(name, "")
        if isinstance(value, Secret) and (given or value.path):
            source = "environment" if given else f"file {value.path}"
            found.append(Setting(name, None, source))
        elif not isinstance(value, Secret) and given.strip():
            found.append(Setting(name, given.strip(), "environment"))
    return found


def misspelt() -> list[str]:
    """Tell of each variable of the environment that nobody reads, and resembles one of ours."""
    known = [field.name.upper() for field in fields(Config)]
    known += [f"{field.name.upper()}_FILE" for field in fields(Config) if field.type is Secret]
    resembled = (
        (name, difflib.get_close_matches(name, known, n=1, cutoff=0.85))
        for name in sorted(os.environ.keys() - set(known))
    )
    return [
        f"{name} is set, and qSticky knows no such variable; is it {close[0]}?"
        for name, close in resembled
        if close
    ]


def is_loopback(host: str) -> bool:
    """Whether a host is this one, as services in one network namespace are to each other."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def load(secrets_folder: Path = SECRETS_FOLDER) -> Config:
    """Read the configuration from the environment and the secret files.

    Raises `ConfigurationError` with every mistake, each naming the variable, the value that it
    got (never a secret's) and what it accepts.
    """
    env = Env(eager=False)
    for name, parser in _PARSERS.items():
        env.add_parser(name, _unset_when_empty(parser))
    mistakes: list[str] = []

    def secret(name: str, default: str = "") -> Secret:
        try:
            return _secret(env, name, default, secrets_folder)
        except _Mistake as mistake:
            mistakes.append(str(mistake))
            return Secret("")

    # Every default is "", which a parser takes for "unset", as it does an empty value.
    config = Config(
        qbittorrent_host=env.host("QBITTORRENT_HOST", "", unset="localhost"),
        qbittorrent_port=env.whole("QBITTORRENT_PORT", "", unset=8080, highest=65535),
        qbittorrent_user=secret("QBITTORRENT_USER", "admin"),
        qbittorrent_pass=secret("QBITTORRENT_PASS", "adminadmin"),
        qbittorrent_api_key=secret("QBITTORRENT_API_KEY"),
        qbittorrent_https=env.switch("QBITTORRENT_HTTPS", "", unset=False),
        qbittorrent_verify_ssl=env.switch("QBITTORRENT_VERIFY_SSL", "", unset=True),
        qbittorrent_ca_file=env.certificates("QBITTORRENT_CA_FILE", "", unset=None),
        qbittorrent_rebind=env.switch("QBITTORRENT_REBIND", "", unset=True),
        gluetun_host=env.host("GLUETUN_HOST", "", unset="localhost"),
        gluetun_port=env.whole("GLUETUN_PORT", "", unset=8000, highest=65535),
        gluetun_auth_type=env.choice(
            "GLUETUN_AUTH_TYPE", "", unset=AuthType.APIKEY, choices=AuthType
        ),
        gluetun_apikey=secret("GLUETUN_APIKEY"),
        gluetun_username=secret("GLUETUN_USERNAME"),
        gluetun_password=secret("GLUETUN_PASSWORD"),
        gluetun_port_file=env.file_path("GLUETUN_PORT_FILE", "", unset=None),
        gluetun_port_index=env.whole("GLUETUN_PORT_INDEX", "", unset=1, highest=1000),
        vpn_interface=env.interface("VPN_INTERFACE", "", unset="tun0"),
        check_interval=env.seconds("CHECK_INTERVAL", "", unset=30.0, lowest=1),
        request_timeout=env.seconds("REQUEST_TIMEOUT", "", unset=10.0, lowest=0.1, highest=300),
        port_grace=env.seconds("PORT_GRACE", "", unset=300.0, lowest=0),
        health_file=env.file_path("HEALTH_FILE", "", unset=Path(DEFAULT_HEALTH_FILE)),
        metrics_address=env.host("METRICS_ADDRESS", "", unset="0.0.0.0"),
        metrics_port=env.whole("METRICS_PORT", "", unset=10058, highest=65535),
        metrics_username=secret("METRICS_USERNAME"),
        metrics_password=secret("METRICS_PASSWORD"),
        metrics_tls_cert_file=env.readable("METRICS_TLS_CERT_FILE", "", unset=None),
        metrics_tls_key_file=env.readable("METRICS_TLS_KEY_FILE", "", unset=None),
        log_level=env.choice(
            "LOG_LEVEL", "", unset="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR")
        ),
        log_format=env.choice("LOG_FORMAT", "", unset=LogFormat.JSON, choices=LogFormat),
    )
    try:
        env.seal()
    except EnvValidationError as error:
        by_name = cast("dict[str, list[str]]", error.error_messages)
        mistakes.extend(f"{name}: {text}" for name, texts in by_name.items() for text in texts)
    mistakes.extend(_pair_mistakes(config, wrong=mistakes))
    if mistakes:
        raise ConfigurationError(mistakes)
    return config


def _pair_mistakes(config: Config, wrong: list[str]) -> list[str]:
    """Half-set pairs; one with a part that is `wrong`, and was read as nothing, is left out."""
    pairs: list[dict[str, object]] = [
        {
            "METRICS_TLS_CERT_FILE": config.metrics_tls_cert_file,
            "METRICS_TLS_KEY_FILE": config.metrics_tls_key_file,
        },
        {
            "METRICS_USERNAME": config.metrics_username,
            "METRICS_PASSWORD": config.metrics_password,
        },
    ]
    if config.gluetun_auth_type is AuthType.BASIC:
        pairs.append(
            {
                "GLUETUN_USERNAME": config.gluetun_username,
                "GLUETUN_PASSWORD": config.gluetun_password,
            }
        )
    mistakes = []
    for pair in pairs:
        missing = [name for name, value in pair.items() if not value]
        if all(any(m.startswith(name) for m in wrong) for name in missing):
            continue
        if len(missing) == 1:
            present = next(name for name in pair if name not in missing)
            mistakes.append(f"{missing[0]} is not set, and {present} is: set both or neither")
        elif "GLUETUN_USERNAME" in pair:
            mistakes.append("GLUETUN_AUTH_TYPE is basic: set GLUETUN_USERNAME and GLUETUN_PASSWORD")
    return mistakes


def _secret(env: Env, name: str, default: str, secrets_folder: Path) -> Secret:
    value: str = env.str(name, "")
    file: str = env.str(f"{name}_FILE", "")
    if value and file:
        raise _Mistake(f"{name} and {name}_FILE are both set: unset one of them")
    path = None if value else Path(file) if file else secrets_folder / name.lower()
    if path and not file and not os.path.exists(path):  # nor in a folder closed to this user
        return Secret(default)
    source = f"{name}_FILE: {file!r}" if file else f"{name}: {str(path)!r}" if path else name
    try:
        content = _read_secret(path) if path else _checked_secret(os.fsencode(value))
        return Secret(content or default, path)
    except OSError as error:
        problem = f"can't be read ({error.strerror}): mount it, and let qSticky's user read it"
    except ValueError as error:
        problem = f"{error}: put just the secret into it, as one line of text"
    raise _Mistake(f"{source} {problem}")


def _read_secret(path: Path) -> str:
    """Read a secret; raises OSError or ValueError, naming no content."""
    with open_at_once(path) as file:
        return _checked_secret(file.read(_LONGEST_SECRET + len("\r\n?")) or b"")


def _checked_secret(content: bytes) -> str:
    """Return a secret without its trailing newline if it can be sent; else raise ValueError.

    A control character in a header never can.
    """
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if len(content) > _LONGEST_SECRET:
        raise ValueError(f"is longer than {_LONGEST_SECRET} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8 text") from None
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("contains a line break or another control character")
    return text


class _Mistake(EnvError):
    """What is wrong with one value, and what the variable accepts."""


def _unset_when_empty(parse: Callable[..., _T]) -> Callable[..., _T]:
    def parser(raw: str, *, unset: _T, **limits: Any) -> _T:
        return parse(raw.strip(), **limits) if raw.strip() else unset

    return parser


def _host(raw: str) -> str:
    host = raw.removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(host) and not _is_ipv6(host):
        raise _Mistake(
            f"{raw!r} is no host: give a name or an address alone, as in gluetun or 127.0.0.1"
        )
    return host


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return re.search(r"[^\w.:%-]", host, re.ASCII) is None  # a zone can be any text else


def _interface(raw: str) -> str:
    # The kernel's own rule for names (dev_valid_name), IFNAMSIZ being 16 with the closing zero;
    # but for bytes beyond ASCII, which it takes and nobody uses.
    if len(raw) > 15 or raw in (".", "..") or re.search(r"[^!-~]|[/:]", raw):
        raise _Mistake(f"{raw!r} is no interface name: give one of up to 15 characters, as in tun0")
    return raw


def _whole(raw: str, *, lowest: int = 1, highest: int) -> int:
    number = int(raw) if re.fullmatch(r"[0-9]{1,9}", raw, re.ASCII) else None
    if number is None or not lowest <= number <= highest:
        raise _Mistake(f"{raw!r} is not a whole number from {lowest} to {highest}")
    return number


def _seconds(raw: str, *, lowest: float, highest: float = 86400) -> float:
    seconds = float(raw) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", raw, re.ASCII) else None
    if seconds is None or not lowest <= seconds <= highest:
        raise _Mistake(f"{raw!r} is not a number of seconds from {lowest} to {highest}")
    return seconds


def _switch(raw: str) -> bool:
    switch = _SWITCH.get(raw.lower())
    if switch is None:
        raise _Mistake(f"{raw!r} is neither true nor false")
    return switch


def _choice(raw: str, *, choices: Iterable[str]) -> str:
    for choice in choices:
        if raw.lower() == choice.lower():
            return choice
    raise _Mistake(f"{raw!r} is none of {', '.join(choices)}")


def _readable(raw: str) -> Path:
    path = Path(raw)
    try:
        with open_at_once(path):
            return path
    except OSError as error:
        raise _Mistake(
            f"{raw!r} can't be read ({error.strerror}): mount it, and let qSticky's user read it"
        ) from None


def _certificates(raw: str) -> Path:
    path = _readable(raw)
    try:
        if path.is_file():  # a FIFO would hold the reader
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
            return path
    except ssl.SSLError:
        pass
    raise _Mistake(f"{raw!r} holds no certificate: give the CA's, in PEM form")


# Labels of up to 63 characters, 253 in all: what the resolver refuses is no name it can't find.
_HOST = re.compile(r"(?!.{254})\w[\w-]{0,62}(\.[\w-]{1,63})*\.?", re.ASCII)
_SWITCH = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_PARSERS: dict[str, Callable[..., object]] = {
    "host": _host,
    "interface": _interface,
    "whole": _whole,
    "seconds": _seconds,
    "switch": _switch,
    "choice": _choice,
    "readable": _readable,
    "certificates": _certificates,
    "file_path": Path,
}
