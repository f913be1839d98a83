"""Every alert fires when its cause is there, and resolves after; and each is told what it is."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observability.alerts import (
    ALERTS,
    PROMETHEUS,
    RUNBOOKS,
    SEVERITIES,
    alerts,
    quickened,
    runbook_url,
    seconds,
    with_durations,
    write_rules,
)
from tests.observability.causes import CAUSES, Cause, Scene, scene
from tests.observability.prometheus import Prometheus, Target
from tests.real import require, wait_until

NAMES = sorted(alerts())
UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
FACTOR = 240  # 4 minutes are a second
SCRAPED_EVERY = 0.5
BOUND = 60  # seconds; for an alert to fire, or to resolve, where the machine has the time
EVERY_SCENE_IS_UP = 60


class TestTheFiles:
    """Rules, their unit tests, and the runbooks, each by the others."""

    def test_promtool_finds_nothing_wrong_with_the_rules(self) -> None:
        promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS)

    @pytest.mark.parametrize("file", UNIT_TESTS, ids=lambda file: file.name)
    def test_the_unit_tests_of_the_rules_pass(self, file: Path) -> None:
        promtool("test", "rules", file)

    @pytest.mark.parametrize("alert", NAMES)
    def test_an_alert_has_a_unit_test_that_fires_and_one_that_stays_quiet(self, alert: str) -> None:
        tested = list(unit_tests(alert))
        for one in (one for test in tested for one in test.get("exp_alerts", ())):
            assert one["exp_annotations"].keys() == alerts()[alert]["annotations"].keys()
        assert any(test.get("exp_alerts") for test in tested), "none fires"
        assert any(not test.get("exp_alerts") for test in tested), "none stays quiet"

    @pytest.mark.parametrize("alert", NAMES)
    def test_an_alert_says_how_bad_it_is_and_where_to_read_more(self, alert: str) -> None:
        rule = alerts()[alert]
        assert re.fullmatch(r"QSticky([A-Z][A-Za-z]+)+", alert)
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in SEVERITIES
        assert seconds(rule.get("for", "0s")) <= 600
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert re.fullmatch(r"[^{}.]+\.", rule["annotations"]["summary"])
        assert rule["annotations"]["runbook_url"] == runbook_url(alert)

    @pytest.mark.parametrize("alert", NAMES)
    def test_a_runbook_is_about_its_alert(self, alert: str) -> None:
        text = (RUNBOOKS / f"{alert}.md").read_text()
        headings = re.findall(r"^#+ .*$", text, re.MULTILINE)
        parts = ["## Meaning", "## Impact", "## Diagnosis", "## Remedy"]
        assert headings == [f"# {alert}", *parts]
        assert f"**{alerts()[alert]['labels']['severity'].capitalize()}.**" in text

    def test_the_index_lists_every_runbook_and_every_runbook_has_an_alert(self) -> None:
        index = (RUNBOOKS / "README.md").read_text()
        listed = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \|", index, re.MULTILINE)
        by_name = alerts()
        assert listed == [(n, n, rule["labels"]["severity"]) for n, rule in by_name.items()]
        assert {file.stem for file in RUNBOOKS.glob("*.md")} == {*by_name, "README"}

    def test_every_alert_has_a_cause_that_can_be_made_and_ended(self) -> None:
        assert sorted(CAUSES) == NAMES

    def test_promtool_can_read_the_queries_of_the_runbooks(self, tmp_path: Path) -> None:
        pages = [file.read_text() for file in RUNBOOKS.glob("*.md")]
        blocks = [b for page in pages for b in re.findall(r"```promql\n(.*?)```", page, re.DOTALL)]
        queries = [query for block in blocks for query in block.splitlines()]
        file = tmp_path / "queries.yml"
        write_rules(file, ({"record": f"query:{n}", "expr": q} for n, q in enumerate(queries)))
        promtool("check", "rules", file)

    @pytest.mark.parametrize("alert", NAMES)
    def test_quickened_only_the_durations_of_an_alert_change(self, alert: str) -> None:
        rule, quick = alerts()[alert], quickened(FACTOR)[alert]
        for name in rule.keys() - {"expr", "for", "keep_firing_for"}:
            assert quick[name] == rule[name]
        assert quick.keys() == rule.keys()
        without = with_durations(rule, lambda _: "")
        assert re.sub(r"\b\d+ms\b", "", quick["expr"]) == without["expr"]
        assert not re.search(r"\b\d+(ms|[smhdwy])\b", without["expr"]), "a duration was missed"
        for wait in quick.keys() & {"for", "keep_firing_for"}:
            assert int(quick[wait].removesuffix("ms")) * FACTOR == seconds(rule[wait]) * 1000


def promtool(*arguments: object) -> None:
    command = [require("promtool"), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BOUND)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def unit_tests(alert: str) -> Iterator[dict[str, Any]]:
    return (test for test in every_unit_test() if test["alertname"] == alert)


@cache  # to parse YAML takes a while
def every_unit_test() -> Sequence[dict[str, Any]]:
    return [
        test
        for file in UNIT_TESTS
        for group in yaml.safe_load(file.read_text())["tests"]
        for test in group["alert_rule_test"]
    ]


@dataclass(frozen=True)
class Outcome:
    """What became of an alert whose cause was made and ended, and which others came with it."""

    fired: bool
    resolved: bool
    others: set[str]


class Watch:
    """Which alerts fire at which instance, now and ever, as Prometheus tells."""

    def __init__(self, *observed: Prometheus) -> None:
        self.ever: set[tuple[str, str]] = set()
        self._now: set[tuple[str, str]] = set()
        self._observed = observed
        self._looked = threading.Condition()
        self._over = threading.Event()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look, for the time of a `with` block."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def wait(self, alert: str, instance: str, *, firing: bool, timeout: float) -> bool:
        """Wait until an alert fires, or doesn't, and tell whether it came to that in time."""
        with self._looked:
            return self._looked.wait_for(
                lambda: ((alert, instance) in self._now) is firing, timeout
            )

    def _look(self) -> None:
        while not self._over.wait(SCRAPED_EVERY / 2):
            firing = {
                (alert["labels"]["alertname"], alert["labels"].get("instance", ""))
                for prometheus in self._observed
                for alert in prometheus.alerts()
                if alert["state"] == "firing"
            }
            with self._looked:
                self._now = firing
                self.ever |= firing
                self._looked.notify_all()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    """Make and end the cause of every alert, each on a `qsticky` of its own, all at once.

    One Prometheus scrapes them all; another begins without a target.
    """
    require("prometheus")
    folder = tmp_path_factory.mktemp("alerts")
    rules = folder / "quickened.yml"
    write_rules(rules, quickened(FACTOR).values())
    with ExitStack() as running:
        start = running.enter_context
        scenes = {n: start(scene(folder / n, n, c)) for n, c in CAUSES.items()}
        for one in scenes.values():
            one.qsticky.wait_for("synced", timeout=EVERY_SCENE_IS_UP)
        targets = [Target(f"127.0.0.1:{s.qsticky.port}", n) for n, s in scenes.items()]
        prometheus = partial(Prometheus, interval=SCRAPED_EVERY, rule_files=[rules])
        main = start(prometheus(folder / "main", targets))
        discovery = {"files": [str(scenes["QStickyAbsent"].discovered)], "refresh_interval": "1s"}
        jobs = [{"job_name": "qsticky", "file_sd_configs": [discovery]}]
        empty = start(prometheus(folder / "empty", settings={"scrape_configs": jobs}))
        wait_until(
            lambda: main.value("count(qsticky_healthy == 1)") == len(scenes), BOUND, "scrapes"
        )
        watch = Watch(main, empty)
        pool = start(ThreadPoolExecutor(len(scenes)))
        with watch.looking():
            proofs = {n: pool.submit(_prove, CAUSES[n], s, watch) for n, s in scenes.items()}
            ends = {name: proof.result() for name, proof in proofs.items()}
    ever = {n: {alert for alert, instance in watch.ever if instance == n} for n in ends}
    return {name: Outcome(*end, ever[name] - {name}) for name, end in ends.items()}


def _prove(cause: Cause, scene: Scene, watch: Watch) -> tuple[bool, bool]:
    alert = scene.name
    instance = "" if alert == "QStickyAbsent" else alert
    deadline = time.monotonic() + BOUND
    cause.make(scene)
    while not (fired := watch.wait(alert, instance, firing=True, timeout=SCRAPED_EVERY)):
        if time.monotonic() > deadline:
            break
        if cause.again:
            cause.make(scene)
    cause.end(scene)
    resolved = watch.wait(alert, instance, firing=False, timeout=BOUND)
    scene.stage.qbittorrent.connection_status = "connected"  # peers find another port in time
    return fired, resolved


@pytest.mark.parametrize("alert", NAMES)
def test_an_alert_fires_alone_when_its_cause_is_there_and_resolves_after(
    outcomes: Mapping[str, Outcome], alert: str
) -> None:
    outcome = outcomes[alert]
    assert outcome.fired
    assert outcome.resolved
    late = {"QStickyDown"}  # a scrape fails after half a second, which a busy machine may take
    assert outcome.others <= CAUSES[alert].beside | late, "one cause, and more than one alert"
