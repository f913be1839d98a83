"""A secret is read anew from its file, once that is at rest, and keeps its value otherwise."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qsticky.errors import Mistake
from qsticky.secret import Secret, read, without_controls
from tests.unit.conftest import Load


def in_file(path: Path, parse: Callable[[str], str] = without_controls) -> Secret:
    return Secret(read(path), path, "", parse)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("first\n")
    return path


def test_one_that_changes_on_disk_is_revealed_anew(file: Path) -> None:
    password = in_file(file)
    assert password.reveal() == "first"
    file.write_text("second\n")
    assert password.reveal() == "second"


def test_one_that_is_as_it_was_is_revealed_at_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
    assert in_file(file).reveal() == "first"


def test_one_that_is_being_written_is_waited_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password, parts = in_file(file), [b"", b"sec", b"second"]
    waited: list[float] = []

    def write_on(seconds: float) -> None:
        waited.append(seconds)
        file.write_bytes(parts[min(len(waited), 2)])

    file.write_bytes(parts[0])
    monkeypatch.setattr(time, "sleep", write_on)
    assert password.reveal() == "second"
    assert waited == [0.05] * 3


def test_one_that_never_comes_to_rest_keeps_its_value_and_holds_nobody(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password, waited = in_file(file), [0.0]

    def write_on(seconds: float) -> None:
        waited.append(seconds)
        file.write_text(f"{len(waited)}")

    file.write_text("0")
    monkeypatch.setattr(time, "sleep", write_on)
    assert password.reveal() == "first"
    assert sum(waited) == pytest.approx(1.0)


def test_it_keeps_its_value_while_its_file_is_unusable(file: Path) -> None:
    password = in_file(file)
    for content in (b"", b"\n", b"two\nlines", b"\xff", b"x" * 20000):
        file.write_bytes(content)
        assert password.reveal() == "first"
    file.unlink()
    assert password.reveal() == "first"
    file.mkdir()
    assert password.reveal() == "first"


def test_it_keeps_its_value_while_its_file_has_what_it_must_not_be(file: Path) -> None:
    def no_second(text: str) -> str:
        if text == "second":
            raise Mistake("is a second")
        return text

    password = in_file(file, no_second)
    file.write_text("second")
    assert password.reveal() == "first"
    file.write_text("third")
    assert password.reveal() == "third"


def test_one_that_was_empty_at_start_is_revealed_once_it_is_filled(load: Load, file: Path) -> None:
    file.write_text("\n")
    loaded = load(METRICS_USERNAME="me", METRICS_PASSWORD_FILE=file)
    assert loaded.metrics_password.reveal() == ""
    file.write_text("filled\n")
    assert loaded.metrics_password.reveal() == "filled"
    assert not loaded.metrics_password.empty
