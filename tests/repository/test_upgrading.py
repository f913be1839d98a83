"""Holds the upgrading page to the table of other tools' variables, and both to ours."""

import re
from pathlib import Path

from qsticky.config import NAMES
from qsticky.hints import OURS
from qsticky.other_tools import HERE

PAGE = (Path(__file__).parents[2] / "docs" / "upgrading.md").read_text()
ROWS = [
    (set(re.findall(r"`(\w+)`", theirs)), ours)
    for theirs, ours in re.findall(r"^\| (`[A-Z].*?) \| (.*) \|$", PAGE, re.MULTILINE)
]
VARIABLE = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b")
BEGINNINGS = (*OURS, "GSP_", "GTN_", "QBT_", "QBIT_", "QSTICKY_")


def in_code_style(text: str) -> str:
    """Write the variables in a text as the page does."""
    return re.sub(rf"{VARIABLE.pattern}(?:=\w+)?", r"`\g<0>`", text)


def of_a_file(name: str) -> str | None:
    here = HERE.get(name.removesuffix("_FILE"))
    return here and f"{here}_FILE"


def test_the_page_says_of_each_variable_what_the_start_says() -> None:
    found = set()
    for names, ours in ROWS:
        told, _, _remark = ours.partition("; ")
        for name in names:
            here = HERE.get(name) or of_a_file(name)
            assert not here or told == in_code_style(here), name
            found.add(name)
    assert found >= set(HERE)


def test_a_variable_that_the_page_has_alone_is_not_needed_or_anybody_s_or_ours() -> None:
    for names, ours in ROWS:
        for name in names - set(HERE) - NAMES:
            known = of_a_file(name) or name.removeprefix("QSTICKY_") in NAMES
            assert known or ours.startswith("not needed") or not name.startswith(BEGINNINGS), name


def test_each_variable_to_set_exists() -> None:
    for ours in (*HERE.values(), *(ours for _, ours in ROWS)):
        told = "" if ours.startswith("not needed") else ours.partition("; ")[0]
        assert set(VARIABLE.findall(told)) <= NAMES
    assert not set(HERE) & NAMES
