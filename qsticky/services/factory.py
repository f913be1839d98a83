"""Makes the clients of the two services that the configuration names."""

from collections.abc import Callable
from functools import partial

from qsticky.config import AuthType, Config
from qsticky.services.gluetun import Gluetun, basic_authorization, gluetun_service
from qsticky.services.gluetun_roles import Credential
from qsticky.services.http import HttpClient, Observer
from qsticky.services.login_limit import Credentials, LoginLimit
from qsticky.services.port_file import PortFile
from qsticky.services.qbittorrent import QBittorrent, qbittorrent_service
from qsticky.services.vpn_control import VpnControl


def make_gluetun(config: Config, observe: Observer) -> Gluetun:
    """Make the client of the Gluetun that the configuration names."""
    path = config.gluetun_port_file
    return Gluetun(
        _control_server(config, observe),
        partial(_credential, config),
        PortFile(path) if path else None,
    )


def make_vpn_control(config: Config, observe: Observer) -> VpnControl:
    """Make the means to stop and start the VPN of that Gluetun."""
    return VpnControl(_control_server(config, observe), partial(_credential, config))


def _control_server(config: Config, observe: Observer) -> HttpClient:
    return HttpClient(gluetun_service(config.gluetun_url), config.request_timeout, observe)


def _credential(config: Config) -> Credential:
    if config.gluetun_auth_type is AuthType.BASIC:
        user, password = config.gluetun_username.reveal(), config.gluetun_password.reveal()
        authorization = basic_authorization(user, password)
        return Credential(authorization, "GLUETUN_USERNAME and GLUETUN_PASSWORD")
    unsent = bool(config.gluetun_username and config.gluetun_password)
    key = config.gluetun_apikey.reveal()
    if key and config.gluetun_auth_type is AuthType.APIKEY:
        return Credential({"X-API-Key": key.encode()}, "GLUETUN_APIKEY", password_unsent=unsent)
    return Credential({}, key_unsent=bool(key), password_unsent=unsent)


def make_qbittorrent(
    config: Config,
    observe: Observer,
    limit: LoginLimit,
    before_login: Callable[[float], object] = lambda _: None,
) -> QBittorrent:
    """Make the client of the qBittorrent that the configuration names."""
    return QBittorrent(
        make_webui(config, observe),
        lambda: Credentials(config.qbittorrent_user.reveal(), config.qbittorrent_pass.reveal()),
        config.qbittorrent_api_key.reveal,
        limit,
        before_login,
    )


def make_webui(config: Config, observe: Observer) -> HttpClient:
    """Make the means to speak HTTP or HTTPS to that qBittorrent's WebUI."""
    ca_file = config.qbittorrent_ca_file
    verify = config.qbittorrent_verify_ssl and (str(ca_file) if ca_file else True)
    service = qbittorrent_service(config.qbittorrent_url, verify)
    return HttpClient(service, config.request_timeout, observe)
