r"""Finds out what of a Host header qBittorrent refuses, and says what to do about it.

It takes a Host without a port on any port, and the address that it is spoken to at by any name's
list (`WebUI\ServerDomains`); so trying tells whether the name or the port is refused.
"""

from urllib.parse import urlsplit

from qsticky.errors import ServiceError
from qsticky.services import words
from qsticky.services.http import HttpClient

_LOCAL = "127.0.0.1"


def refusal(http: HttpClient) -> str:
    """Tell what is wrong with our Host header, once it was refused, and the remedy."""
    address = urlsplit(http.service.url)
    name, port = address.hostname or "", address.port
    if _takes(http, f"[{name}]" if ":" in name else name):
        return (
            f"refuses port {port} in the Host header, as it listens on another one itself; make "
            f"both ports of the mapping the same, as in {port}:{port}, with that port in its "
            "options too (WEBUI_PORT for linuxserver's image), or turn off its Host header "
            "validation (Options > Web UI)"
        )
    if name == "localhost" and _takes(http, f"{_LOCAL}:{port}"):
        return (
            f'refuses the name "{name}" in the Host header and takes {_LOCAL}; set '
            f"QBITTORRENT_HOST={_LOCAL}"
        )
    return (
        f'refuses the name "{name}" in the Host header; add it to its server domains (Options > '
        "Web UI, WebUI\\ServerDomains), and where a port is mapped, as in 8081:8080, make both "
        "ports the same"
    )


PROXIED = (
    "refuses the Host header as the proxy in front of it passes it on; have the proxy name "
    "qBittorrent's own address and port there (for nginx: proxy_set_header Host $proxy_host), or "
    "let QBITTORRENT_HOST and QBITTORRENT_PORT name qBittorrent itself"
)


def _takes(http: HttpClient, host: str) -> bool:
    try:
        with http.exchange("GET", "/api/v2/app/version", headers={"Host": host.encode()}) as answer:
            return not words.is_unauthorized(answer)
    except ServiceError:
        return False
