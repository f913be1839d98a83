"""Whatever the services or the port file say, it becomes a valid result or a `SyncError`."""

import json
import re
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsticky import files
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.errors import SyncError
from qsticky.kernel import netlink
from qsticky.services.factory import make_gluetun, make_qbittorrent
from qsticky.services.gluetun import Gluetun
from qsticky.services.listen_log import LogMark
from qsticky.services.login_limit import LoginLimit
from qsticky.services.port_file import PortFile
from qsticky.services.qbittorrent import Preferences, Protocol, QBittorrent
from qsticky.sync.report import Trigger
from tests.arbitrary import text
from tests.clients import make_synchronizer
from tests.fakes import FakeClock
from tests.unit.conftest import Load, Script, Server
from tests.unit.services.mocker import ANY, Mocker

unhurried = settings(deadline=None, max_examples=25)

# JSON as text, for it can hold what Python's own writer does not write: a name twice, numbers of
# any length, NaN.
NAMES = ["port", "ports", "listen_port", "random_port", "upnp", "current_network_interface"]
NAMES += ["connection_status", "public_ip", "id", "message"]
names = st.sampled_from(NAMES) | text(max_size=5)
numbers = st.integers(-2, 70_000) | st.integers() | st.floats()
scalars = (
    st.none().map(json.dumps)
    | st.booleans().map(json.dumps)
    | numbers.map(json.dumps)
    | text(max_size=10).map(json.dumps)
    | st.sampled_from(["1e400", "-0", "0.0", '"\\ud800"', '"connected"', "9" * 4000, "9" * 5000])
    | st.integers(1, 3000).map(lambda depth: "[" * depth + "]" * depth)
)


def joined(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in pairs) + "}"


documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda values: f"[{','.join(values)}]")
        | st.lists(st.tuples(names, inner), max_size=4).map(joined)
    ),
    max_leaves=8,
)
objects = st.lists(st.tuples(names, documents), max_size=6).map(joined)
bodies = (
    objects.map(str.encode)
    | st.lists(objects, max_size=3).map(lambda each: f"[{','.join(each)}]".encode())
    | documents.map(str.encode)
    | st.sampled_from([b"Ok.", b"Fails.", b"", b"\xff{}", "{}".encode("utf-16")])
    | st.binary()
)
statuses = st.sampled_from([200, 204, 301, 400, 401, 403, 404, 500]) | st.integers(200, 999)
header_names = st.sampled_from(
    ["Set-Cookie", "Location", "Content-Type", "Content-Encoding", "Content-Length", "X-Any"]
)
header_values = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=20)
cookies = st.builds("{}={}; {}".format, header_values, header_values, header_values)
headers = st.dictionaries(header_names, header_values | cookies, max_size=3)
answers = st.tuples(statuses, headers, bodies)
# The answers to the first requests; the last one is given for ever.
Answers = list[tuple[int, dict[str, str], bytes]]
conversations = st.lists(answers, min_size=1, max_size=4)


def answering(mocker: Mocker, given: Answers) -> None:
    responses = [
        {"status_code": status, "headers": headers, "content": body}
        for status, headers, body in given
    ]
    mocker.register_uri(ANY, ANY, responses)


def check_gluetun(gluetun: Gluetun) -> None:
    """Ask for the ports a few times, for an answer may have its effect on the next request."""
    for _ in range(2):
        try:
            ports = gluetun.forwarded_ports()
        except SyncError as error:
            check_sentence(error)
        else:
            assert all(type(port) is int and 1 <= port <= 65535 for port in ports)
        if public := gluetun.public_address():
            assert ip_address(public.address)
            assert public.country is None or public.country.isprintable()
        version = gluetun.version()
        assert version is None or version.isprintable()


def check_qbittorrent(qbittorrent: QBittorrent) -> None:
    """Ask everything a few times."""
    for _ in range(2):
        try:
            preferences = qbittorrent.preferences()
        except SyncError as error:
            check_sentence(error)
        else:
            check_types(preferences)
        for ask in (
            qbittorrent.transfer_info,
            qbittorrent.interfaces,
            lambda: qbittorrent.interface_addresses("tun0"),
            lambda: qbittorrent.listen_log(51218, None),
            lambda: qbittorrent.listen_log(51218, LogMark(3, 7)),
            lambda: qbittorrent.set_listen_port(51218),
        ):
            try:
                check_text(ask())
            except SyncError as error:
                check_sentence(error)


def check_types(preferences: Preferences) -> None:
    types = [type(value) for value in preferences]
    assert types == [int, bool, bool, str, str, int, Protocol, bool]
    check_text(preferences)


def check_text(found: object) -> None:
    """See that whatever text is kept of it can be shown."""
    assert repr(found).isprintable()
    assert repr(found).encode()


def check_sentence(error: SyncError) -> None:
    """See that it can be logged, on one line of a bearable length."""
    assert str(error).encode()
    assert "\n" not in str(error)
    assert len(str(error)) < 600


@unhurried
@given(answers=conversations)
def test_any_answers_of_gluetun_are_ports_or_an_error(load: Load, answers: Answers) -> None:
    with Mocker() as mocker:
        answering(mocker, answers)
        check_gluetun(make_gluetun(load(GLUETUN_APIKEY="key"), lambda _: None))


@unhurried
@given(answers=conversations, api_key=st.sampled_from(["", "qbt_key"]))
def test_any_answers_of_qbittorrent_are_what_was_asked_or_an_error(
    load: Load, answers: Answers, api_key: str
) -> None:
    with Mocker() as mocker:
        answering(mocker, answers)
        config = load(QBITTORRENT_API_KEY=api_key)
        check_qbittorrent(make_qbittorrent(config, lambda _: None, LoginLimit(FakeClock())))


@unhurried
@given(body=objects | st.lists(objects, max_size=3).map(lambda each: f"[{','.join(each)}]"))
def test_any_json_is_what_was_asked_or_an_error(load: Load, body: str) -> None:
    with Mocker() as mocker:
        answering(mocker, [(200, {}, body.encode())])
        check_gluetun(make_gluetun(load(), lambda _: None))
        check_qbittorrent(make_qbittorrent(load(), lambda _: None, LoginLimit(FakeClock())))


# On the wire

heads = st.builds(
    lambda version, status, lines: b"\r\n".join([b"HTTP/%s %s Any" % (version, status), *lines]),
    st.sampled_from([b"1.1", b"1.0", b"2"]),
    st.sampled_from([b"200", b"100", b"101", b"204", b"301", b"403", b"9999", b"-1"]),
    st.lists(
        st.binary(max_size=20)
        | st.sampled_from(
            [
                b"Content-Length: 2",
                b"Content-Length: -1",
                b"Content-Length: \xb2",
                b"Transfer-Encoding: chunked",
                b"Content-Encoding: gzip",
                b"Content-Encoding: deflate",
                b"Location: http://[",
                b"Connection: close",
                b"Set-Cookie: SID=\xff\r\n folded",
                b" folded",
                b": ",
            ]
        ),
        max_size=4,
    ),
)
wire = st.builds(bytes.__add__, heads.map(lambda head: head + b"\r\n\r\n"), bodies) | st.binary()


class Speaker:
    """Says the same bytes to whoever connects, and closes the connection."""

    said = b""

    def __call__(self, connection: socket.socket) -> None:
        connection.settimeout(1)
        connection.recv(65536)
        connection.sendall(self.said)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return Speaker()


@pytest.fixture(scope="module")
def port(speaker: Script) -> Iterator[int]:
    with Server(speaker) as server:
        yield server.port


@unhurried
@given(said=wire)
def test_any_bytes_on_the_wire_are_what_was_asked_or_an_error(
    load: Load, speaker: Speaker, port: int, said: bytes
) -> None:
    speaker.said = said
    config = load(GLUETUN_PORT=port, QBITTORRENT_PORT=port, GLUETUN_HOST="127.0.0.1")
    check_gluetun(make_gluetun(config, lambda _: None))
    check_qbittorrent(make_qbittorrent(config, lambda _: None, LoginLimit(FakeClock())))


# The port file


@pytest.fixture(scope="module")
def port_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gluetun") / "forwarded_port"


lines = st.lists(st.integers(-1, 70_000).map(str) | text(max_size=6), max_size=5)


@given(content=st.binary() | lines.map(lambda each: "\n".join(each).encode()))
def test_any_port_file_holds_ports_or_none(port_file: Path, content: bytes) -> None:
    port_file.write_bytes(content)
    with mock.patch.object(files, "_HALFWAY", 0):  # nobody writes
        ports = PortFile(port_file).ports()
    assert all(type(port) is int and 1 <= port <= 65535 for port in ports)


numbers_of_ports = st.integers(-2, 70_000)
plausible = numbers_of_ports.map(lambda port: json.dumps({"port": port}).encode()) | st.lists(
    numbers_of_ports, max_size=3
).map(lambda ports: json.dumps({"ports": ports}).encode())
contents = st.lists(numbers_of_ports, max_size=3).map(
    lambda ports: "\n".join(map(str, ports)).encode()
)


@unhurried
@given(status=statuses, body=plausible | bodies, content=contents | st.binary(max_size=20))
def test_what_reaches_qbittorrent_is_a_port_that_gluetun_named(
    load: Load, tmp_path_factory: pytest.TempPathFactory, status: int, body: bytes, content: bytes
) -> None:
    port_file = tmp_path_factory.mktemp("gluetun") / "forwarded_port"
    port_file.write_bytes(content)
    clock = FakeClock()
    with Mocker(real_http=True) as mocker, QBittorrentSimulator() as qbittorrent:
        config = load(
            GLUETUN_PORT_FILE=str(port_file),
            QBITTORRENT_HOST=qbittorrent.host,
            QBITTORRENT_PORT=str(qbittorrent.port),
        )
        mocker.register_uri(
            ANY, re.compile(f"^{config.gluetun_url}/"), status_code=status, content=body
        )
        make_synchronizer(
            make_gluetun(config, lambda _: None),
            make_qbittorrent(config, lambda _: None, LoginLimit(clock)),
            kernel=netlink,
            clock=clock,
            beside=False,
            same_network=False,
        ).sync([Trigger.STARTUP])
        changed = qbittorrent.history
    for port in changed:
        assert 1 <= port <= 65535
        assert str(port).encode() in body + b" " + content
