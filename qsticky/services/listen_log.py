"""What qBittorrent logs of the addresses that it listens on, or could not.

It has an entry for each address and protocol, of type 2 for a success and of type 8 for a failure.
The words are localised; the address and `TCP/51500`, or `UTP/51500`, stand in them. The log lives
in memory, and its ids begin anew with each start.
"""

import contextlib
import re
from collections import deque
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from typing import Any, NamedTuple

from qsticky.services.bounded_json import parse
from qsticky.text import kept

_SUCCESS, _FAILURE = 2, 8
_MOST_ENTRIES = 500  # the last ones; an address has two at each opening
_MOST_WORDS = 50  # of a message that may be an address, each of which costs an exception
# It is flat. Possessive, so that the time is linear.
_ENTRY = re.compile(rb'\s*(\{(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+\})\s*', re.DOTALL)
_PORT = re.compile(r"\b(TCP|UTP)/([0-9]{1,5})\b")
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]+")


class LogMark(NamedTuple):
    """A place in the log: an entry's id, and what tells it from another process's same id."""

    id: int
    fingerprint: int


class ListenEntry(NamedTuple):
    """qBittorrent's word that it listens on an address, or could not, and its whole message.

    `protocol` is TCP or UTP.
    """

    address: IPv4Address | IPv6Address
    protocol: str
    listening: bool
    message: str


class ListenLog(NamedTuple):
    """What was logged of one port, oldest first.

    `mark` is the newest entry of all that were asked for; None where there is none. `continues`
    tells that the entry from which it was asked was found again: the same process logged it.
    """

    mark: LogMark | None
    continues: bool
    entries: tuple[ListenEntry, ...]


def query(after: LogMark | None) -> str:
    """Return the path that asks for what is wanted here, from the entry of `after` on."""
    levels = "normal=false&info=true&warning=false&critical=true"
    return f"/api/v2/log/main?{levels}&last_known_id={after.id - 1 if after else -1}"


def read(body: bytes, port: int, after: LogMark | None) -> ListenLog:
    """Read an answer to `query(after)`, entry by entry: it can be megabytes.

    Raises ValueError where it is not a log.
    """
    names = (b"TCP/%d" % port, b"UTP/%d" % port)
    kept = deque[bytes](maxlen=_MOST_ENTRIES)
    first = newest = None
    for newest in _entries(body):
        first = first or newest
        if any(name in newest for name in names):
            kept.append(newest)
    continues = first is not None and after is not None and _mark(first) == after
    if continues and kept and kept[0] == first:
        kept.popleft()
    entries = tuple(found for entry in kept for found in _read_entry(entry, port))
    return ListenLog(_mark(newest) if newest else None, continues, entries)


def _entries(body: bytes) -> Iterator[bytes]:
    """Yield the objects of an array, as they stand in it."""
    log = body.strip()
    at = 1
    while found := _ENTRY.match(log, at):
        yield found[1]
        at = found.end() + 1
    if not log.startswith(b"[") or log[at - 1 :] not in (b"]", b"[]"):
        raise ValueError("not an array of entries")


def _mark(entry: bytes) -> LogMark:
    parsed: Any = parse(entry)
    number = parsed.get("id")
    if type(number) is not int or not 0 <= number < 2**63:
        raise ValueError("an entry without an id")
    return LogMark(number, hash(entry))


def _read_entry(entry: bytes, port: int) -> Iterator[ListenEntry]:
    """Read what an entry says of a port; nothing where it is about something else."""
    parsed: Any = parse(entry)
    kind, message = parsed.get("type"), parsed.get("message")
    if kind not in (_SUCCESS, _FAILURE) or not isinstance(message, str):
        return
    address = next(_addresses(message), None)
    protocol = next((p[1] for p in _PORT.finditer(message) if int(p[2]) == port), None)
    if address and protocol:
        yield ListenEntry(address, protocol, kind == _SUCCESS, kept(message))


def _addresses(message: str) -> Iterator[IPv4Address | IPv6Address]:
    words = (word for word in _ADDRESS.findall(message) if not word.isalnum())
    for word in islice(words, _MOST_WORDS):
        with contextlib.suppress(ValueError):
            yield ip_address(word)
