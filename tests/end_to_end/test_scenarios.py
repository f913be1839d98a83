"""The bad days that `qsticky demo` plays, each played fast: it shows what it promises, and ends."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from qsticky.demo import player as demo
from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.scenarios import SCENARIOS, Scenario, Stage
from tests.end_to_end.command import BOUND, QSticky
from tests.real import wait_until

QUICK = {"CHECK_INTERVAL": 1, "PORT_GRACE": 1, "REQUEST_TIMEOUT": 5}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with (
        GluetunSimulator(api_key=demo.API_KEY) as gluetun,
        QBittorrentSimulator() as qbittorrent,
    ):
        stage = Stage(gluetun, qbittorrent, tmp_path / "forwarded_port", tmp_path / "pass")
        # Evidence that the VPN came back just after a change of the port is taken for its own.
        qbittorrent.listen_port = stage.port
        stage.set_up()
        yield stage


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
    for key, value in qsticky.metrics().items():
        sums[key.partition("{")[0]] += value
    return sums


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_bad_day_shows_what_it_promises_and_ends_well(
    name: str, stage: Stage, tmp_path: Path
) -> None:
    scenario = SCENARIOS[name]
    calm, *trouble, recovery = scenario.acts
    with QSticky(tmp_path, {**demo.variables(stage), **QUICK}) as qsticky:
        calm.play(stage)
        qsticky.wait_for_port(stage.port)
        before = metrics(qsticky)
        for act in trouble:
            seen = state(qsticky)
            act.play(stage)
            wait_until(partial(differs, qsticky, seen), BOUND, act.sentence)
            if act.seconds is None:
                reached = ("failing", scenario.reason) if scenario.reason else ("synced", None)
                qsticky.wait_for(*reached)
                wait_until(lambda: moved(qsticky, scenario, before), BOUND, "the metrics")
        recovery.play(stage)
        qsticky.wait_for_port(stage.port)
        assert qsticky.metric("healthy") == 1
        if not scenario.reason:
            wait_until(lambda: moved(qsticky, scenario, before), BOUND, "the metrics")
            assert "sync_failed" not in qsticky.events()


def test_the_command_says_what_it_will_play_and_begins(tmp_path: Path) -> None:
    arguments = ["demo", "--scenario", "outage", "--minutes", "7.5"]
    with QSticky(tmp_path, {}, arguments) as played:
        wait_until(lambda: " - demo - " in played.stdout, BOUND, "the first act")
        assert "\n    8:00  qBittorrent is started again\n" in played.stdout
        assert f"http://127.0.0.1:{played.port}/metrics" in played.stdout
        assert re.search(r" - demo - INFO - Act 1 of 3, for 0:30: All is well\n", played.stdout)
        assert played.stop() == 0
