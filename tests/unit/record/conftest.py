"""What the tests of log lines share: a stdout of their own, and a journal that writes to it."""

import contextlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qsticky.config import LogFormat
from qsticky.errors import Reason
from qsticky.record.events import RecentEvents
from qsticky.record.journal import Journal
from qsticky.record.log_writer import LogWriter
from qsticky.record.logs import LOGGER_NAME, set_up
from qsticky.sync.report import SyncReport
from tests.fakes import FakeClock
from tests.reports import failing

SOON = 5.0  # seconds, for what takes milliseconds

Line = dict[str, Any]
Told = list[tuple[str, str | None, str]]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # which setting up would close
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger(LOGGER_NAME).setLevel(logging.NOTSET)


def writers() -> list[LogWriter]:
    """Those that log lines are sent to now."""
    streams = [getattr(handler, "stream", None) for handler in logging.getLogger().handlers]
    return [stream for stream in streams if isinstance(stream, LogWriter)]


class Output:
    """What was printed since the last time, on a stdout of the test's own."""

    def __init__(self) -> None:
        self._stdout = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the fixture
        self._dropped: list[None] = []

    def set_up(
        self,
        log_format: LogFormat,
        level: str = "INFO",
        count: Callable[[str], None] = lambda _: None,
        recent: RecentEvents | None = None,
    ) -> logging.Logger:
        return set_up(
            log_format,
            level,
            self._stdout.fileno(),
            recent or RecentEvents(),
            count=count,
            dropped=lambda: self._dropped.append(None),
        )

    def text(self) -> str:
        for writer in writers():
            writer.drain(SOON)
        self._stdout.seek(0)
        printed = self._stdout.read().decode()
        self._stdout.seek(0)
        self._stdout.truncate()
        return printed

    def close(self) -> None:
        for writer in writers():
            writer.drain(SOON)
            writer.close()
        self._stdout.close()
        assert not self._dropped

    def lines(self) -> list[Line]:
        return [json.loads(line) for line in self.text().splitlines()]

    def line(self) -> Line:
        (line,) = self.lines()
        return line

    def told(self) -> Told:
        """Level, event and message of each line."""
        return [(line["level"], line.get("event"), line["message"]) for line in self.lines()]


@pytest.fixture
def output() -> Iterator[Output]:
    output = Output()
    yield output
    output.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(output: Output, clock: FakeClock) -> Journal:
    return Journal(output.set_up(LogFormat.JSON), clock)


def raised(error: Exception) -> Exception:
    """Give an exception a traceback."""
    with contextlib.suppress(type(error)):
        raise error
    return error


def internal(error: Exception) -> SyncReport:
    """The report of an unexpected exception, as the worker makes it."""
    report = failing(Reason.INTERNAL, "qSticky failed by a mistake of its own")
    assert report.failure is not None
    report.failure.__cause__ = raised(error)
    return report
