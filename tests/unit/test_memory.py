"""How the C library is told to keep no more memory than is needed, where it can be told."""

import ctypes
from types import SimpleNamespace

import pytest

from qsticky import memory


def test_the_c_library_takes_both_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    real, told = ctypes.CDLL(None), list[tuple[int, int, int]]()

    def mallopt(name: int, value: int) -> None:
        told.append((name, value, real.mallopt(name, value)))

    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    memory.spare()
    assert told == [(-3, 131072, 1), (-8, 2, 1)]


def without_mallopt(_: object) -> object:
    return object()  # as musl's


def without_a_handle(_: object) -> object:
    raise OSError("Dynamic loading not supported")


@pytest.mark.parametrize("library", [without_mallopt, without_a_handle])
def test_a_c_library_that_has_no_such_settings_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, library: object
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", library)
    memory.spare()
