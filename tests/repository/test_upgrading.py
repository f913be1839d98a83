"""Holds the upgrading page to the code: each variable that it tells people to set exists."""

import re
from dataclasses import fields
from pathlib import Path

from qsticky.config import Config, Secret

PAGE = (Path(__file__).parents[2] / "docs" / "upgrading.md").read_text()
TABLES = re.findall(
    r"^\| theirs \| qSticky's \|\n\| --- \| --- \|\n((?:\|.*\n)+)", PAGE, re.MULTILINE
)


def variables() -> set[str]:
    """Return the name of every variable, those of secret files included."""
    secrets = {f"{field.name}_FILE" for field in fields(Config) if field.type is Secret}
    return {name.upper() for name in secrets | {field.name for field in fields(Config)}}


def rows() -> list[tuple[str, str]]:
    """Return the cells of each row: another tool's variables, and qSticky's."""
    return [
        (cells[0], cells[1])
        for table in TABLES
        for cells in (row.strip("| ").split(" | ") for row in table.splitlines())
    ]


def test_every_tool_has_a_table() -> None:
    tools = PAGE.partition("## What they do")[0].count("\n## ")
    assert len(TABLES) == tools > 0


def test_each_variable_to_set_exists() -> None:
    for theirs, ours in rows():
        named = set(re.findall(r"`([A-Z_]+)[`=]", ours))
        assert named <= variables(), (theirs, named - variables())


def test_each_row_names_a_variable_or_says_that_none_is_needed() -> None:
    for theirs, ours in rows():
        assert "`" in theirs, theirs
        assert re.search(r"`[A-Z_]+[`=]", ours) or ours.startswith("not needed"), ours
