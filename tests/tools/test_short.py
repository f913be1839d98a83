"""The long runs, a few seconds of each; `make chaos` and `make soak` take minutes."""

from __future__ import annotations

from pathlib import Path

from tools.chaos.chaos import Chaos
from tools.chaos.soak import Soak

SETTLES_WITHIN = 2.0  # enough for two measures


def test_no_promise_is_broken_in_a_little_chaos(tmp_path: Path) -> None:
    summary = Chaos(tmp_path, seed=7, settles_within=SETTLES_WITHIN).run(seconds=5)
    print(summary)
    assert summary.broken == []
    assert summary.faults.total() > 2  # which are of the warm-up
    assert summary.told


def test_nothing_grows_in_two_hundred_syncs(tmp_path: Path) -> None:
    # So soon after the start, memory is not at its level yet.
    summary = Soak(tmp_path, warm_up=99, growth=0.2, settles_within=SETTLES_WITHIN, within=120).run(
        syncs=220
    )
    print(summary)
    assert summary.broken == []
    assert summary.changes == 2
