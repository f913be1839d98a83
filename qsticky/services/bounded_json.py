"""Parses JSON that a service sent, within the memory that there is for it."""

import json
import re

LARGEST_STRING = 4 * 1024
LARGEST_DOCUMENT = 256 * 1024
_MOST_STRINGS = 10_000  # are looked at: each costs some 200 bytes

# Possessive, so that its time is linear. One that doesn't end reaches to the end of the document.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def parse(body: bytes) -> object:
    """Parse a document; raises ValueError for what is not JSON, or too much.

    In a large one, strings over `LARGEST_STRING` bytes are read as empty: a list of banned
    addresses can be megabytes.
    """
    if len(body) > LARGEST_DOCUMENT:
        body = _STRING.sub(lambda found: _short(found[0]), body, _MOST_STRINGS)
    if len(body) > LARGEST_DOCUMENT:
        raise ValueError("a document that is too long")
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("a document of too many levels") from None


def _short(string: bytes) -> bytes:
    return string if len(string) <= LARGEST_STRING + 2 else b'""'
