"""What `make breaks` breaks, and that it tells which of it the tests notice."""

import sys
from pathlib import Path

import pytest

from tools import breaks

SOURCE = '''"""A text of 1 line."""

@decorated(1)
def ü(a: int = 2) -> "Literal[3]":
    if not a and b"":
        self.x = f"{a + 4}"
        raise OSError
    told(a)
    return 'ü' in a
'''.encode()


def test_logic_numbers_and_effects_are_broken_and_no_text() -> None:
    assert [(each.line, each.told(SOURCE)) for each in breaks.breaks(SOURCE)] == [
        (4, "2 became (3)"),
        (5, "not a and b\"\" became (not a or b'')"),
        (5, "not a became (a)"),
        (6, 'self.x = f"{a + 4}" became pass'),
        (7, "raise OSError became pass"),
        (8, "told(a) became pass"),
        (9, "return 'ü' in a became return None"),
        (9, "'ü' in a became (not 'ü' in a)"),
    ]
    *_, last = breaks.breaks(SOURCE)
    assert last.of(SOURCE).decode().endswith("return (not 'ü' in a)\n")


def test_what_no_test_notices_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, text in {
        "qsticky/__init__.py": "SEEN = 3\nUNSEEN = 4\n",
        "qsticky/demo.py": "LEFT_ALONE = 5\n",
        "tests/unit/test_it.py": "import qsticky\ndef test_it():\n    assert qsticky.SEEN == 3\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    breaks.main(["--of", str(tmp_path), "--count", "2", "--", "tests"])
    printed = capsys.readouterr().out
    assert "__init__.py:1: 3 became (4): noticed by tests/unit/test_it.py::test_it\n" in printed
    assert "__init__.py:2: 4 became (5): NOT NOTICED\n" in printed
    assert printed.endswith("1 of 2 were noticed.\n")
    assert (tmp_path / "qsticky/__init__.py").read_text() == "SEEN = 3\nUNSEEN = 4\n"
