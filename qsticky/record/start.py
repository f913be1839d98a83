"""The start line: what qSticky was told to do, for machines and for people."""

from collections.abc import Mapping

from qsticky import __version__
from qsticky.config import AuthType, Config

_CREDENTIALS = {
    "apikey": "with an API key",
    "basic": "with user and password",
    "password": "with user and password",
    "none": "without a credential",
}


def start_fields(config: Config) -> dict[str, object]:
    """Return what the start line tells, for machines; with a fixed port nothing of Gluetun."""
    no_key = config.gluetun_auth_type is AuthType.APIKEY and not config.gluetun_apikey
    source: dict[str, object] = {
        "gluetun_url": config.gluetun_url,
        "gluetun_auth": AuthType.NONE if no_key else config.gluetun_auth_type,
    }
    if config.forwarded_port:
        source = {"forwarded_port": config.forwarded_port}
    return {
        "version": __version__,
        **source,
        "qbittorrent_url": config.qbittorrent_url,
        "qbittorrent_auth": "apikey" if config.qbittorrent_api_key else "password",
        "check_interval": config.check_interval,
    }


def start_line(config: Config, fields: Mapping[str, object]) -> str:
    """Write the same as one sentence."""
    source = f"the fixed port {config.forwarded_port}"
    if config.forwarded_port is None:
        source = f"Gluetun at {config.gluetun_url} {_CREDENTIALS[str(fields['gluetun_auth'])]}"
    return (
        f"qSticky {__version__}: {source}, qBittorrent at {config.qbittorrent_url} "
        f"{_CREDENTIALS[str(fields['qbittorrent_auth'])]}, checked every "
        f"{config.check_interval:g} s"
    )
