"""The benchmark's own arithmetic, and the figures of it that are counts, which no load changes."""

from tools.bench import measure
from tools.bench.figures import Figure, compare, document, table
from tools.bench.stage import Plan

SLOW = Figure("start", "ms", [300, 100, 200], [100, 90, 110], most_ratio=1.5, most=250)


def test_the_medians_are_compared() -> None:
    assert SLOW.ratio == 2
    assert not SLOW.reached
    assert Figure("start", "ms", [150], [100], most_ratio=1.5, most=150).reached
    assert not Figure("start", "ms", [150], [100], most_ratio=1.5, most=149).reached
    assert not Figure("start", "ms", [150], most_ratio=1.5).reached
    assert Figure("rest", "ms", [150]).row()[-1] == ""


def test_the_table_says_what_was_measured_and_what_was_to_reach() -> None:
    assert table([SLOW.row()]).splitlines() == [
        "| figure | median | spread     | floor  | ratio | to reach                 | reached |",
        "| ------ | ------ | ---------- | ------ | ----- | ------------------------ | ------- |",
        "| start  | 200 ms | 100 to 300 | 100 ms | 2.00  | ≤ 1.5 times and ≤ 250 ms | no      |",
    ]


def test_two_runs_are_laid_side_by_side() -> None:
    rest = Figure("rest", "ms", [0])
    base = document("a machine", [SLOW, rest])
    now = document(
        "a machine", [Figure("start", "ms", [150], [110]), rest, Figure("new", "ms", [1])]
    )
    assert compare(base, now).splitlines()[2:] == [
        "| start  | 200  | 150 | ms   | -25.0% | +10.0%         |",
        "| rest   | 0    | 0   | ms   |        |                |",
    ]


def test_a_sync_that_changes_nothing_is_three_requests_on_kept_connections() -> None:
    figures = list(measure.requests(Plan(), syncs=20))
    assert len(figures) == 4
    assert all(figure.reached for figure in figures), table([figure.row() for figure in figures])
