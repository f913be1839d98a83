"""How qBittorrent's log is read, whatever stands in it."""

import json
import time

import pytest

from qsticky.services import listen_log
from qsticky.services.listen_log import LogMark

PORT = 51218


def entry(number: int, message: str, kind: int = 8) -> dict[str, object]:
    return {"id": number, "message": message, "timestamp": 1_700_000_000, "type": kind}


def read(*entries: object, after: LogMark | None = None) -> listen_log.ListenLog:
    return listen_log.read(json.dumps(entries, separators=(",", ":")).encode(), PORT, after)


def said(*entries: object) -> list[tuple[str, str, bool]]:
    return [(str(each.address), each.protocol, each.listening) for each in read(*entries).entries]


def test_successes_and_failures_of_the_port_are_read_in_order() -> None:
    assert said(
        entry(3, 'Failed to listen. IP: "10.2.0.2". Port: "TCP/51218". Reason: In use'),
        entry(4, 'Successfully listening on IP. IP: "10.2.0.2". Port: "UTP/51218"', 2),
        entry(5, 'Ecoute impossible : "::1" "TCP/51218" à 12:30'),
        entry(6, 'Successfully listening on IP. IP: "fe80::1%4". Port: "TCP/51218"', 2),
    ) == [
        ("10.2.0.2", "TCP", False),
        ("10.2.0.2", "UTP", True),
        ("::1", "TCP", False),
        ("fe80::1", "TCP", True),
    ]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ('IP: "10.2.0.2". Port: "TCP/5121"', 8),
        ('IP: "10.2.0.2". Port: "TCP/512180"', 8),
        ('IP: "10.2.0.2". Port: "UDP/51218"', 8),
        ('IP: "10.2.0.2". Port: "TCP/51218"', 4),
        ('IP: "10.2.0.2". Port: "XTCP/51218"', 8),
        ('Port: "TCP/51218"', 8),
        ("Disk full", 8),
    ],
)
def test_what_is_about_something_else_is_left_out(message: str, kind: int) -> None:
    assert said(entry(1, message, kind)) == []


@pytest.mark.parametrize(
    "odd",
    [
        {"id": 8, "message": None, "type": 8, "x": "TCP/51218"},
        {"id": 8, "message": "TCP/51218 10.2.0.2", "type": "8"},
        {"id": 8, "type": 8, "message": ["TCP/51218"]},
    ],
)
def test_what_is_not_an_entry_is_left_out(odd: object) -> None:
    assert said(odd, entry(9, "")) == []


def test_braces_quotes_and_backslashes_in_a_message_end_nothing() -> None:
    odd = 'C:\\ }{ "},{\\" [ ] \\\\" IP: "10.2.0.2". Port: "TCP/51218" {'
    log = read(entry(1, odd), entry(2, "}"))
    assert [each.message for each in log.entries] == [odd]
    assert log.mark
    assert log.mark.id == 2


def test_a_message_is_kept_so_that_it_can_be_shown() -> None:
    odd = 'IP: "10.2.0.2". Port: "TCP/51218" \ud800\x1b[2J\n' + "x" * 3000
    [kept] = read(entry(1, odd)).entries
    assert kept.message.isprintable()
    assert kept.message.encode()
    assert r"\ud800\x1b[2J\n" in kept.message
    assert len(kept.message) == 2000


def test_the_newest_entry_is_the_mark_also_when_it_is_about_something_else() -> None:
    assert read().mark is None
    log = read(entry(3, 'IP: "10.2.0.2". Port: "TCP/51218"'), entry(7, "Disk full"))
    assert log.mark
    assert log.mark.id == 7


def test_the_same_id_of_another_process_is_another_mark() -> None:
    first, second = entry(3, "Disk full"), {**entry(3, "Disk full"), "timestamp": 1}
    mark = read(first).mark
    assert read(first, after=mark).continues
    assert not read(second, after=mark).continues
    assert not read(after=mark).continues


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"<html>",
        b"[",
        b'[{"id":1',
        b'[{"id":1,"message":"x]',
        b'["x]',
        b'["TCP/51218 10.2.0.2"]',
        b"[51218]",
        b'[{"id":1},{"id":2}',
        b'[{"id":1}x{"id":2}x]',
        b'{"id":1},{"id":2}]',
        b"[{}]",
        b'[{"id":"1"}]',
        b'[{"id":-1}]',
        b'[{"id":1e3}]',
        b'[{"id":1,"m":"\xff"}]',
    ],
)
def test_what_is_not_a_log_is_told(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        listen_log.read(body, PORT, None)


LARGE = 512 * 1024  # of the 4 MiB that are read, since coverage makes it ten times as slow
HOSTILE = {
    "letters": 'TCP/51218 10.2.0.2 "' + "a" * LARGE,
    "digits": "TCP/51218 " + "1" * LARGE,
    "colons": "TCP/51218 " + ":" * LARGE,
    "dots": "TCP/51218 " + "1." * (LARGE // 2),
    "quotes": "TCP/51218 " + '"' * (LARGE // 2),
    "backslashes": "TCP/51218 " + "\\" * (LARGE // 2),
    "ports": "TCP/51218 " * (LARGE // 10),
    "braces": "TCP/51218 " + "{}" * (LARGE // 2),
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("length", [20_000, 50_000, LARGE])
def test_the_time_for_an_entry_is_linear_in_its_length(message: str, length: int) -> None:
    body = json.dumps([entry(1, message[:length])]).encode()
    started = time.process_time()
    listen_log.read(body, PORT, None)
    assert time.process_time() - started < 5.0


@pytest.mark.parametrize("word", ["a ", ".. "])
def test_the_time_for_words_that_are_nearly_addresses_is_short(word: str) -> None:
    body = json.dumps([entry(n, "TCP/51218 " + word * 1_300) for n in range(500)]).encode()
    started = time.process_time()
    assert listen_log.read(body, PORT, None).entries == ()
    assert time.process_time() - started < 2.0


def test_of_many_entries_the_last_ones_are_kept() -> None:
    entries = [entry(n, f'IP: "10.2.{n % 250}.2". Port: "TCP/51218"') for n in range(1_000)]
    kept = read(*entries).entries
    assert len(kept) == 500
    assert str(kept[-1].address) == "10.2.249.2"


def test_a_log_of_20_000_entries_is_read_in_time() -> None:
    entries = [entry(n, f'IP: "10.2.{n % 250}.2". Port: "TCP/{n}"') for n in range(40_000, 60_000)]
    started = time.process_time()
    assert len(read(*entries).entries) == 1
    assert time.process_time() - started < 5.0
