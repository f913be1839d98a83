"""How a log line is written: its format, its fields, and where it goes."""

import logging
import re
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from qsticky.clock import rfc3339
from qsticky.config import LogFormat

LOGGER_NAME = "qSticky"
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def set_up(
    log_format: LogFormat, level: str, count: Callable[[str], None], recent: logging.Handler
) -> logging.Logger:
    """Send every log line of the process to stdout in one format, and return qSticky's logger.

    `count` is called with the level of each line. Other libraries speak from WARNING on. `recent`
    gets the events, also those that are below the level.
    """
    stdout = _CountingHandler(sys.stdout, count)
    stdout.setFormatter(_JsonLines() if log_format is LogFormat.JSON else _TextLines())
    stdout.setLevel(level)
    logging.basicConfig(level=logging.WARNING, handlers=[stdout, recent], force=True)
    logging.captureWarnings(True)
    logger = logging.getLogger(LOGGER_NAME)
    logger.setLevel(min(stdout.level, logging.INFO))
    return logger


def printable(text: str) -> str:
    """Escape what would end a line, or speak to a terminal."""
    return _NO_TEXT.sub(lambda character: ascii(character[0])[1:-1], text)


class _TextLines(logging.Formatter):
    """A record a line, a traceback indented below it: no service's text can pass for a record."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s - %(name)s - %(levelname)s - %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return textwrap.indent(super().formatException(ei), "  ")


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


class _CountingHandler(logging.StreamHandler[Any]):
    def __init__(self, stream: Any, count: Callable[[str], None]) -> None:
        super().__init__(stream)
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        self._count(record.levelname.lower())
