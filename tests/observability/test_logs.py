"""Holds real log lines, in which every event occurs, to the contract that docs/logs.md states."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from qsticky.errors import Reason
from qsticky.record.events import Event
from qsticky.record.metrics import LOG_LEVELS
from qsticky.sync.report import RebindCause
from tests.end_to_end.command import TIMESTAMP
from tests.observability import dashboard, logql, logs
from tests.observability.dashboard import ONE
from tests.observability.logql import Entry
from tests.observability.logs import Contract, Line
from tests.observability.test_shipping import METADATA, SHIPPERS, ship


@pytest.fixture(scope="module")
def contract() -> Contract:
    return logs.contract()


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The log lines of a run in which every event happens."""
    return logs.run(tmp_path_factory.mktemp("logs"))


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
    assert others.keys() == {"a.library", "py.warnings"}
    assert others["a.library"]["message"] == "Retrying\nafter a reset"
    assert all(line["level"] == "warning" for line in others.values())


@SHIPPERS
def test_a_line_keeps_its_time_and_gets_its_level_event_and_reason(
    printed: list[str], shipper: str
) -> None:
    for line in printed:
        document = json.loads(line)
        labels, metadata, time = ship(line, shipper)
        assert labels == {"level": document["level"]}
        assert metadata == {name: document[name] for name in METADATA & document.keys()}
        assert time == document["timestamp"]


TEXT = "2025-01-24 20:08:13,186 - qSticky - INFO - In sync on port 51218"  # LOG_FORMAT=text
EVERY_QUERY = dict(
    re.findall(
        r"^(\S[^\n]*):\n\n```logql\n(.*?)^```", logs.PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
)


@pytest.fixture(scope="module")
def entries(printed: list[str]) -> list[Entry]:
    """What Alloy makes of the lines, and of one that is no JSON."""
    stream = {"service_name": "qsticky", "instance": "qsticky"}
    shipped = ((line, ship(line, "alloy")) for line in [*printed, TEXT])
    return [Entry(line, {**stream, **labels, **data}) for line, (labels, data, _) in shipped]


def test_there_is_an_answer_to_each_question_of_the_page() -> None:
    assert EVERY_QUERY.keys() == {*RETURNED, FAILURES}
    assert len(EVERY_QUERY) == logs.PAGE.read_text().count("```logql")


FAILURES = "Failures a day, by reason"
# What the lines are that a query must return, by the sentence before it.
RETURNED: Mapping[str, Callable[[Line], bool]] = {
    "In Grafana, under *Explore*, with Loki chosen": lambda _: True,
    "What needs a look, from one instance": lambda line: (
        line["level"] in ("warning", "error", "critical")
    ),
    "When the port changed, and from which to which": lambda line: (
        line.get("event") == "port_changed"
    ),
    "Everything about a refused password": lambda line: (
        line.get("event") == "login_refused" or line.get("reason") == "qbittorrent_unauthorized"
    ),
    "Outages of more than a minute": lambda line: line.get("seconds", 0) > 60,
    "Tracebacks, which are worth a report": lambda line: "exception" in line,
}


@pytest.mark.parametrize("question", RETURNED)
def test_a_question_of_the_page_returns_what_it_is_about(
    printed: list[str], entries: list[Entry], question: str
) -> None:
    expected = [line for line in printed if RETURNED[question](json.loads(line))]
    found = logql.lines(EVERY_QUERY[question], entries)
    if "line_format" in EVERY_QUERY[question]:
        changes = [json.loads(line) for line in expected]
        expected = [f"{one['old_port']} -> {one['new_port']}" for one in changes]
    assert [line for line in found if line != TEXT] == expected
    assert expected or "more than a minute" in question, "nothing to find"


def test_outages_are_found_by_how_long_they_were(entries: list[Entry]) -> None:
    query = EVERY_QUERY["Outages of more than a minute"].replace("> 60", "> 0")
    found = [json.loads(line) for line in logql.lines(query, entries)]
    assert found
    assert {line["event"] for line in found} == {"sync_recovered"}


def test_failures_are_counted_by_reason(lines: list[Line], entries: list[Entry]) -> None:
    failed = [line["reason"] for line in lines if line.get("event") == "sync_failed"]
    assert logql.counts(EVERY_QUERY[FAILURES], entries) == Counter(failed)


def test_the_dashboard_shows_messages_and_lines_that_are_no_json_as_they_are(
    lines: list[Line], entries: list[Entry]
) -> None:
    (panel,) = (one for one in dashboard.panels(dashboard.load(ONE)) if one["type"] == "logs")
    query = panel["targets"][0]["expr"].replace("$instance", "qsticky")
    assert logql.lines(query, entries) == [*(line["message"] for line in lines), TEXT]
    for label in ("__error__", "__error_details__"):
        assert label in query.partition("| drop")[2], "Grafana would show an error in its place"


def test_what_is_no_query_is_refused() -> None:
    for query in ("{a=1} |= `text`", "rate({a=1}[1m])", '{a="b"} | logfmt'):
        with pytest.raises(ValueError, match="not a"):
            logql.lines(query, [Entry("", {"a": "b"})])
