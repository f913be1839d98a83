"""How much memory the daemon takes at most beside services that send as much as they can.

Each case is a function that says what they answer; the real daemon runs a few syncs between them.
``make hostile`` prints each peak, and fails where one is over the 64 MiB that are shipped.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.end_to_end.command import QSticky
from tests.real import wait_until
from tests.unit.conftest import Server, read_request
from tools import unpaced

MIB = 1024 * 1024
BOUND = 64 * 1024  # KiB
SYNCS = 4
BOUNDED = 120.0
PORT = 51413
Answers = dict[str, bytes]  # by path; the longest that a request's begins with counts
Case = Callable[[], Answers]
CASES: dict[str, Case] = {}

GLUETUN = "/v1/portforward"
PREFERENCES = "/api/v2/app/preferences"
INFO = "/api/v2/transfer/info"
LOG = "/api/v2/log/main"


def case(function: Case) -> Case:
    """Have a function's answers tried, under its name."""
    CASES[function.__name__.replace("_", " ")] = function
    return function


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Make an HTTP answer."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def chunked(*parts: bytes) -> bytes:
    """Make a chunked HTTP answer of parts that are framed as they are to be."""
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(parts)


def from_all(raw: bytes) -> Answers:
    """Have every path answered so."""
    return {"/": raw}


@case
def nothing_unusual() -> Answers:
    return {}


@case
def a_ban_list_of_77_000_addresses() -> Answers:
    addresses = "\n".join(f"203.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(77_000))
    return {
        PREFERENCES: answer(json.dumps({"listen_port": PORT, "banned_IPs": addresses}).encode())
    }


@case
def preferences_of_4_mib_of_a_string() -> Answers:
    body = b'{"listen_port":51413,"x":"' + "ü€𝄞".encode() * (4 * MIB // 9 - 9) + b'"}'
    return {PREFERENCES: answer(body)}


@case
def preferences_of_4_mib_of_values() -> Answers:
    body = b'{"listen_port":51413,"x":[' + b'"",' * ((4 * MIB - 60) // 3) + b"0]}"
    return {PREFERENCES: answer(body)}


@case
def preferences_of_objects_that_just_fit() -> Answers:
    addresses = b"203.0.113.7\\n" * (3 * MIB // 13)
    objects = b"[{}]," * (256 * 1024 // 5 - 20)
    body = b'{"listen_port":51413,"banned_IPs":"' + addresses + b'","x":[' + objects + b"0]}"
    return {PREFERENCES: answer(body)}


@case
def preferences_of_strings_that_just_fit() -> Answers:
    strings = ",".join(json.dumps("€" * 1_300 + str(n)) for n in range(1_000))
    return {PREFERENCES: answer(f'{{"listen_port":51413,"x":[{strings}]}}'.encode())}


@case
def preferences_of_quotes() -> Answers:
    return {PREFERENCES: answer(b'{"x":"' + b'\\"' * (2 * MIB - 10) + b'"}')}


@case
def preferences_of_backslashes() -> Answers:
    return {PREFERENCES: answer(b'{"listen_port":51413,"x":"' + b"\\" * (4 * MIB - 60) + b'"}')}


@case
def preferences_of_100_000_objects_in_each_other() -> Answers:
    body = b'{"listen_port":51413,"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001
    return {PREFERENCES: answer(body)}


@case
def a_number_of_a_million_digits() -> Answers:
    return {GLUETUN: answer(b'{"port":' + b"9" * (MIB - 20) + b"}")}


@case
def a_name_for_each_of_20_000_interfaces() -> Answers:
    names = [{"name": f"i{n}", "value": f"i{n}"} for n in range(20_000)]
    return {
        "/api/v2/app/networkInterfaceList": answer(json.dumps(names).encode()),
        LOG: answer(b'[{"id":1,"type":2,"message":"\\"10.2.0.2\\" \\"TCP/51413\\""}]'),
    }


@case
def sixty_thousand_addresses() -> Answers:
    addresses = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(60_000)]
    return {
        "/api/v2/app/networkInterfaceList": answer(b'[{"name":"tun0","value":"tun0"}]'),
        "/api/v2/app/networkInterfaceAddressList": answer(json.dumps(addresses).encode()),
        LOG: answer(b'[{"id":1,"type":2,"message":"\\"10.2.0.2\\" \\"TCP/51413\\""}]'),
    }


@case
def a_log_of_4_mib() -> Answers:
    entry = {"message": "Added to the list: a torrent", "timestamp": 1_700_000_000, "type": 2}
    entries = [{"id": n, **entry} for n in range(40_000)]
    return {LOG: answer(json.dumps(entries, separators=(",", ":")).encode())}


@case
def a_log_of_4_mib_of_our_port() -> Answers:
    text = f'IP: "10.2.0.2". Port: "TCP/{PORT}"'
    entries = [{"id": n, "message": text, "timestamp": 1, "type": 2} for n in range(45_000)]
    return {LOG: answer(json.dumps(entries, separators=(",", ":")).encode())}


@case
def a_log_of_long_messages_of_our_port() -> Answers:
    text = f'IP: "10.2.0.2". Port: "TCP/{PORT}" ' + "𝄞" * 900
    entries = [{"id": n, "message": text, "timestamp": 1, "type": 8} for n in range(1_000)]
    body = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    return {LOG: answer(body)}


@case
def a_log_of_words_that_are_nearly_addresses() -> Answers:
    entry = {"message": f"TCP/{PORT} " + "a. " * 1_300, "timestamp": 1, "type": 8}
    entries = [{"id": n, **entry} for n in range(1_000)]
    return {LOG: answer(json.dumps(entries, separators=(",", ":")).encode())}


@case
def a_binding_to_none_of_15_000_addresses() -> Answers:
    addresses = [f"10.{n >> 8}.{n & 255}.2" for n in range(15_000)]
    preferences = {"listen_port": PORT, "current_interface_address": "192.0.2.9"}
    return {
        PREFERENCES: answer(json.dumps(preferences).encode()),
        "/api/v2/app/networkInterfaceList": answer(b'[{"name":"tun0","value":"tun0"}]'),
        "/api/v2/app/networkInterfaceAddressList": answer(json.dumps(addresses).encode()),
        LOG: answer(b'[{"id":1,"type":2,"message":"\\"10.2.0.2\\" \\"TCP/51413\\""}]'),
    }


@case
def a_log_of_one_entry_of_letters() -> Answers:
    text = f"TCP/{PORT} 10.2.0.2 " + "a" * (4 * MIB - 200)
    return {LOG: answer(json.dumps([{"id": 1, "message": text, "type": 8}]).encode())}


@case
def a_transfer_info_of_1_mib_of_objects() -> Answers:
    return {INFO: answer(b"[" + b'{"":[]},' * (MIB // 8 - 2) + b"0]")}


@case
def ports_of_1_mib_of_objects() -> Answers:
    return {GLUETUN: answer(b'{"ports":[' + b'{"":1},' * (MIB // 7 - 3) + b"0]}")}


@case
def ports_of_1_mib_of_brackets() -> Answers:
    return {GLUETUN: answer(b"[" * MIB)}


@case
def a_chunk_size_of_minus_one() -> Answers:
    return from_all(chunked(b"-1\r\n", bytes(64 * MIB)))


@case
def a_chunk_of_a_gigabyte() -> Answers:
    return from_all(chunked(b"40000000\r\n", bytes(64 * MIB)))


@case
def chunks_of_a_byte() -> Answers:
    return from_all(chunked(b"1\r\na\r\n" * 4 * MIB))


@case
def chunks_with_long_extensions() -> Answers:
    return from_all(chunked((b"1;" + b"x" * 60_000 + b"\r\na\r\n") * 1_000))


@case
def trailers_without_end() -> Answers:
    return from_all(chunked(b"0\r\n", (b"X: " + b"y" * 60_000 + b"\r\n") * 1_000))


@case
def headers_of_65_000_bytes() -> Answers:
    return from_all(answer(b"{}", *[b"X-%d: " % n + b"y" * 65_000 for n in range(98)]))


@case
def headers_without_end() -> Answers:
    return from_all(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 8 * MIB)


@case
def provisional_answers_without_end() -> Answers:
    return from_all((b"HTTP/1.1 100 Continue\r\nX: " + b"y" * 60_000 + b"\r\n\r\n") * 1_000)


@case
def cookies_of_60_kib() -> Answers:
    cookies = [b"Set-Cookie: SID%d=" % n + b"y" * 600 + b"; path=/" for n in range(95)]
    return from_all(answer(b"{}", *cookies))


@case
def a_compressed_gigabyte() -> Answers:
    packed = gzip.compress(bytes(16 * MIB), 9) * 64
    return from_all(answer(packed, b"Content-Encoding: gzip"))


@case
def a_body_without_end() -> Answers:
    return from_all(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(64 * MIB))


@case
def a_login_page_of_1_mib() -> Answers:
    page = answer(b"a" * (MIB - 1), b"Content-Type: text/plain", status=b"403 Forbidden")
    return from_all(page)


_USUAL: Answers = {
    GLUETUN: answer(json.dumps({"port": PORT}).encode()),
    "/v1/": answer(b"{}"),
    PREFERENCES: answer(json.dumps({"listen_port": PORT}).encode()),
    INFO: answer(b'{"connection_status":"connected"}'),
    LOG: answer(b"[]"),
    "/api/v2/app/version": answer(b"v5.1.0"),
    "/api/v2/app/networkInterface": answer(b"[]"),
    "/api/v2/": answer(b""),
    "/told": answer(b""),
}


def main() -> int:
    """Run the cases, or those whose names have a word in them, and print their peaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only cases whose names have one of these in them")
    words = parser.parse_args().words
    over = 0
    for name, function in CASES.items():
        if words and not any(word in name for word in words):
            continue
        most, seconds = peak(function())
        over += most > BOUND
        print(
            f"{most / 1024:6.1f} MiB  {seconds:5.1f} s  {name}{' OVER' * (most > BOUND)}",
            flush=True,
        )
    return 1 if over else 0


def peak(answers: Answers) -> tuple[int, float]:
    """Run the daemon between services that answer so; returns KiB at most, and its seconds."""
    started = time.monotonic()
    with beside(whole(answers)) as qsticky:
        sync_often(qsticky)
        return most_resident(qsticky), time.monotonic() - started


def whole(answers: Answers) -> Answers:
    """Add the usual answers to those that say what some paths answer."""
    return answers if "/" in answers else {**_USUAL, **answers}


@contextlib.contextmanager
def beside(answers: Answers) -> Iterator[QSticky]:
    """Run the daemon between services that answer so, which may be changed while it runs."""
    with Server(_answering(answers)) as server, tempfile.TemporaryDirectory() as folder:
        variables = {
            "GLUETUN_HOST": "127.0.0.1",
            "GLUETUN_PORT": server.port,
            "QBITTORRENT_HOST": "127.0.0.1",
            "QBITTORRENT_PORT": server.port,
            "VPN_INTERFACE": "absent0",
            "NOTIFY_URLS": f"json://127.0.0.1:{server.port}/told",  # Apprise is 16 MiB of its own
            "NOTIFY_AFTER": 0,
            "CHECK_INTERVAL": 3600,
        }
        qsticky = QSticky(Path(folder), variables)
        qsticky.command = [sys.executable, unpaced.__file__]
        with qsticky:
            wait_until(lambda: "Serving" in qsticky.stdout, BOUNDED, "the daemon to start")
            yield qsticky


def sync_often(qsticky: QSticky) -> None:
    """Have it sync a few times, from now on."""
    for count in range(int(qsticky.syncs()) + 1, int(qsticky.syncs()) + SYNCS + 1):
        qsticky.get("/-/sync", "POST")
        wait_until(lambda: qsticky.syncs() >= count, BOUNDED, f"{count} syncs")  # noqa: B023


def most_resident(qsticky: QSticky) -> int:
    """Read the most memory that it ever had resident, in KiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{qsticky.pid}/status").read_text())
    assert found
    return int(found[1])


def _answering(answers: Answers) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        while request := read_request(connection):
            path = request.split(b" ", 2)[1].decode()
            begins = max((known for known in answers if path.startswith(known)), key=len)
            with contextlib.suppress(OSError):
                connection.sendall(answers[begins])

    return script


if __name__ == "__main__":
    sys.exit(main())
