"""How a log line is written: its format, its fields, and where it goes."""

import logging
import sys
from collections.abc import Callable
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from qsticky.clock import rfc3339
from qsticky.config import LogFormat
from qsticky.record.log_writer import LogWriter
from qsticky.text import printable

LOGGER_NAME = "qSticky"
_TIME_TO_EMPTY = 0.5


def set_up(
    log_format: LogFormat,
    level: str,
    descriptor: int | None,
    recent: logging.Handler,
    *,
    count: Callable[[str], None],
    dropped: Callable[[], None],
) -> logging.Logger:
    """Send every log line of the process to a descriptor, and return qSticky's logger.

    `count` is called with the level of each line, `dropped` for each that nobody reads. Other
    libraries speak from WARNING on. `recent` gets the events, also those that are below the level.
    """
    lines = _JsonLines() if log_format is LogFormat.JSON else _TextLines()
    handler = _Handler(LogWriter(descriptor, dropped, lambda number: _notice(lines, number)), count)
    handler.setFormatter(lines)
    handler.setLevel(level)
    logging.basicConfig(level=logging.WARNING, handlers=[handler, recent], force=True)
    logging.captureWarnings(True)
    logger = logging.getLogger(LOGGER_NAME)
    logger.setLevel(min(handler.level, logging.INFO))
    return logger


def stdout() -> int | None:
    """Return the descriptor of stdout, and None where it is closed: 1 may be something else's."""
    return sys.stdout.fileno() if sys.stdout else None


def _notice(lines: logging.Formatter, number: int) -> str:
    message = f"{number} log lines are missing here, since nobody read the log"
    record = logging.LogRecord(LOGGER_NAME, logging.WARNING, "", 0, message, None, None)
    return lines.format(record) + "\n"


class _TextLines(logging.Formatter):
    """A record a line, a traceback indented below it: no service's text can pass for a record."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s - %(name)s - %(levelname)s - %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        lines = super().formatException(ei).splitlines()
        return "\n".join(f"  {printable(line)}" for line in lines)


class _JsonLines(JsonFormatter):
    def __init__(self) -> None:
        renamed = {"levelname": "level", "name": "logger", "exc_info": "exception"}
        super().__init__(["levelname", "name", "message"], rename_fields=renamed)

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data["timestamp"] = rfc3339(record.created, "milliseconds")
        super().add_fields(log_data, record, message_dict)
        log_data["level"] = record.levelname.lower()


class _Handler(logging.StreamHandler[LogWriter]):
    def __init__(self, writer: LogWriter, count: Callable[[str], None]) -> None:
        super().__init__(writer)
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        self._count(record.levelname.lower())

    def close(self) -> None:
        """Give the last lines a moment to be read, as when the process ends."""
        self.stream.drain(_TIME_TO_EMPTY)
        self.stream.close()
        super().close()
