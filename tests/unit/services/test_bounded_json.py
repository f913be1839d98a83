"""What JSON is parsed, and what is left out of it."""

import json
import time
from contextlib import suppress

import pytest

from qsticky.services import bounded_json


def test_a_document_is_parsed() -> None:
    document = {"a": [1, None, True, 'ü\\"'], "b": {"c": -1.5}}
    assert bounded_json.parse(json.dumps(document).encode()) == document


def test_in_a_large_document_a_string_over_4_kib_is_read_as_empty() -> None:
    just, over = "x" * 4096, "\\" * 2048 + "x"
    document: dict[str, object] = {"a": just, "b": over, over: 1, "c": ["y", over]}
    assert bounded_json.parse(json.dumps(document).encode()) == document
    parsed = bounded_json.parse(json.dumps({**document, "d": '\\"' * 100_000}).encode())
    assert parsed == {"a": just, "b": "", "": 1, "c": ["y", ""], "d": ""}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"a": 1',
        b'"a',
        b'"a\\"',
        b'{"a": "\xff"}',
        b"9" * 5000,
        b"[" * 100_000,
        b"[" + b"0," * 200_000 + b"0]",
        b'[""' + b" " * 256 * 1024 + b"]",
        b"[" + (b'"' + b"x" * 4000 + b'",') * 70 + b"0]",
        b"[" + b'"",' * 100_000 + b"0]",
    ],
)
def test_what_is_not_json_or_is_too_much_is_told(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        bounded_json.parse(body)


@pytest.mark.parametrize("part", [b'"', b"\\", b'\\"', b'"\\', b'"a",', b"[", b"x", b'""'])
def test_the_time_is_linear_in_the_length(part: bytes) -> None:
    many = part * (1024**2 // len(part))
    for body in (many, b'"' + many):
        started = time.process_time()
        with suppress(ValueError):
            assert bounded_json.parse(body) == ""
        assert time.process_time() - started < 10.0
