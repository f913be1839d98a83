"""The bad days that `qsticky demo` plays, each played fast: it shows what it promises, and ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from qsticky.demo.scenarios import SCENARIOS, Scenario
from tests.end_to_end.command import BOUND, QSticky
from tests.real import wait_until

ROOT = Path(__file__).parents[2]
QUICK = {"CHECK_INTERVAL": 1, "PORT_GRACE": 1, "REQUEST_TIMEOUT": 5}


class Staged(QSticky):
    """The daemon of a demonstration, whose acts are played when the test says so."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {**QUICK, "PYTHONPATH": ROOT})

    def start(self) -> None:
        """Start it; it need not be up yet when this returns."""
        command = [sys.executable, "-m", "tests.end_to_end.staged"]
        with self._open("stdout") as stdout, self._open("stderr") as stderr:
            self._process = subprocess.Popen(
                [*command, self.folder],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                bufsize=0,
            )

    def stop(self, received: signal.Signals = signal.SIGTERM, timeout: float = BOUND) -> int:
        """Send it a signal, and return its exit code."""
        with self._running():
            return super().stop(received, timeout)

    def play(self, scenario: str, act: int) -> None:
        """Play an act, and return when it was."""
        played, line = self.folder / "played", f"{scenario} {act}\n"
        stdin = self._running().stdin
        assert stdin
        stdin.write(line.encode())
        wait_until(lambda: played.exists() and played.read_text() == line, BOUND, "an act")

    def wait_until_it_follows(self) -> None:
        """Wait until it is in sync on the port that is forwarded now."""
        self.wait_for_port(int((self.folder / "forwarded_port").read_text()))


def state(qsticky: QSticky) -> tuple[Any, ...]:
    """What an act changes."""
    health = qsticky.health()
    facts = ("status", "reason", "forwarded_port", "current_port")
    return *(health[fact] for fact in facts), health["services"]["gluetun"]["connected"]


def differs(qsticky: QSticky, seen: tuple[Any, ...]) -> bool:
    return state(qsticky) != seen


def moved(qsticky: QSticky, scenario: Scenario, before: Mapping[str, float]) -> bool:
    """Whether every metric that a scenario names differs from what it was."""
    after = metrics(qsticky)
    return all(after[name] != before[name] for name in scenario.shown_by)


def metrics(qsticky: QSticky) -> Mapping[str, float]:
    """Every metric as the sum over its labels."""
    sums: defaultdict[str, float] = defaultdict(float)
    for name, value in re.findall(r"^(\w+).* (\S+)$", qsticky.exposition(), re.MULTILINE):
        sums[name] += float(value)
    return sums


@pytest.fixture(scope="module")
def qsticky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    """One daemon for all bad days, as each of them ends well."""
    with Staged(tmp_path_factory.mktemp("staged")) as staged:
        staged.wait_for("synced")
        yield staged


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_bad_day_shows_what_it_promises_and_ends_well(name: str, qsticky: Staged) -> None:
    scenario = SCENARIOS[name]
    qsticky.play(name, 0)
    qsticky.wait_until_it_follows()
    assert qsticky.metric("vpn_listener_up") == 1
    if "qsticky_incoming_connections" in scenario.shown_by:
        wait_until(lambda: qsticky.metric("incoming_connections") > 0, BOUND, "a peer")
    before, failures = metrics(qsticky), qsticky.events().count("sync_failed")
    for number, act in enumerate(scenario.acts[1:-1], 1):
        seen = state(qsticky)
        qsticky.play(name, number)
        if act.seconds is None:
            reached = ("failing", scenario.reason) if scenario.reason else ("synced", None)
            qsticky.wait_for(*reached)
            wait_until(lambda: moved(qsticky, scenario, before), BOUND, "the metrics")
        else:
            wait_until(partial(differs, qsticky, seen), BOUND, act.sentence)
    qsticky.play(name, len(scenario.acts) - 1)
    qsticky.wait_until_it_follows()
    assert qsticky.metric("healthy") == 1
    if not scenario.reason:
        wait_until(lambda: moved(qsticky, scenario, before), BOUND, "the metrics")
        assert qsticky.events().count("sync_failed") == failures


def test_the_command_says_what_it_will_play_and_begins(tmp_path: Path) -> None:
    arguments = ["demo", "--scenario", "outage", "--minutes", "7.5"]
    with QSticky(tmp_path, {}, arguments) as played:
        wait_until(lambda: " - demo - " in played.stdout, BOUND, "the first act")
        assert "\n    8:00  qBittorrent is started again\n" in played.stdout
        assert f"http://127.0.0.1:{played.port}/metrics" in played.stdout
        assert re.search(r" - demo - INFO - Act 1 of 3, for 0:30: All works\n", played.stdout)
        assert played.stop() == 0
