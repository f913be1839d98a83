"""Tries what else would reach a WebUI that can't be spoken to: a remedy that was tried works."""

from collections.abc import Sequence
from dataclasses import replace

from qsticky.check import remedies
from qsticky.check.facts import Facts
from qsticky.check.findings import Remedy
from qsticky.config import Config, bracketed, is_loopback
from qsticky.errors import ErrorKind, ServiceError
from qsticky.services.factory import make_webui
from qsticky.services.http import unobserved


def status(config: Config, host: str | None = None) -> int:
    """Ask the WebUI for its version, without a login, and return the answer's status.

    403 is a missing session, 401 a refused Host header (`host`, or the usual one), and 200 where
    no login is needed. Raises ServiceError.
    """
    headers = {"Host": host.encode()} if host else {}
    webui = make_webui(config, unobserved)
    with webui.exchange("GET", "/api/v2/app/version", headers=headers) as answer:
        return answer.status


def remedies_for_no_answer(error: ServiceError, facts: Facts) -> Sequence[Remedy]:
    """Find what helps where the WebUI is unreachable: HTTPS or not, or any certificate."""
    config = facts.config
    if error.gone:
        return remedies.address(facts, "qbittorrent", 8080)
    if error.kind not in (ErrorKind.TLS, ErrorKind.CONNECTION):
        return ()
    other = replace(config, qbittorrent_https=not config.qbittorrent_https)
    setting = f"QBITTORRENT_HTTPS={str(other.qbittorrent_https).lower()}"
    if _is_webui(other):
        return (remedies.for_qsticky(facts, setting, why="This was tried, and works. "),)
    if _is_webui(replace(config, qbittorrent_https=True, qbittorrent_verify_ssl=False)):
        return remedies.certificate(facts, *([] if config.qbittorrent_https else [setting]))
    return remedies.webui_port(facts) if error.kind is ErrorKind.CONNECTION else ()


def remedies_for_the_host_header(facts: Facts) -> Sequence[Remedy]:
    """Find out whether the name or the port in the Host header is refused, and what helps."""
    config = facts.config
    if status(config, bracketed(config.qbittorrent_host)) != 401:  # without a port
        return remedies.either(remedies.port_mapping(facts), remedies.VALIDATE_NO_HOST)
    found = [remedies.server_domain(config), remedies.VALIDATE_NO_HOST]
    by_address = replace(config, qbittorrent_host="127.0.0.1")
    if is_loopback(config.qbittorrent_host) and status(by_address) != 401:
        why = "This was tried, and works. "
        found.insert(0, remedies.for_qsticky(facts, "QBITTORRENT_HOST=127.0.0.1", why=why))
    return remedies.either(*found)


def _is_webui(config: Config) -> bool:
    try:
        return status(config) in (200, 401, 403)
    except ServiceError:
        return False
