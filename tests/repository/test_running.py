"""Holds what runs the tests to the tests: what is installed for them, and what they print."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import LONGEST
from tests.real import NEEDS, PACKAGES, PREPARED
from tests.summary import skipped

TESTS = Path(__file__).parents[1]
ALWAYS_THERE = {"grep", "nsenter", "unshare"}
# An alternative name, and what is unpacked beside the system.
OTHERS = {"alertmanager", "kubectl"}


def required() -> Iterator[str]:
    """Every program that a test requires by name."""
    for path in TESTS.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "require(" in text else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "require":
                values = (one.value for one in node.args if isinstance(one, ast.Constant))
                yield from (value for value in values if isinstance(value, str))


def test_what_the_tests_require_is_what_is_installed_for_them() -> None:
    script = (TESTS / "prepare").read_text()
    listed = re.search(r"packages=\(\n(.*?)\n\)", script, re.DOTALL)
    assert listed
    packages = {PACKAGES.get(name, name) for name in set(required()) - ALWAYS_THERE - OTHERS}
    assert packages
    assert packages <= set(listed[1].split())


def test_missing_parts_are_told_by_part_with_the_remedy() -> None:
    a_server, a_tool = (NEEDS + name + PREPARED for name in ("qbittorrent-nox", "iproute2"))
    reasons = [a_tool, *[a_server] * 156, f"{NEEDS}root", a_tool]
    assert list(skipped(reasons)) == [
        "skipped: 156 need qbittorrent-nox, 2 iproute2: tests/prepare installs them",
        "skipped: 1 need root",
    ]
    assert list(skipped([])) == []


def test_however_much_is_missing_no_line_is_longer_than_a_terminal() -> None:
    lines = list(skipped(f"needs part-{number}" for number in range(30)))
    assert len(lines) > 1
    assert all(len(line) <= 80 for line in lines)


def test_what_is_to_begin_first_is_there() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []
