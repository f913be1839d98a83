"""What several of these tests look at, made once."""

from __future__ import annotations

import pytest

from tests.observability import logs


@pytest.fixture(scope="session")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The log lines of a run in which every event happens."""
    return logs.run(tmp_path_factory.mktemp("logs"))
