"""What a run of the tests prints: enough for one screen, whatever is missing."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pytest

from tests.real import NEEDS, PREPARED

_DOTS = 100  # a line's
_WIDTH = 80


def skipped(reasons: Iterable[str]) -> Iterator[str]:
    """Say in a few lines how many tests were skipped for want of what, and the remedy if any."""
    counted = Counter(reasons)
    prepared = {reason: count for reason, count in counted.items() if reason.endswith(PREPARED)}
    others = {reason: count for reason, count in counted.items() if reason not in prepared}
    for group, remedy in ((prepared, ": tests/prepare installs them"), (others, "")):
        if group:
            yield from textwrap.wrap(f"skipped: {_told(group)}{remedy}", _WIDTH)


def _told(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    parts = [
        f"{count} {reason.removeprefix(NEEDS).removesuffix(PREPARED)}" for reason, count in ordered
    ]
    return ", ".join(parts).replace(" ", " need ", 1)


class Progress:
    """A plugin that prints a dot for each hundredth of many tests, and for each of a few."""

    def __init__(self) -> None:
        self._tests = self._done = 0

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Note how many there are."""
        self._tests = len(items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Note how many there are, where others run them."""
        self._tests = len(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport, config: pytest.Config
    ) -> tuple[str, str, str] | None:
        """Tell what is printed for a test: for most of those that did not fail, nothing."""
        passed = report.passed and report.when == "call"
        if config.get_verbosity() > 0 or not (passed or report.skipped):
            return None
        self._done += 1
        share = _DOTS / max(self._tests, _DOTS)
        reached = int(self._done * share) > int((self._done - 1) * share)
        return report.outcome, "." if reached else "", ""
