"""Reads the dashboards, and asks their queries as Grafana does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.observability.prometheus import Prometheus, Sample, Series

FOLDER = Path(__file__).parents[2] / "grafana" / "dashboards"
ONE, FLEET = "qsticky", "qsticky-fleet"  # of one instance, and of many
BOARDS = (ONE, FLEET)

# What Grafana rounds a step to: below the first of a pair the step is the second, in seconds.
_STEPS = (
    *((1.5, 1), (3.5, 2), (7.5, 5), (12.5, 10), (17.5, 15), (25, 20), (45, 30), (90, 60)),
    *((210, 120), (450, 300), (750, 600), (1050, 900), (1500, 1200), (2700, 1800), (5400, 3600)),
)


@dataclass(frozen=True)
class Query:
    """One query of Prometheus in a dashboard: of a panel, or of an annotation (ref ``Anno``)."""

    board: str
    title: str
    ref: str
    expression: str
    legend: str
    instant: bool
    max_points: int

    def __str__(self) -> str:
        return f"{self.board}: {self.title} {self.ref}"


def load(board: str) -> dict[str, Any]:
    """Read a dashboard's file."""
    dashboard: dict[str, Any] = json.loads((FOLDER / f"{board}.json").read_text())
    return dashboard


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give every panel, those of collapsed rows too, but not the rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def all_queries() -> list[Query]:
    """List all queries of Prometheus of all dashboards."""
    return [query for board in BOARDS for query in queries(load(board))]


def queries(dashboard: Mapping[str, Any], width: int = 1000) -> list[Query]:
    """List all queries of Prometheus in a dashboard, for panels as many pixels wide."""
    of_panels = [
        Query(
            board=dashboard["uid"],
            title=panel["title"],
            ref=target["refId"],
            expression=target["expr"],
            legend=target["legendFormat"],
            instant=target["instant"],
            max_points=panel.get("maxDataPoints", width),
        )
        for panel in panels(dashboard)
        for target in panel["targets"]
        if target["datasource"]["type"] == "prometheus"
    ]
    of_annotations = [
        Query(
            dashboard["uid"],
            one["name"],
            "Anno",
            one["target"]["expr"],
            one["textFormat"],
            False,
            100,
        )
        for one in dashboard["annotations"]["list"]
        if one["datasource"]["type"] == "prometheus"
    ]
    return of_panels + of_annotations


@dataclass(frozen=True)
class View:
    """What somebody has before him: a time range, and the jobs and instances chosen (none: all).

    `scrape_interval` is what the data source is told of it. Times are in seconds.
    """

    start: float
    end: float
    scrape_interval: float
    jobs: Sequence[str] = ()
    instances: Sequence[str] = ()

    def step(self, max_points: int) -> float:
        """Return the step of a range query, as Grafana chooses it."""
        exact = (self.end - self.start) / max_points
        rounded = next((step for below, step in _STEPS if exact < below), exact)
        return max(rounded, self.scrape_interval)

    def fill(self, expression: str, max_points: int = 1000) -> str:
        """Put the variables' values in their place."""
        step = self.step(max_points)
        values = {
            "$__rate_interval": _duration(
                max(step + self.scrape_interval, 4 * self.scrape_interval)
            ),
            "$__interval": _duration(step),
            "$__range": _duration(self.end - self.start),
            "$instance": _matcher(self.instances),
            "$job": _matcher(self.jobs),
        }
        for name, value in values.items():
            expression = expression.replace(name, value)
        assert "$" not in expression, expression
        return expression

    def series(self, prometheus: Prometheus, query: Query) -> list[Series]:
        """Ask a query, and return all that is drawn."""
        expression = self.fill(query.expression, query.max_points)
        if query.instant:
            return [
                Series(sample.labels, ((self.end, sample.value),))
                for sample in prometheus.query(expression, at=self.end)
            ]
        # Grafana begins at a multiple of the step, and so ends at one.
        step = self.step(query.max_points)
        start, end = (time // step * step for time in (self.start, self.end))
        return prometheus.query_range(expression, start, end, step)

    def ask(self, prometheus: Prometheus, query: Query) -> list[Sample]:
        """Ask a query, and return what is to be seen at the end of the time range."""
        age = 1 if query.instant else self.step(query.max_points)
        return [
            Sample(series.labels, series.values[-1])
            for series in self.series(prometheus, query)
            if series.points[-1][0] > self.end - age
        ]


def legend(query: Query, labels: Mapping[str, str]) -> str:
    """Return the name that Grafana gives a series."""
    if query.legend == "__auto":
        return labels.get("instance", "")
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), query.legend)


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _matcher(chosen: Sequence[str]) -> str:
    """Return chosen values as the regular expression that Grafana makes of them."""
    if not chosen:
        return ".+"
    escaped = [re.sub(r"[\\$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value) for value in chosen]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
