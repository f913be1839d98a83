"""What all tests share: patience, an order, and a report that fits on a screen."""

import importlib
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.summary import Progress, skipped

# That a machine has much else to do is no fault of a test's.
settings.register_profile(
    "patient", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


# What takes longest begins first, so that of several processes none is left with it at the end.
LONGEST = (
    "observability/test_alerts.py",
    "observability/test_panels.py",
    "tools/test_short.py",
    "unit/services/test_http.py",
    "unit/sync/test_synchronizer.py",
    "unit/web/test_server.py",
)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Progress())


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have each of several processes compile a share of the tests, which the others then find.

    All would compile all of them at the same time, where nobody has before.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker:
        modules = sorted(Path(__file__).parent.rglob("test_*.py"))
        for path in modules[int(worker["workerid"][2:]) :: worker["workercount"]]:
            parts = path.relative_to(session.config.rootpath).with_suffix("").parts
            importlib.import_module(".".join(parts))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the longest files begin first."""
    longest = {Path(__file__).parent / name for name in LONGEST}
    items.sort(key=lambda item: item.path not in longest)


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
