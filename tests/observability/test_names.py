"""One source of truth: what the code exports, and what everything else says that it exports.

Metrics, their labels and those labels' values, log events and their fields, and alerts: in the
dashboard, the rules and their tests, Alloy, Kubernetes, and all that is written for people.
`tests/repository/test_reference.py` holds the tables of docs/reference.md to the code besides.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from qsticky.config import Config, Notice
from qsticky.errors import ErrorKind, Reason
from qsticky.record.events import Event
from qsticky.record.health import Health
from qsticky.record.metrics import LOG_LEVELS, SERVICES, Metrics
from qsticky.services.qbittorrent import ConnectionStatus
from qsticky.sync.report import RebindCause, Status, Trigger
from tests.fakes import FakeClock
from tests.observability import alerts, dashboard, logs, promql
from tests.observability.promql import Matcher, Selector
from tests.reports import KNOWN

ROOT = Path(__file__).parents[2]

# Exported, and neither shown nor alerted on: why.
UNUSED: Mapping[str, str] = {
    "qsticky_in_sync": "the status tells, and both ports are shown",
    "qsticky_log_messages_total": "the lines themselves are shown",
    "qsticky_port_checks_total": "what the last one said is shown, and a runbook asks how often",
}

# What Prometheus itself makes of each scrape and each alert.
PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS"}
TARGET_LABELS = {"job", "instance", "__name__", "alertname", "alertstate", "severity"}
OPEN_LABELS = {"version", "revision"} | TARGET_LABELS
LOKI_LABELS = {"service_name", "instance", "level"}

# The values that a name can have wherever it stands with one, as in `reason="internal"`.
VALUES: Mapping[str, set[str]] = {
    "event": set(Event),
    "reason": {*Reason, *ErrorKind},
    "cause": set(RebindCause),
    "trigger": set(Trigger),
    "status": {*ConnectionStatus, *Status},
    "service": set(SERVICES),
    "level": set(LOG_LEVELS),
}


@dataclass(frozen=True)
class Expression:
    """A query, and where it stands."""

    where: str
    text: str


@cache
def exported() -> Mapping[str, Mapping[str, set[str]]]:
    """Every series name that a scrape gives, with its labels and their values."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = Metrics(registry, check_interval=30, revision="unknown", clock=FakeClock())
    metrics.record(KNOWN)
    found: dict[str, dict[str, set[str]]] = {}
    for sample in chain.from_iterable(family.samples for family in registry.collect()):
        if not sample.name.endswith("_created"):
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def family(name: str) -> str:
    """The name that documentation has for a series."""
    if name in exported():
        return re.sub(r"_(bucket|sum|count)$", "", name)
    return name


def families() -> set[str]:
    """Our own metrics, as documentation names them."""
    return {family(name) for name in exported() if name.startswith("qsticky_")}


def written() -> Iterator[Path]:
    """Every file that users read or use, as far as it can name a metric or an event."""
    for folder in (".github", "deploy", "docs", "grafana"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".md", ".json", ".yml", ".yaml", ".alloy"}:
                yield path
    yield from ROOT.glob("*.md")


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every YAML document under deploy/, and where it is."""
    for path in written():
        if path.suffix in {".yml", ".yaml"} and path.is_relative_to(ROOT / "deploy"):
            for document in yaml.safe_load_all(path.read_text()):
                if isinstance(document, dict):
                    yield str(path.relative_to(ROOT)), document


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every rule of Prometheus, and where it is: files for it, and Kubernetes' PrometheusRule."""
    for where, document in documents():
        spec = document.get("spec") if document.get("kind") == "PrometheusRule" else document
        groups = (spec or {}).get("groups")
        for group in groups if isinstance(groups, list) else []:
            for rule in group["rules"]:
                yield f"{where}, {rule['alert']}", rule


def rule_tests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every case of promtool's unit tests, and where it is."""
    for where, document in documents():
        for case in document.get("tests") or []:
            yield where, case


def fenced(language: str) -> Iterator[Expression]:
    """Every block of a language in what is written for people."""
    for path in written():
        if path.suffix == ".md":
            block = rf"^```{language}\n(.*?)^```"
            for text in re.findall(block, path.read_text(), re.MULTILINE | re.DOTALL):
                yield Expression(str(path.relative_to(ROOT)), text)


def dashboard_expressions() -> Iterator[Expression]:
    """Every PromQL expression of the dashboards: of panels, annotations and variables."""
    for query in dashboard.all_queries():
        yield Expression(str(query), query.expression)
    for board in dashboard.BOARDS:
        for variable in dashboard.load(board)["templating"]["list"]:
            if variable["type"] == "query":
                text = variable["query"]["query"]
                asked = re.fullmatch(r"label_values\((.*), (\w+)\)", text)
                assert asked, text
                expression = f"group by ({asked[2]}) ({asked[1]})"
                yield Expression(f"{board}, variable {variable['name']}", expression)


def expressions() -> Iterator[Expression]:
    """Every PromQL expression anywhere."""
    yield from dashboard_expressions()
    for where, rule in rules():
        yield Expression(where, rule["expr"])
    for where, case in rule_tests():
        for series in case.get("input_series", []):
            yield Expression(where, series["series"])
    yield from fenced("promql")
    for path in written():
        for selector in re.findall(r"qsticky_\w+\{[^{}]*\}", _unescaped(path)):
            yield Expression(str(path.relative_to(ROOT)), selector)


def log_queries() -> Iterator[Expression]:
    """Every LogQL expression anywhere."""
    panels = (panel for board in dashboard.BOARDS for panel in _panels(board))
    for panel in panels:
        for target in panel["targets"]:
            if target["datasource"]["type"] == "loki":
                yield Expression(f"dashboard, {panel['title']}", target["expr"])
    yield from fenced("logql")


def _panels(board: str) -> Iterator[dict[str, Any]]:
    return dashboard.panels(dashboard.load(board))


def _unescaped(path: Path) -> str:
    text = path.read_text()
    return text.replace('\\"', '"') if path.suffix == ".json" else text


def labels_of(metric: str) -> set[str]:
    """The labels that series of a metric can have."""
    return exported().get(metric, {}).keys() | TARGET_LABELS


def mistakes(expression: Expression) -> Iterator[str]:
    """Say what an expression names that is not exported."""
    found = promql.names(expression.text)
    known = set(found.made)
    for selector in found.selectors:
        known |= labels_of(selector.metric)
        if selector.metric and selector.metric not in exported().keys() | PROMETHEUS:
            yield f"{expression.where}: no metric {selector.metric}"
            continue
        for matcher in selector.matchers:
            if wrong := _wrong(selector, matcher):
                yield f"{expression.where}: {wrong}"
    for label in found.labels - known:
        yield f"{expression.where}: no label {label} in {expression.text}"


def _wrong(selector: Selector, matcher: Matcher) -> str | None:
    if matcher.label not in labels_of(selector.metric):
        return f"no label {matcher.label} of {selector.metric}"
    values = exported().get(selector.metric, {}).get(matcher.label)
    if matcher.label in OPEN_LABELS or values is None or "$" in matcher.value:
        return None
    if matcher.operator in ("=", "!="):
        missing = {matcher.value} - values - {""}
    elif re.fullmatch(r"[\w|]*", matcher.value):
        missing = set(matcher.value.split("|")) - values
    else:
        fits = any(re.fullmatch(matcher.value, value) for value in values)
        missing = set() if fits else {matcher.value}
    if missing:
        return f"no value {min(missing)} of {matcher.label} of {selector.metric}"
    return None


def test_no_query_names_what_is_not_exported() -> None:
    queries = list(expressions())
    assert len(queries) > 100
    assert [mistake for query in queries for mistake in mistakes(query)] == []


def test_every_exported_metric_is_shown_or_alerted_on_or_excused() -> None:
    queries = [query.text for query in dashboard_expressions()]
    queries += [rule["expr"] for _, rule in rules()]
    selectors = chain.from_iterable(promql.names(query).selectors for query in queries)
    used = {family(selector.metric) for selector in selectors}
    assert families() - used == UNUSED.keys()
    assert all(UNUSED.values())


def test_no_text_names_a_metric_that_is_not_exported() -> None:
    known = exported().keys() | families()
    wrong = {
        (str(path.relative_to(ROOT)), name)
        for path in written()
        for name in re.findall(r"(?<![\w/.-])qsticky_\w+", path.read_text())
        if name not in known
    }
    assert wrong == set()


def test_no_text_gives_a_name_a_value_that_it_cannot_have() -> None:
    wrong = []
    for path in written():
        for name, given in re.findall(
            rf'\b({"|".join(VALUES)})"?\s*(?:[=!]?[=~]|:)\s*"([a-z_|]+)"', _unescaped(path)
        ):
            if missing := set(given.split("|")) - VALUES[name]:
                wrong.append((str(path.relative_to(ROOT)), name, missing))
    assert wrong == []


def test_no_log_query_names_what_is_not_in_the_logs() -> None:
    fields = logs.contract().names | LOKI_LABELS
    queries = list(log_queries())
    wrong = []
    for query in queries:
        plain = re.sub(r"\{\{.*?\}\}|\[[^\]]*\]", "", query.text)
        streams = re.findall(r"\{[^}]*\}", plain)
        wrong += [(query.where, one) for one in _matched("".join(streams)) - LOKI_LABELS]
        named = _matched(re.sub(r"\{[^}]*\}", "", plain))
        for labels in re.findall(r"\bby \(([^)]*)\)", plain):
            named |= set(re.findall(r"\w+", labels))
        for template in re.findall(r"\{\{(.*?)\}\}", query.text):
            named |= set(re.findall(r"\.(\w+)", template))
        wrong += [(query.where, one) for one in named - fields]
    assert queries
    assert wrong == []


def _matched(text: str) -> set[str]:
    return set(re.findall(r"(\w+)\s*(?:=~|!~|!=|==|[=<>]=?)\s*[\"`\d$]", text))


def test_legends_and_alerts_speak_of_labels_that_are_there() -> None:
    wrong = []
    for where, rule in rules():
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        wrong += [(where, label) for label in used - _known_labels(rule["expr"])]
    for query in dashboard.all_queries():
        used = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", query.legend))
        wrong += [(str(query), label) for label in used - _known_labels(query.expression)]
    assert wrong == []


def _known_labels(expression: str) -> set[str]:
    found = promql.names(expression)
    return found.made.union(*(labels_of(selector.metric) for selector in found.selectors))


def test_no_text_names_an_alert_that_there_is_not() -> None:
    known = alerts.alerts()
    assert known
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in written()
        for name in re.findall(r"\bQSticky[A-Z]\w+", path.read_text())
        if name not in known
    ]
    assert wrong == []


def test_nothing_in_code_style_is_a_name_of_ours_misspelt() -> None:
    health = Health(ROOT, check_interval=30, request_timeout=10, clock=FakeClock()).document()
    ours = {*exported(), *families(), *logs.contract().names, *LOKI_LABELS}
    ours = ours.union(*VALUES.values(), re.findall(r'"(\w+)":', json.dumps(health)))
    ours |= {*Config._fields} | set(Notice)
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in written()
        if path.suffix == ".md"
        for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", path.read_text())
        if name not in ours and difflib.get_close_matches(name, ours, cutoff=0.88)
    ]
    assert wrong == []
