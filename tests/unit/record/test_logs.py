"""How log lines look, and who is heard."""

import json
import logging
import re
import sys
import time
import warnings

import pytest

from qsticky.config import LogFormat
from qsticky.record.journal import Journal
from qsticky.record.logs import LOGGER_NAME, stdout
from qsticky.sync.report import PortChange
from tests.fakes import FakeClock
from tests.reports import synced
from tests.unit.record.conftest import Output, internal

TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - \S+ - [A-Z]+ - ")


class TestJsonLines:
    """A line a record, with typed fields, for machines."""

    def test_fields_come_in_their_order_and_types(self, journal: Journal, output: Output) -> None:
        journal.record(synced(change=PortChange(58988, 51218, verified=True)))
        line = output.lines()[0]
        assert list(line) == [
            "timestamp",
            "level",
            "logger",
            "message",
            "event",
            "old_port",
            "new_port",
        ]
        timestamp = line.pop("timestamp")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp)
        assert line == {
            "level": "info",
            "logger": "qSticky",
            "message": "Port change needed: 58988 -> 51218",
            "event": "port_change_needed",
            "old_port": 58988,
            "new_port": 51218,
        }

    def test_the_timestamp_is_the_record_s_own(self, output: Output) -> None:
        logger = output.set_up(LogFormat.JSON)
        record = logger.makeRecord(LOGGER_NAME, logging.INFO, "", 0, "now", (), None)
        record.created = 1_737_749_293.0625
        logger.handle(record)
        assert output.line()["timestamp"] == "2025-01-24T20:08:13.062Z"

    def test_a_traceback_is_one_string(self, journal: Journal, output: Output) -> None:
        journal.record(internal(ZeroDivisionError("nobody thought of it")))
        line = output.line()
        assert list(line)[-1] != "message"
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith("ZeroDivisionError: nobody thought of it")
        assert "exc_info" not in line

    @pytest.mark.parametrize(
        "text", ["two\nlines", "a\rb", "\x1b[31m", "50 %s %d", "\udcff", "{}"], ids=ascii
    )
    def test_any_message_is_one_line(self, journal: Journal, output: Output, text: str) -> None:
        journal.warning(text)
        assert output.line()["message"] == text

    def test_no_event_is_no_field(self, journal: Journal, output: Output) -> None:
        journal.warning("worth a look")
        assert "event" not in output.line()


class TestTextLines:
    """A line a record, for people at a terminal."""

    @pytest.fixture
    def logger(self, output: Output) -> logging.Logger:
        return output.set_up(LogFormat.TEXT)

    def test_a_line_is_as_the_contract_shows_it(
        self, logger: logging.Logger, output: Output
    ) -> None:
        message = "Port change needed: 58988 -> 51218"
        record = logger.makeRecord(LOGGER_NAME, logging.INFO, "", 0, message, (), None)
        record.created, record.msecs = 1_737_749_293.186, 186.0
        logger.handle(record)
        local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        assert output.text() == (
            f"{local},186 - qSticky - INFO - Port change needed: 58988 -> 51218\n"
        )

    @pytest.mark.parametrize("separator", ["\n", "\r", "\r\n", "\x0b", "\x85", "\u2028"])
    def test_no_message_can_forge_another_line(
        self, logger: logging.Logger, output: Output, separator: str
    ) -> None:
        forged = "2025-01-24 20:08:13,186 - qSticky - INFO - Port change needed: 1 -> 2"
        logger.warning("qBittorrent said: %s%s", separator, forged)
        (line,) = output.text().splitlines()
        assert line.endswith(f"{ascii(separator)[1:-1]}{forged}")

    def test_no_message_can_speak_to_the_terminal(
        self, logger: logging.Logger, output: Output
    ) -> None:
        logger.warning("\x1b]0;title\x07 \x9b31m \udcff ü \U0001f4a5")
        assert output.text().endswith("\\x1b]0;title\\x07 \\x9b31m \\udcff ü \U0001f4a5\n")

    def test_no_traceback_can_speak_to_the_terminal(
        self, logger: logging.Logger, clock: FakeClock, output: Output
    ) -> None:
        Journal(logger, clock).record(internal(ValueError("\x1b[31m\x9b \udcff")))
        assert output.text().endswith("  ValueError: \\x1b[31m\\x9b \\udcff\n")

    def test_a_traceback_stands_indented_below_its_line(
        self, logger: logging.Logger, clock: FakeClock, output: Output
    ) -> None:
        forged = "2025-01-24 20:08:13,186 - qSticky - INFO - all is well"
        Journal(logger, clock).record(internal(ValueError(f"odd\n{forged}")))
        first, *others = output.text().splitlines()
        assert TEXT_LINE.match(first)
        assert others[0] == "  Traceback (most recent call last):"
        assert others[-2:] == ["  ValueError: odd", f"  {forged}"]
        assert all(line.startswith("  ") for line in others)


class TestWhoSpeaks:
    """Which loggers are heard, and what is counted."""

    @pytest.mark.parametrize("log_format", LogFormat)
    def test_other_libraries_speak_from_warning_on_in_the_same_format(
        self, output: Output, log_format: LogFormat
    ) -> None:
        output.set_up(log_format, "DEBUG")
        library = logging.getLogger("a.library")
        library.info("not heard")
        library.warning("heard: %s", "this")
        text = output.text()
        assert len(text.splitlines()) == 1
        if log_format is LogFormat.JSON:
            line = json.loads(text)
            assert line["logger"] == "a.library"
            assert (line["level"], line["message"]) == ("warning", "heard: this")
        else:
            assert TEXT_LINE.match(text)
            assert text.endswith(" - a.library - WARNING - heard: this\n")

    @pytest.mark.parametrize("log_format", LogFormat)
    def test_warnings_are_log_lines(self, output: Output, log_format: LogFormat) -> None:
        output.set_up(log_format)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("this will go away", DeprecationWarning, stacklevel=1)
        text = output.text()
        assert len(text.splitlines()) == 1
        assert "DeprecationWarning: this will go away" in text

    @pytest.mark.parametrize(
        ("level", "heard"),
        [
            ("DEBUG", ["debug", "info", "warning", "error", "critical"]),
            ("INFO", ["info", "warning", "error", "critical"]),
            ("WARNING", ["warning", "error", "critical"]),
            ("ERROR", ["error", "critical"]),
        ],
    )
    def test_lines_are_counted_by_the_level_they_are_written_at(
        self, output: Output, level: str, heard: list[str]
    ) -> None:
        counted: list[str] = []
        logger = output.set_up(LogFormat.JSON, level, counted.append)
        for number in (10, 20, 30, 40, 50):
            logger.log(number, "line")
        assert counted == heard == [line["level"] for line in output.lines()]

    def test_set_up_again_it_writes_each_line_once(self, output: Output) -> None:
        output.set_up(LogFormat.TEXT)
        output.set_up(LogFormat.JSON).info("once")
        assert output.line()["message"] == "once"

    def test_stdout_is_none_where_it_is_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdout", None)
        assert stdout() is None
        monkeypatch.setattr(sys, "stdout", sys.__stderr__)
        assert stdout() == 2
