"""The demonstration's play: what it announces, in which order it plays, and how it ends."""

import logging
import re
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from qsticky.demo import player
from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.player import Play
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.scenarios import FOLLOWING, SCENARIOS, Act, Scenario, Stage
from qsticky.errors import Reason
from tests.real import wait_until

SOON = 10.0


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(GluetunSimulator(), QBittorrentSimulator(), tmp_path / "port", tmp_path / "pass")


def play(scenario: Scenario, trouble: float, stage: Stage) -> Play:
    return Play(scenario, trouble, stage, "The page is at http://127.0.0.1:10058/")


def programme(name: str, trouble: float, stage: Stage) -> list[str]:
    return play(SCENARIOS[name], trouble, stage).programme().splitlines()


def test_it_says_before_what_will_happen_when(stage: Stage) -> None:
    assert programme("ban", 450, stage) == [
        "Another program's wrong password has qBittorrent ban their common address.",
        "",
        "    0:00  All works",
        "    0:30  qBittorrent bans the address that both have, and its sessions end",
        "    8:00  qBittorrent is restarted, which lifts the ban",
        "    8:15  qBittorrent is back",
        "    9:15  And all of it again",
        "",
        "Its syncs fail with the reason qbittorrent_banned.",
        "It shows in these metrics:",
        "  qsticky_qbittorrent_login_failures_total",
        "  qsticky_healthy",
        "  qsticky_in_sync",
    ]


def test_where_no_sync_fails_it_names_no_reason(stage: Stage) -> None:
    assert "reason" not in "\n".join(programme("flapping", 60, stage))


def test_without_a_scenario_it_names_those_that_there_are(stage: Stage) -> None:
    told = play(FOLLOWING, 60, stage).programme()
    assert told.startswith(f"{FOLLOWING.summary}\n")
    assert "make demo SCENARIO=outage" in told
    assert "qsticky demo --scenario outage" in told
    assert all(len(line) <= 80 for line in told.splitlines())
    assert all(re.search(rf"  .*\b{name}\b", told) for name in SCENARIOS)
    assert "Act " not in told


def test_it_plays_the_acts_in_turn_again_and_again_and_announces_each(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    played: list[str] = []

    def note(name: str) -> Callable[[Stage], None]:
        return lambda _: played.append(name)

    acts = (
        Act("All works", note("calm"), 0.01),
        Act("It breaks", note("trouble"), every=0.02),
        Act("It is mended", note("recovery"), 0.01),
    )
    day = play(Scenario("A day.", acts, Reason.INTERNAL, ("a", "b")), 0.05, stage)
    day.start()
    wait_until(lambda: len(played) >= 10, SOON, "two days")
    day.stop()
    assert played[:10] == ["calm", *["trouble"] * 3, "recovery"] * 2
    assert [record.getMessage() for record in caplog.records][:4] == [
        "Act 1 of 3, for 0:00: All works",
        "Act 2 of 3, for 0:00: It breaks",
        "Act 3 of 3, for 0:00: It is mended",
        "Act 1 of 3, for 0:00: All works",
    ]
    assert {(record.name, record.levelno) for record in caplog.records} == {("demo", logging.INFO)}


def test_it_ends_in_the_middle_of_an_act(stage: Stage) -> None:
    day = play(SCENARIOS["outage"], 60, stage)
    day.start()
    began = time.monotonic()
    day.stop()
    assert time.monotonic() - began < SOON


def test_now_and_then_it_says_where_the_page_is(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "REMIND_EVERY", 0.01)
    day = play(FOLLOWING, 60, stage)
    day.start()
    told = "The page is at http://127.0.0.1:10058/"
    wait_until(lambda: [r.getMessage() for r in caplog.records].count(told) > 1, SOON, "it")
    day.stop()


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_scenario_begins_calm_and_ends_in_time(name: str, stage: Stage) -> None:
    scenario = SCENARIOS[name]
    assert scenario.acts[0].sentence == "All works"
    assert [act.seconds for act in scenario.acts].count(None) <= 1
    assert scenario.acts[-1].seconds is not None
    assert all(len(line) <= 80 for line in programme(name, 600, stage))


def test_each_port_is_another_one(stage: Stage) -> None:
    ports = [stage.port]
    for _ in range(500):
        stage.change_port()
        ports.append(stage.port)
        assert stage.port_file.read_text() == str(stage.port)
        assert stage.gluetun.ports == (stage.port,)
    assert all(before != after for before, after in pairwise(ports))
    assert all(20000 <= port <= 60000 for port in ports)
