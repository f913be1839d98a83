"""The exposition, as old and new Prometheus negotiate it with a real daemon."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.end_to_end.command import BOUND, QSticky
from tests.observability.prometheus import Prometheus, of_3
from tests.observability.story import Instance
from tests.real import free_port, require, wait_until

# In the order in which Prometheus 3 prefers them, and each on its own.
PROTOCOLS = (
    "PrometheusProto",
    "OpenMetricsText1.0.0",
    "OpenMetricsText0.0.1",
    "PrometheusText1.0.0",
    "PrometheusText0.0.4",
)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture(scope="module")
def qsticky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QSticky]:
    """A daemon that sees the VPN's interface, so that it knows most of what can be known."""
    port = free_port()
    stage = Instance(tmp_path_factory.mktemp("exposition") / "one", port, VPN_INTERFACE="lo")
    stage.peers.listen(port)
    with stage.running() as running:
        running.wait_for_port(port)
        yield running


def scraped(prometheus: Prometheus, job: str) -> set[tuple[str, ...]]:
    """The series of a job, each as its labels but for where it was scraped."""
    own = f'{{job="{job}", __name__=~"(qsticky|process|python)_.*"}}'
    return {
        tuple(sorted(f"{k}={v}" for k, v in one.labels.items() if k not in ("job", "instance")))
        for one in prometheus.query(own)
    }


def job(name: str, qsticky: QSticky, **settings: object) -> dict[str, object]:
    """A scrape job for the daemon."""
    targets = [{"targets": [f"127.0.0.1:{qsticky.port}"]}]
    return {"job_name": name, "static_configs": targets, **settings}


def test_prometheus_3_reads_the_same_by_whichever_protocol_it_asks_for(
    qsticky: QSticky, tmp_path: Path
) -> None:
    jobs = [job("all", qsticky, scrape_protocols=[*PROTOCOLS])]
    jobs += [job(one, qsticky, scrape_protocols=[one]) for one in PROTOCOLS]
    legacy = {
        "metric_name_validation_scheme": "legacy",
        "metric_name_escaping_scheme": "underscores",
    }
    jobs.append(job("legacy names", qsticky, **legacy))
    program = of_3("prometheus")
    settings = {"scrape_configs": jobs}
    with Prometheus(tmp_path, settings=settings, program=program) as prometheus:
        wait_until(lambda: prometheus.value("count(up == 1)") == len(jobs), BOUND, "the scrapes")
        series = {str(one["job_name"]): scraped(prometheus, str(one["job_name"])) for one in jobs}
    assert len(series["all"]) > 150
    assert [name for name, found in series.items() if found != series["all"]] == []


def test_prometheus_2_reads_it_too(qsticky: QSticky, tmp_path: Path) -> None:
    settings = {"scrape_configs": [job("all", qsticky)]}
    require("prometheus")
    with Prometheus(tmp_path, settings=settings) as prometheus:
        wait_until(lambda: prometheus.value("count(up == 1)") == 1, BOUND, "the scrape")
        assert len(scraped(prometheus, "all")) > 150


def test_openmetrics_declares_the_unit_of_each_metric_that_has_one(qsticky: QSticky) -> None:
    url = f"http://127.0.0.1:{qsticky.port}/metrics"
    answer = requests.get(url, headers={"Accept": OPENMETRICS}, timeout=BOUND)
    assert answer.headers["Content-Type"].startswith(OPENMETRICS)
    units = dict(re.findall(r"^# UNIT (qsticky_\w+) (\w+)$", answer.text, re.MULTILINE))
    named = re.findall(r"^# TYPE (qsticky_\w+_(seconds|bytes)) ", answer.text, re.MULTILINE)
    assert units == dict(named)
    assert len(units) > 8
    described = set(re.findall(r"^# HELP (qsticky_\w+) \S.*\.$", answer.text, re.MULTILINE))
    assert described == set(re.findall(r"^# TYPE (qsticky_\w+) ", answer.text, re.MULTILINE))
