"""Holds the upgrading page to the table of other tools' variables, and both to ours."""

import re
from pathlib import Path

import pytest

from qsticky.config import NAMES
from qsticky.other_tools import HERE, TOOLS, Tool

PAGE = (Path(__file__).parents[2] / "docs" / "upgrading.md").read_text()
VARIABLE = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bINTERVAL\b")


def rows(tool: Tool) -> dict[str, str]:
    """Return the right cell of each row of a tool's table by its left one."""
    section = PAGE.partition(f"\n## {tool.heading}\n")[2].partition("\n## ")[0]
    table = re.search(
        r"^\| theirs \| qSticky's \|\n\| --- \| --- \|\n((?:\|.*\n)+)", section, re.MULTILINE
    )
    assert table, tool.heading
    return dict(row.strip("| ").split(" | ") for row in table[1].splitlines())


def in_code_style(text: str) -> str:
    """Write the variables in a text as the page does."""
    return re.sub(r"\b[A-Z]+(?:_[A-Z]+)+(?:=\w+)?", r"`\g<0>`", text)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.heading)
def test_the_page_says_of_each_variable_what_the_start_says(tool: Tool) -> None:
    found = rows(tool)
    for theirs, here in tool.here.items():
        told, _, _remark = found.pop(f"`{theirs}`").partition("; ")
        assert told == in_code_style(here)
    unneeded = {
        name
        for theirs in found
        if found[theirs].startswith("not needed")
        for name in VARIABLE.findall(theirs)
    }
    assert unneeded == set(tool.unneeded)
    same = {name for theirs in found for name in VARIABLE.findall(theirs)} - unneeded
    assert {name.removeprefix("QSTICKY_") for name in same} <= NAMES


def test_every_tool_of_the_page_is_in_the_table() -> None:
    headings = re.findall(r"^## (.+)$", PAGE.partition("## What they do")[0], re.MULTILINE)
    assert headings == [tool.heading for tool in TOOLS]


def test_each_variable_to_set_exists() -> None:
    for theirs, here in HERE.items():
        assert theirs not in NAMES
        assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", here)) <= NAMES
