"""qBittorrent's own words, to the byte: whatever else comes is of something in front of it.

Alike in 4.5.2, 5.1.0 and 5.3.0: plain text without a newline and without a challenge. A `Server`
header proves nothing: a proxy passes these words on, and adds its own.
"""

from enum import Enum

from qsticky.services.line import Response

_LONGEST_BAN = 400


class LoginVerdict(Enum):
    """What qBittorrent says to a login; FOREIGN is not its word."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    BANNED = "banned"
    FOREIGN = "foreign"


def is_unauthorized(response: Response) -> bool:
    """Whether it refuses the Host header, or, from 5.2 on, a login's password."""
    return _says(response, 401, b"Unauthorized")


def is_forbidden(response: Response) -> bool:
    """Whether it misses a session, or refuses an API key."""
    return _says(response, 403, b"Forbidden")


def login_verdict(response: Response) -> LoginVerdict:
    """Read the answer to a login, just before which qBittorrent's own `Forbidden` came.

    Right is 200 `Ok.` to 5.1 and an empty 204 since 5.2; wrong is 200 `Fails.`, or 401. The ban is
    a 403 with a localised sentence.
    """
    if (response.status, response.body) in ((200, b"Ok."), (204, b"")):
        return LoginVerdict.ACCEPTED
    if _says(response, 200, b"Fails.") or is_unauthorized(response):
        return LoginVerdict.REFUSED
    if response.status == 403 and _is_plain(response) and _is_a_sentence(response.body):
        return LoginVerdict.BANNED
    return LoginVerdict.FOREIGN


def foreign(response: Response) -> str:
    """Tell what a refusal means that is not in qBittorrent's words, and what to do about it."""
    itself = "let QBITTORRENT_HOST and QBITTORRENT_PORT name qBittorrent itself"
    if "WWW-Authenticate" in response.headers:
        return (
            f"asks for another login than qBittorrent's ({response.status} with WWW-Authenticate), "
            f"as a reverse proxy in front of it does; {itself}, or have the proxy pass /api/v2 on "
            "without a login of its own"
        )
    return (
        f"answered {response.status} in words that are not qBittorrent's: it is another service, "
        f"or a proxy in front of it refuses; {itself}, or have the proxy let qSticky's address "
        "through (its own log says what it refused)"
    )


def _says(response: Response, status: int, words: bytes) -> bool:
    return response.status == status and response.body == words and _is_plain(response)


def _is_plain(response: Response) -> bool:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind == "text/plain" and "WWW-Authenticate" not in response.headers


def _is_a_sentence(body: bytes) -> bool:
    """Whether it is one line for people, neither HTML nor JSON, and not `Forbidden`."""
    text = body.strip()
    return (
        0 < len(text) <= _LONGEST_BAN
        and b"\n" not in text
        and text != b"Forbidden"
        and text[:1] not in b"<{["
    )
