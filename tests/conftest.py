"""What all tests share: patience, and a report that fits on a screen."""

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.summary import Progress, skipped

# That a machine has much else to do is no fault of a test's.
settings.register_profile(
    "patient", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Progress())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what is no text in the captured output: pytest-xdist can't send a lone surrogate."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the skipped tests by what they need, in the place of a line for each."""
    reports = terminalreporter.stats.get("skipped", ())
    for line in skipped(report.longrepr[2].removeprefix("Skipped: ") for report in reports):
        terminalreporter.write_line(line)
