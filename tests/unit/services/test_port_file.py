"""Which ports a port file names, also while somebody writes it."""

import io
import os
import threading
import time
from pathlib import Path

import pytest

from qsticky.services import port_file as module
from qsticky.services.port_file import PortFile


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "forwarded_port"


@pytest.fixture
def port_file(file: Path) -> PortFile:
    return PortFile(file)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have no wait take its time, and tell them all."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.mark.parametrize(
    ("content", "ports"),
    [
        (b"5914", (5914,)),
        (b"5914\n", (5914,)),
        (b"5914\n6000", (5914, 6000)),
        (b"5914\r\n6000\r\n", (5914, 6000)),
        (b" 5914 \n\n", (5914,)),
        (b"1\n65535", (1, 65535)),
        (b"\n".join(b"%d" % port for port in range(1, 5001)), tuple(range(1, 5001))),
        (b"", ()),
        (b"\n", ()),
        (b"0", ()),
        (b"00080", ()),
        (b"05914", ()),
        (b"59 15", ()),
        (b"65536", ()),
        (b"99999", ()),
        (b"100000", ()),
        (b"-1", ()),
        (b"+5914", ()),
        (b"5914.0", ()),
        (b"5_914", ()),
        (b"5914\n0", ()),
        (b"5914\nport", ()),
        (b"5914,6000", ()),
        (b'{"port":5914}', ()),
        ("٥٩١٤".encode(), ()),
        (b"5914\0\0\0\0", ()),
        (b"\xff\xfe5\x009\x00", ()),
        (b"\0" * 100_000, ()),
        (b"9" * 100_000, ()),
        (b"5914\n" * 13_107 + b"60123", ()),  # longer than is read: half of 60123
    ],
)
def test_a_file_of_ports_and_nothing_else_names_ports(
    port_file: PortFile, file: Path, content: bytes, ports: tuple[int, ...]
) -> None:
    file.write_bytes(content)
    assert port_file.ports() == ports


def test_a_missing_file_names_no_port(port_file: PortFile) -> None:
    assert port_file.ports() == ()


def test_a_directory_names_no_port(port_file: PortFile, file: Path) -> None:
    file.mkdir()
    assert port_file.ports() == ()


def test_a_symlink_is_followed_and_a_loop_names_no_port(port_file: PortFile, file: Path) -> None:
    file.symlink_to(file)
    assert port_file.ports() == ()
    file.unlink()
    target = file.with_name("target")
    file.symlink_to(target)
    assert port_file.ports() == ()
    target.write_text("5914")
    assert port_file.ports() == (5914,)


def test_a_file_below_a_file_names_no_port(file: Path) -> None:
    file.write_text("5914")
    assert PortFile(file / "port").ports() == ()


@pytest.mark.parametrize("device", [False, True])
def test_a_fifo_or_a_device_names_no_port_and_holds_nobody(
    port_file: PortFile, file: Path, device: bool
) -> None:
    if device:
        file.symlink_to("/dev/zero")
    else:
        os.mkfifo(file)
    ports: list[tuple[int, ...]] = []
    reader = threading.Thread(target=lambda: ports.append(port_file.ports()), daemon=True)
    reader.start()
    reader.join(5)
    assert ports == [()]


@pytest.mark.parametrize(
    ("first", "then", "ports"),
    [
        ("60", ["60123", "60123"], (60123,)),
        ("60123", ["", "5914", "5914"], (5914,)),
        ("60123", ["60123\n59", "60123\n5914", "60123\n5914"], (60123, 5914)),
        ("5914", ["", ""], ()),
    ],
)
def test_a_file_that_is_being_written_is_read_until_it_is_the_same_twice(
    port_file: PortFile,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
    then: list[str],
    ports: tuple[int, ...],
) -> None:
    file.write_text(first)
    contents = iter(then)
    monkeypatch.setattr(time, "sleep", lambda _: file.write_text(next(contents)))
    assert port_file.ports() == ports
    assert next(contents, None) is None


def test_only_a_file_that_changed_is_waited_for(
    port_file: PortFile, file: Path, waits: list[float]
) -> None:
    assert port_file.ports() == ()
    file.write_text("5914")
    for _ in range(3):
        assert port_file.ports() == (5914,)
    assert waits == [0.05]
    file.write_text("6000")
    assert port_file.ports() == (6000,)
    file.unlink()
    assert port_file.ports() == ()
    assert waits == [0.05] * 3


def test_a_file_that_has_nothing_to_read_yet_names_no_port(
    port_file: PortFile, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(io.FileIO):
        """Has nothing now, as /proc/kmsg may, which is a regular file."""

        def read(self, _: int | None = -1) -> None:  # type: ignore[override]
            return None

    file.write_text("51218")
    monkeypatch.setattr(module, "open_at_once", Waiting)
    assert port_file.ports() == ()


def test_what_is_in_a_fifo_is_left_there(port_file: PortFile, file: Path) -> None:
    os.mkfifo(file)
    with open(file, "r+b", buffering=0) as fifo:
        assert port_file.ports() == ()
        fifo.write(b"5914")
        assert port_file.ports() == ()
        assert fifo.read(4) == b"5914"


def test_reading_the_file_leaves_nothing_open(port_file: PortFile, file: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    os.mkfifo(file)
    for _ in range(20):
        port_file.ports()
    file.unlink()
    file.mkdir()
    for _ in range(20):
        port_file.ports()
    assert len(os.listdir("/proc/self/fd")) == before
