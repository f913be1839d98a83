"""What all tests share: patience, and reports that every worker can send to the one that prints."""

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# That a machine has much else to do is no fault of a test's.
settings.register_profile(
    "patient", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what is no text in the captured output: pytest-xdist can't send a lone surrogate."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report
