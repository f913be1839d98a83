"""The start line: what qSticky was told to do, for machines and for people."""

from qsticky import __version__
from qsticky.config import AuthType, Config

_CREDENTIALS = {
    "apikey": "with an API key",
    "basic": "with user and password",
    "password": "with user and password",
    "none": "without a credential",
}


def start_line(config: Config) -> tuple[str, dict[str, object]]:
    """Tell it as one sentence and as fields; with a fixed port nothing of Gluetun."""
    own = "apikey" if config.qbittorrent_api_key else "password"
    no_key = config.gluetun_auth_type is AuthType.APIKEY and not config.gluetun_apikey
    auth = AuthType.NONE if no_key else config.gluetun_auth_type
    source: dict[str, object] = {"gluetun_url": config.gluetun_url, "gluetun_auth": auth}
    told = f"Gluetun at {config.gluetun_url} {_CREDENTIALS[auth]}"
    if config.forwarded_port:
        source = {"forwarded_port": config.forwarded_port}
        told = f"the fixed port {config.forwarded_port}"
    fields = {
        "version": __version__,
        **source,
        "qbittorrent_url": config.qbittorrent_url,
        "qbittorrent_auth": own,
        "check_interval": config.check_interval,
    }
    return (
        f"qSticky {__version__}: {told}, qBittorrent at {config.qbittorrent_url} "
        f"{_CREDENTIALS[own]}, checked every {config.check_interval:g} s"
    ), fields
