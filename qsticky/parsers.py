"""Turns the text of a variable into its value, or raises a `Mistake` with what it accepts.

No parser repeats the text in it: whoever asked knows it, and what of it may be shown.
"""

import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from qsticky.errors import Mistake
from qsticky.files import open_at_once

_T = TypeVar("_T")
_S = TypeVar("_S", bound=str)


def host(text: str) -> str:
    """Read a name or an address, an IPv6 one with or without brackets; its zone is kept."""
    name = text.removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(name) and not _is_ipv6(name):
        raise Mistake(
            "is not a host: give a name or an address alone, as in gluetun or 127.0.0.1, "
            "and its port in the variable for that"
        )
    return name


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return re.search(r"[^\w.:%-]", text, re.ASCII) is None  # a zone can be any text else


def interface(text: str) -> str:
    """Read an interface's name, by the kernel's own rule (dev_valid_name).

    IFNAMSIZ is 16 with the closing zero. It takes bytes beyond ASCII too, which nobody uses.
    """
    if len(text) > 15 or text in (".", "..") or re.search(r"[^!-~]|[/:]", text):
        raise Mistake("is not an interface name: give one of up to 15 characters, as in tun0")
    return text


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """Make a parser of whole numbers."""

    def parse(text: str) -> int:
        number = int(text) if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else None
        if number is None or not lowest <= number <= highest:
            raise Mistake(f"is not a whole number from {lowest} to {highest}")
        return number

    return parse


def port(text: str) -> int:
    """Read a port's number."""
    if re.match(r"(tcp|udp)://", text):
        raise Mistake(
            "is a link that Docker or Kubernetes made for a service of that name, not a port: set "
            "the variable yourself, or enableServiceLinks: false for the pod"
        )
    return whole(1, 65535)(text)


def seconds(
    lowest: float, highest: float = 86400, *, or_never: bool = False
) -> Callable[[str], float]:
    """Make a parser of durations in seconds; `or_never` takes a 0 too."""
    accepted = "0 for never, or " if or_never else ""

    def parse(text: str) -> float:
        number = float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text, re.ASCII) else None
        if number is None or not (lowest <= number <= highest or (or_never and number == 0)):
            raise Mistake(f"is not {accepted}a number of seconds from {lowest:g} to {highest:g}")
        return number

    return parse


def switch(text: str) -> bool:
    """Read true or false."""
    value = _SWITCH.get(text.lower())
    if value is None:
        raise Mistake("is neither true nor false")
    return value


def choice(choices: Iterable[_S]) -> Callable[[str], _S]:
    """Make a parser of one of some texts, in any case of their letters."""
    by_name = {each.lower(): each for each in choices}

    def parse(text: str) -> _S:
        try:
            return by_name[text.lower()]
        except KeyError:
            raise Mistake(f"is none of {', '.join(by_name.values())}") from None

    return parse


def some(choices: Iterable[_S]) -> Callable[[str], frozenset[_S]]:
    """Make a parser of some of these texts, separated by commas or blanks."""
    one, names = choice(choices), ", ".join(choices)

    def parse(text: str) -> frozenset[_S]:
        try:
            return frozenset(one(each) for each in re.split(r"[\s,]+", text.strip(" ,")))
        except Mistake:
            raise Mistake(f"is not a list of {names}, separated by commas") from None

    return parse


def file_path(text: str) -> Path:
    """Read the path of a file that need not be there yet."""
    if re.search(r"://|[\r\n]", text):
        raise Mistake("is not a path")
    if os.path.isdir(text):
        raise _is_a_folder()
    # As root we would put a file in its place, and take it away at the end.
    if os.path.dirname(os.path.abspath(text)) == "/dev":
        raise Mistake("is a device: give the path of a file, or leave it unset")
    return Path(text)


def whole_path(text: str) -> Path:
    """Read such a path that is the same wherever this runs."""
    if not os.path.isabs(text):
        raise Mistake("is not a path that begins with /, as /tmp/gluetun/forwarded_port does")
    return file_path(text)


def unreadable(error: OSError) -> Mistake:
    """Say that a file can't be read, and what to do."""
    if isinstance(error, IsADirectoryError):
        return _is_a_folder()
    return Mistake(f"can't be read ({error.strerror}): mount it, and let qSticky's user read it")


def _is_a_folder() -> Mistake:
    return Mistake(
        "is a folder, where a file should be: Docker makes one where the source of a mount is "
        "missing; remove it on the host, and mount a file that is there, or the folder of one that "
        "is to come"
    )


def certificates(text: str) -> Path:
    """Read the path of a file with a CA's certificates."""
    path = pem(text)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise Mistake("holds no certificate: give the CA's, in PEM form") from None
    return path


def pem(text: str) -> Path:
    """Read the path of a certificate or a key; OpenSSL asks a terminal what an encrypted one's is.

    The password, that is, for which there is nobody.
    """
    path = Path(text)
    try:
        with open_at_once(path) as file:
            content = file.read(_LARGEST_PEM) or b""
    except OSError as error:
        raise unreadable(error) from None
    if not os.path.isfile(path):  # a FIFO would hold the reader
        raise Mistake("is not a regular file: give the path of one")
    if _ENCRYPTED.search(content):
        raise Mistake(
            "is encrypted, and nobody is there to type its password: give it unencrypted, as "
            "openssl pkey writes it"
        )
    return path


def port_check_url(text: str) -> str:
    """Take an address for a port to be put in."""
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        right = named and "{port}" in parts.path + parts.query
    except ValueError:
        right = False
    if not right or re.search(r"\s", text):
        raise Mistake(
            "is not an http or https address with {port} in it, as in "
            "https://portcheck.transmissionbt.com/{port}"
        )
    return text


def notify_urls(text: str) -> str:
    """Take the addresses that Apprise can use; it may be missing."""
    from qsticky.notify_urls import services  # for those who set any

    services(text)
    return text


# Labels of up to 63 characters, 253 in all: what the resolver refuses is not a name to look up.
_HOST = re.compile(r"(?!.{254})\w[\w-]{0,62}(\.[\w-]{1,63})*\.?", re.ASCII)
_ENCRYPTED = re.compile(rb"BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED")
_LARGEST_PEM = 1 << 20
_SWITCH = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
