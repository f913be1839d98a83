"""The tests' own Docker engine leaves nothing behind."""

from typing import NoReturn

import pytest

from tests.image.engine import Engine


def test_it_ends_also_where_its_containers_can_not_be_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("docker rm: 1")

    engine = Engine()
    engine.__enter__()
    process, folder = engine._process, engine._folder
    monkeypatch.setattr(engine, "docker", refuse)
    with pytest.raises(AssertionError, match="docker rm"):
        engine.__exit__()
    assert process is not None
    assert process.returncode is not None
    assert not folder.exists()
