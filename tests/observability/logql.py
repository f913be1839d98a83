"""Answers as much of LogQL as is written down here, from log lines: a Loki is not to be had.

What filters do to a label that is not there, and what `json` does to a line that is no JSON, is as
Loki's documentation has it.
"""

from __future__ import annotations

import json
import operator
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

_QUERY = re.compile(
    r"(?:sum by \((?P<by>\w+)\) \(count_over_time\()?\s*"
    r"\{(?P<selector>[^}]*)\}(?P<stages>(?:[^\[`]|`[^`]*`)*)(?:\[\w+\]\)\))?\s*",
)
_FILTER = r'(?P<label>\w+)\s*(?P<operator>=~|!~|!=|>=|<=|[=<>])\s*(?P<value>"[^"]*"|\d+)'
_STAGE = re.compile(
    r"\s*\|\s*(?:(?P<json>json)\b(?!\s*=)|drop (?P<drop>\w+(?:, \w+)*)"
    rf"|line_format (?P<format>`[^`]*`|\"[^\"]*\")|{_FILTER})\s*"
)
_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class Entry:
    """A line as Loki has it: its labels are those of its stream, and its structured metadata."""

    line: str
    labels: Mapping[str, str]


def lines(query: str, entries: Iterable[Entry]) -> list[str]:
    """Return the lines that a query returns; ValueError where it is more than is done here."""
    return [entry.line for entry in _found(query, entries)]


def counts(query: str, entries: Iterable[Entry]) -> dict[str, int]:
    """Return what a query counts within its range, by the value of its one label."""
    by = _parsed(query)["by"]
    return dict(Counter(entry.labels.get(by, "") for entry in _found(query, entries)))


def _parsed(query: str) -> re.Match[str]:
    if found := _QUERY.fullmatch(query.strip()):
        return found
    raise ValueError(f"not a query: {query}")


def _found(query: str, entries: Iterable[Entry]) -> Iterator[Entry]:
    parsed = _parsed(query)
    matchers = [*re.finditer(_FILTER, parsed["selector"])]
    stages, position = [], 0
    while position < len(parsed["stages"].rstrip()):
        stage = _STAGE.match(parsed["stages"], position)
        if not stage:
            raise ValueError(f"not a stage: {parsed['stages'][position:]}")
        stages.append(stage)
        position = stage.end()
    for entry in entries:
        if all(_passes(entry, matcher) for matcher in matchers):
            passed: Entry | None = entry
            for stage in stages:
                passed = _through(stage, passed) if passed else None
            if passed:
                yield passed


def _through(stage: re.Match[str], entry: Entry) -> Entry | None:
    if stage["json"]:
        return _with_fields(entry)
    if stage["drop"]:
        dropped = stage["drop"].split(", ")
        kept = {name: value for name, value in entry.labels.items() if name not in dropped}
        return replace(entry, labels=kept)
    if stage["format"]:
        return replace(entry, line=_formatted(stage["format"][1:-1], entry))
    return entry if _passes(entry, stage) else None


def _with_fields(entry: Entry) -> Entry:
    """Make labels of fields; one that is there already stays, and the other gets a suffix."""
    try:
        fields = json.loads(entry.line)
    except ValueError:
        failed = {"__error__": "JSONParserErr", "__error_details__": "no JSON"}
        return replace(entry, labels={**entry.labels, **failed})
    named = {
        f"{name}_extracted" if name in entry.labels else name: str(value)
        for name, value in fields.items()
    }
    return replace(entry, labels={**entry.labels, **named})


def _formatted(template: str, entry: Entry) -> str:
    def value(name: str) -> str:
        return entry.line if name == "__line__" else entry.labels.get(name.lstrip("."), "")

    chosen = re.sub(
        r"\{\{if ([^\s}]+)\}\}(.*?)\{\{else\}\}(.*?)\{\{end\}\}",
        lambda found: found[2] if value(found[1]) else found[3],
        template,
    )
    return re.sub(r"\{\{([^\s}]+)\}\}", lambda found: value(found[1]), chosen)


def _passes(entry: Entry, condition: re.Match[str]) -> bool:
    """Whether a label is as it should be; one that is not there is empty, and is no number."""
    label, wanted = entry.labels.get(condition["label"], ""), condition["value"].strip('"')
    if compare := _COMPARISONS.get(condition["operator"]):
        return bool(label) and compare(float(label), float(wanted))
    if condition["operator"] in ("=~", "!~"):
        return bool(re.fullmatch(wanted, label)) is (condition["operator"] == "=~")
    return (label == wanted) is (condition["operator"] == "=")
