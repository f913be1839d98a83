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

from qsticky.errors import Reason
from tests.observability.alerts import (
    ALERTS,
    PAGES,
    PROMETHEUS,
    RUNBOOKS,
    SEVERITIES,
    SPEED,
    alerts,
    quickened,
    runbook_url,
    seconds,
    with_durations,
    write_rules,
)
from tests.observability.causes import CAUSES, NO_TARGET, Cause, Scene, discover, scene
from tests.observability.prometheus import Prometheus, Target, of_3
from tests.real import require, wait_until

NAMES = sorted(alerts())
DASHBOARD_URL = (
    "http://localhost:3000/d/qsticky?var-job={{ $labels.job }}&var-instance={{ $labels.instance }}"
)
UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
FACTOR = 240  # 4 minutes are a second
SCRAPED_EVERY = 0.5
BOUND = 60  # seconds; for an alert to fire, or to resolve, where the machine has the time
EVERY_SCENE_IS_UP = 60


def pages() -> dict[str, str]:
    """How bad it is, for every runbook: of each reason, and of each alert that has its own."""
    own = {name: rule["labels"]["severity"] for name, rule in alerts().items()}
    reasons = dict.fromkeys(map(str, Reason), own["QStickyPeersCannotConnect"])
    reasons[Reason.PORT_CLOSED] = own["QStickyPortClosed"]
    return reasons | {name: severity for name, severity in own.items() if name not in PAGES}


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
    def test_an_alert_says_how_bad_it_is_and_where_to_look_and_to_read_more(
        self, alert: str
    ) -> None:
        rule = alerts()[alert]
        assert re.fullmatch(r"QSticky([A-Z][A-Za-z]+)+", alert)
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in SEVERITIES
        annotations = rule["annotations"]
        assert annotations.keys() == {"summary", "description", "dashboard_url", "runbook_url"}
        assert re.fullmatch(r"[^{}.]+\.", annotations["summary"])
        assert annotations["runbook_url"] == runbook_url(alert)
        assert annotations["dashboard_url"] == DASHBOARD_URL

    @pytest.mark.parametrize("name", sorted(pages()))
    def test_a_runbook_is_about_its_alert_or_reason(self, name: str) -> None:
        text = (RUNBOOKS / f"{name}.md").read_text()
        headings = re.findall(r"^#+ .*$", text, re.MULTILINE)
        parts = ["## Meaning", "## Impact", "## Diagnosis", "## Remedy"]
        assert headings == [f"# {name}", *parts]
        assert f"**{pages()[name].capitalize()}.**" in text

    def test_the_index_leads_to_every_runbook_and_there_is_no_other(self) -> None:
        index = (RUNBOOKS / "README.md").read_text()
        listed = re.findall(r"^\| \[`?(\w+)`?\]\((\w+)\.md\) \| (\w+) \|", index, re.MULTILINE)
        assert {name: severity for name, _, severity in listed} == pages()
        assert all(name == page for name, page, _ in listed)
        assert {file.stem for file in RUNBOOKS.glob("*.md")} == {*pages(), "README"}
        assert all(alert in index for alert in NAMES)

    def test_every_alert_has_a_cause_that_can_be_made_and_ended(self) -> None:
        assert {cause.alert or name for name, cause in CAUSES.items()} == {*NAMES}

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
        speed = SPEED.get(alert, FACTOR)
        for name in rule.keys() - {"expr", "for", "keep_firing_for"}:
            assert quick[name] == rule[name]
        assert quick.keys() == rule.keys()
        without = with_durations(rule, lambda _: "")
        assert re.sub(r"\b\d+ms\b", "", quick["expr"]) == without["expr"]
        assert not re.search(r"\b\d+(ms|[smhdwy])\b", without["expr"]), "a duration was missed"
        for wait in quick.keys() & {"for", "keep_firing_for"}:
            assert int(quick[wait].removesuffix("ms")) == seconds(rule[wait]) * 1000 // speed


def promtool(*arguments: object) -> None:
    """Ask the promtool of the oldest Prometheus that is supported, and that of a new one."""
    for program in (require("promtool"), of_3("promtool")):
        command = [program, *map(str, arguments)]
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
    """Make and end every cause, each on a `qsticky` of its own, all at once.

    One Prometheus scrapes them all but for one, which another Prometheus discovers.
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
        lone = scenes[NO_TARGET]
        discover(lone, there=True)
        targets = [
            Target(f"127.0.0.1:{s.qsticky.port}", n) for n, s in scenes.items() if s is not lone
        ]
        prometheus = partial(Prometheus, interval=SCRAPED_EVERY, rule_files=[rules])
        main = start(prometheus(folder / "main", targets))
        discovery = {"files": [str(lone.discovered)], "refresh_interval": "1s"}
        jobs = [{"job_name": "media", "file_sd_configs": [discovery]}]
        other = start(prometheus(folder / "other", settings={"scrape_configs": jobs}))
        healthy = "count(qsticky_healthy == 1)"
        wait_until(lambda: main.value(healthy) == len(targets), BOUND, "scrapes")
        wait_until(lambda: other.value(healthy) == 1, BOUND, "the discovery")
        watch = Watch(main, other)
        pool = start(ThreadPoolExecutor(len(scenes)))
        with watch.looking():
            proofs = {n: pool.submit(_prove, CAUSES[n], s, watch) for n, s in scenes.items()}
            ends = {name: proof.result() for name, proof in proofs.items()}
    ever = {n: {alert for alert, instance in watch.ever if instance == n} for n in ends}
    return {n: Outcome(*end, ever[n] - {CAUSES[n].alert or n}) for n, end in ends.items()}


def _prove(cause: Cause, scene: Scene, watch: Watch) -> tuple[bool, bool]:
    alert = cause.alert or scene.name
    instance = "" if scene.name == NO_TARGET else scene.name
    deadline = time.monotonic() + BOUND
    cause.make(scene)
    while not (fired := watch.wait(alert, instance, firing=True, timeout=SCRAPED_EVERY)):
        if time.monotonic() > deadline:
            break
        if cause.again:
            cause.make(scene)
    cause.end(scene)
    resolved = watch.wait(alert, instance, firing=False, timeout=2 * BOUND)
    return fired, resolved


@pytest.mark.parametrize("name", CAUSES)
def test_an_alert_fires_alone_when_its_cause_is_there_and_resolves_after(
    outcomes: Mapping[str, Outcome], name: str
) -> None:
    outcome = outcomes[name]
    assert outcome.fired
    assert outcome.resolved
    late = {"QStickyGone"}  # a scrape fails after half a second, which a busy machine may take
    assert outcome.others <= late, "one cause, and more than one alert"
