"""Tries what else would reach a WebUI that can't be spoken to: a remedy that was tried works."""

from collections.abc import Sequence

from qsticky.check import remedies
from qsticky.check.facts import Facts
from qsticky.check.findings import Remedy
from qsticky.config import Config, bracketed, is_loopback
from qsticky.errors import ErrorKind, ServiceError
from qsticky.services import words
from qsticky.services.factory import make_webui
from qsticky.services.failures import is_a_gateways, port_of_https
from qsticky.services.http import Response, unobserved

_TRIED = "This was tried, and works. "


def ask(config: Config, host: str | None = None) -> Response:
    """Ask the WebUI for its version, without a login; raises ServiceError.

    `host` is another Host header than the usual one.
    """
    headers = {"Host": host.encode()} if host else {}
    webui = make_webui(config, unobserved)
    with webui.exchange("GET", "/api/v2/app/version", headers=headers) as answer:
        return answer


def is_qbittorrent(config: Config) -> bool:
    """Whether what answers is qBittorrent, in its own words."""
    try:
        answer = ask(config)
    except ServiceError:
        return False
    let_in = answer.status == 200 and answer.body.startswith(b"v")
    return let_in or words.is_forbidden(answer) or words.is_unauthorized(answer)


def remedies_for_no_answer(error: ServiceError, facts: Facts) -> Sequence[Remedy]:
    """Find what helps where the WebUI is unreachable: HTTPS or not, or any certificate."""
    config = facts.config
    if error.absent:
        return remedies.address(facts, "qbittorrent", 8080)
    if error.kind is ErrorKind.INVALID_RESPONSE:
        return remedies.qbittorrent_itself(facts)
    if error.kind is ErrorKind.TIMEOUT:
        return remedies.webui_port(facts)
    answer = ask(config) if error.kind is ErrorKind.HTTP_STATUS else None
    if answer and is_a_gateways(answer):
        return remedies.address(facts, "qbittorrent", 8080)
    other = _other_protocol(config, answer)
    settings = [f"QBITTORRENT_HTTPS={str(other.qbittorrent_https).lower()}"]
    if other.qbittorrent_port != config.qbittorrent_port:
        settings.append(f"QBITTORRENT_PORT={other.qbittorrent_port}")
    if is_qbittorrent(other):
        return (remedies.for_qsticky(facts, *settings, why=_TRIED),)
    secured = config if config.qbittorrent_https else other
    if is_qbittorrent(secured._replace(qbittorrent_verify_ssl=False)):
        others = [] if config.qbittorrent_https else settings
        by_ca = "QBITTORRENT_CA_FILE" in _refusal(secured)
        return remedies.certificate(facts, *others, by_ca=by_ca)
    if error.kind is ErrorKind.HTTP_STATUS:
        return remedies.qbittorrent_itself(facts)
    return remedies.webui_port(facts)


def _refusal(config: Config) -> str:
    """Tell why nothing can be asked there, with what would help."""
    try:
        ask(config)
    except ServiceError as error:
        return str(error)
    return ""


def _other_protocol(config: Config, answer: Response | None) -> Config:
    """Speak HTTPS in place of HTTP, at the port to which a redirect leads, or the other way."""
    port = answer and port_of_https(config.qbittorrent_url, answer)
    return config._replace(
        qbittorrent_https=not config.qbittorrent_https,
        qbittorrent_port=port or config.qbittorrent_port,
    )


def remedies_for_the_host_header(facts: Facts) -> Sequence[Remedy]:
    """Find out whether it is the name or the port in the Host header that is refused.

    qBittorrent takes a Host without a port on any port, and the address that it is spoken to at by
    any name's list.
    """
    config = facts.config
    ways = [remedies.VALIDATE_NO_HOST]
    if ask(config).by_proxy:
        ways.insert(0, remedies.HOST_OF_A_PROXY)
    if not _refuses(config, bracketed(config.qbittorrent_host)):
        return remedies.either(remedies.port_mapping(facts), *ways)
    ways.insert(0, remedies.server_domain(config))
    by_address = config._replace(qbittorrent_host="127.0.0.1")
    if is_loopback(config.qbittorrent_host) and not _refuses(by_address):
        ways.insert(0, remedies.for_qsticky(facts, "QBITTORRENT_HOST=127.0.0.1", why=_TRIED))
    return remedies.either(*ways)


def _refuses(config: Config, host: str | None = None) -> bool:
    return words.is_unauthorized(ask(config, host))
