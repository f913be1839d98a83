"""Starts what the contract tests run against: shared where a fact allows, else a fresh one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.certificates import Certificate, self_signed
from tests.contract.targets import API_KEY, Options, Start, Subject, Target


@pytest.fixture(scope="session")
def _shared() -> Iterator[Callable[[Target], Subject]]:
    with ExitStack() as running:
        subjects: dict[Target, Subject] = {}

        def subject(target: Target) -> Subject:
            if target not in subjects:
                subjects[target] = running.enter_context(target.run(Options(api_key=API_KEY)))
            return subjects[target]

        yield subject


@pytest.fixture
def qbittorrent(target: Target, _shared: Callable[[Target], Subject]) -> Iterator[Subject]:
    """A qBittorrent that other tests use too: refuse it no login, and leave it running."""
    subject = _shared(target)
    yield subject
    subject.forget_clients()


@pytest.fixture
def start(target: Target) -> Iterator[Start]:
    """Starts a fresh qBittorrent; takes the fields of Options."""
    with ExitStack() as running:
        yield lambda **options: running.enter_context(target.run(Options(**options)))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A self-signed certificate for 127.0.0.1."""
    return self_signed(tmp_path_factory.mktemp("certificate"))
