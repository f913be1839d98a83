"""Holds real log lines, in which every event occurs, to the contract that docs/logs.md states."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from qsticky.errors import Reason
from qsticky.record.journal import Event
from qsticky.record.metrics import LOG_LEVELS
from qsticky.sync.report import RebindCause
from tests.end_to_end.command import TIMESTAMP
from tests.observability import logs
from tests.observability.logs import Contract, Line


@pytest.fixture(scope="module")
def contract() -> Contract:
    return logs.contract()


@pytest.fixture(scope="module")
def lines(printed: list[str]) -> list[Line]:
    return logs.parse(printed)


def test_every_event_occurs_at_every_level_that_the_page_names(
    contract: Contract, lines: list[Line]
) -> None:
    told = {(line["event"], line["level"]) for line in lines if "event" in line}
    assert told == set(contract.events)
    assert {event for event, _ in told} == set(Event)


def test_every_line_has_what_any_line_has(contract: Contract, lines: list[Line]) -> None:
    for line in lines:
        assert line.keys() >= contract.fields.keys() - {"event", "exception"}, line
        for name in line.keys() & contract.fields.keys():
            assert isinstance(line[name], logs.TYPES[contract.fields[name]]), line
        assert line["message"], line
        assert line["level"] in LOG_LEVELS, line


def test_a_time_is_rfc_3339_in_utc_with_milliseconds(lines: list[Line]) -> None:
    now = datetime.now(UTC)
    for line in lines:
        assert TIMESTAMP.fullmatch(line["timestamp"]), line
        age = now - datetime.fromisoformat(line["timestamp"])
        assert timedelta(seconds=-1) < age < timedelta(minutes=5), line


def test_an_event_has_its_fields_and_no_others(contract: Contract, lines: list[Line]) -> None:
    for line in lines:
        fields = contract.events[line["event"], line["level"]] if "event" in line else {}
        assert line.keys() - contract.fields.keys() == fields.keys(), line
        for name, kind in fields.items():
            assert isinstance(line[name], logs.TYPES[kind]), line
            assert not isinstance(line[name], bool), line


def test_reasons_and_causes_are_of_their_closed_sets(lines: list[Line]) -> None:
    assert {line["reason"] for line in lines if "reason" in line} <= set(Reason)
    assert {line["cause"] for line in lines if "cause" in line} <= set(RebindCause)


def test_only_a_mistake_of_its_own_has_a_traceback(lines: list[Line]) -> None:
    tracebacks = [line for line in lines if "exception" in line]
    assert [line.get("reason") or line["level"] for line in tracebacks] == ["internal", "critical"]
    for line in tracebacks:
        assert re.search(r'File ".*", line \d+, in mistaken\n', line["exception"])


def test_a_library_speaks_under_its_own_name_and_in_one_line(lines: list[Line]) -> None:
    others = {line["logger"]: line for line in lines if line["logger"] != "qSticky"}
    assert others.keys() == {"urllib3.connectionpool", "py.warnings"}
    assert others["urllib3.connectionpool"]["message"] == "Retrying\nafter a reset"
    assert all(line["level"] == "warning" for line in others.values())
