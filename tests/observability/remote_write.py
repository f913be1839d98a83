"""Prometheus's remote write, as bytes: protocol buffers within snappy that compresses nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def sample(value: float, time: float) -> bytes:
    """Encode a value and its time in seconds: field 2 of a series."""
    return _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(round(time * 1000)))


def series(name: str, labels: Mapping[str, str], samples: bytes) -> bytes:
    """Encode a series with samples that are encoded already: field 1 of a request."""
    pairs = sorted({"__name__": name, **labels}.items())
    encoded = (_field(1, _text(1, label) + _text(2, value)) for label, value in pairs)
    return _field(1, b"".join(encoded) + samples)


def body(series: Iterable[bytes]) -> bytes:
    """Make a request's body of series: in snappy's terms, a single literal."""
    request = b"".join(series)
    return _varint(len(request)) + b"\xfc" + struct.pack("<I", len(request) - 1) + request


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
