"""That no reader of the log holds up who writes it, and that what is missing is told."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator

import pytest

from qsticky.record.log_writer import LogWriter

SOON = 5.0  # seconds, for what takes milliseconds
LINE = "x" * 999 + "\n"
MANY = 3000  # lines, which are more than are kept and a pipe takes


class Pipe:
    """A pipe to write lines to, and what is read of it; `dropped` counts what was dropped."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.dropped = 0
        self.writer = LogWriter(self.writing, self._drop, lambda number: f"{number} missing\n")

    def _drop(self) -> None:
        self.dropped += 1

    def read_all(self) -> list[str]:
        """Everything that comes until all is written."""
        read = bytearray()
        self.writer.close()
        reader = threading.Thread(target=self._read, args=(read,))
        reader.start()
        self.writer.drain(SOON)
        os.close(self.writing)
        reader.join()
        return read.decode().splitlines()

    def _read(self, read: bytearray) -> None:
        while part := os.read(self.reading, 65536):
            read += part

    def close(self) -> None:
        for descriptor in (self.reading, self.writing):
            with contextlib.suppress(OSError):  # closed already
                os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_lines_come_in_their_order(pipe: Pipe) -> None:
    for number in range(1000):
        pipe.writer.write(f"{number}\n")
    assert pipe.read_all() == [str(number) for number in range(1000)]
    assert pipe.dropped == 0


def test_a_full_pipe_holds_nobody_up_and_the_notice_stands_in_the_gap(pipe: Pipe) -> None:
    started = time.monotonic()
    for _ in range(MANY):
        pipe.writer.write(LINE)
    assert time.monotonic() - started < 1
    read = pipe.read_all()
    kept = read.count(LINE.strip())
    assert 1024 <= kept < 1500
    assert missing(read) == pipe.dropped == MANY - kept


def test_after_a_gap_it_goes_on(pipe: Pipe) -> None:
    for _ in range(MANY):
        pipe.writer.write(LINE)
    wanted = 500_000
    while wanted > 0:
        wanted -= len(os.read(pipe.reading, 65536))
    pipe.writer.write("the next\n")
    read = pipe.read_all()
    assert read[-1] == "the next"
    assert missing(read) == pipe.dropped > 0


def missing(read: list[str]) -> int:
    """How many lines are missing, by the notices."""
    return sum(int(line.split()[0]) for line in read if line.endswith(" missing"))


def test_what_nobody_can_read_any_more_is_dropped(pipe: Pipe) -> None:
    os.close(pipe.reading)
    for _ in range(10):
        pipe.writer.write(LINE)
    pipe.writer.drain(SOON)
    assert pipe.dropped == 10


def test_without_a_descriptor_all_is_dropped() -> None:
    dropped: list[None] = []
    writer = LogWriter(None, lambda: dropped.append(None), str)
    writer.write(LINE)
    writer.drain(SOON)
    writer.close()
    assert len(dropped) == 1


def test_a_pipe_that_another_program_made_nonblocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    for _ in range(500):
        pipe.writer.write(LINE)
    assert pipe.read_all() == [LINE.strip()] * 500
    assert pipe.dropped == 0


def test_to_empty_it_waits_no_longer_than_it_may(pipe: Pipe) -> None:
    for _ in range(500):
        pipe.writer.write(LINE)
    started = time.monotonic()
    pipe.writer.drain(0.1)
    assert 0.1 <= time.monotonic() - started < 1
