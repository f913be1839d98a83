"""Parses JSON that a service sent, strictly, and within the memory that there is for it."""

import json
from collections.abc import Iterator
from typing import NoReturn

LARGEST_STRING = 4 * 1024
LARGEST_DOCUMENT = 256 * 1024
MOST_VALUES = 20_000
_BACKSLASH = ord("\\")


def parse(body: bytes) -> object:
    """Parse a document; raises ValueError for what is not JSON, ambiguous or too much.

    Strings over `LARGEST_STRING` bytes are read as empty: a list of banned addresses can be
    megabytes, which as Python's objects are many times that. Stricter than Python's `json`: no
    NaN, and no name twice.
    """
    document = _without_long_strings(body)
    if _most_values(document) > MOST_VALUES:
        raise ValueError("a document of too many values")
    try:
        return json.loads(document, object_pairs_hook=_unambiguous, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("a document of too many levels") from None


def strings(body: bytes, most: int) -> Iterator[tuple[int, int]]:
    """Find where each string of a document begins and ends, its quotes included.

    Raises ValueError where one doesn't end, or there are more than `most`. The time is linear in
    the length of the body.
    """
    count = end = 0
    while (begin := body.find(b'"', end)) >= 0:
        end = body.find(b'"', begin + 1)
        while end >= 0 and _is_escaped(body, end):
            end = body.find(b'"', end + 1)
        count += 1
        if end < 0 or count > most:
            raise ValueError("a string without an end, or too many")
        end += 1
        yield begin, end


def _is_escaped(body: bytes, quote: int) -> bool:
    first = quote
    while body[first - 1] == _BACKSLASH:
        first -= 1
    return (quote - first) % 2 == 1


def _without_long_strings(body: bytes) -> bytes:
    """Return a document without them; raises ValueError where it is too long all the same."""
    document, copied = bytearray(), 0
    for begin, end in strings(body, 2 * MOST_VALUES):
        if end - begin > LARGEST_STRING + 2:
            document += _bounded(document, body, copied, begin + 1)
            copied = end - 1
    document += _bounded(document, body, copied, len(body))
    return bytes(document)


def _bounded(document: bytearray, body: bytes, begin: int, end: int) -> bytes:
    if len(document) + end - begin > LARGEST_DOCUMENT:
        raise ValueError("a document that is too long")
    return body[begin:end]


def _most_values(document: bytes) -> int:
    """Return as many values as a document can have: one of these stands before each."""
    return 1 + sum(map(document.count, (b",", b":", b"[", b"{")))


def _unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    parsed = dict(pairs)
    if len(parsed) < len(pairs):
        raise ValueError("a name twice")
    return parsed


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
