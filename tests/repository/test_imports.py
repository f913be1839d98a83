"""Holds the package to the plan of its rooms: imports run downward, and in no circle."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "qsticky"

# What each room may know beside itself, as rooms or as modules of them, from the bottom up. All but
# the kernel may know what stands beside the rooms, unless it is made of them.
EVERY_ROOM = {"kernel", "services", "sync", "record", "web", "check", "demo"}
MAY_KNOW: Mapping[str, set[str]] = {
    "kernel": set(),
    "services": {"kernel"},
    "sync": {"kernel", "services"},
    # The report, and what became of each request.
    "record": {"sync.report", *(f"services.{m}" for m in ("http", "webui", "qbittorrent"))},
    "web": {"record", "sync.report"},
    "check": {"kernel", "services", "sync"},
    "demo": {*EVERY_ROOM, "daemon"},
}
MADE_OF_ROOMS = {"cli", "daemon", "__main__"}


def modules() -> dict[str, Path]:
    """Every module by its name within the package, which is itself the empty name."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        .removesuffix("__init__")
        .removesuffix("."): path
        for path in PACKAGE.rglob("*.py")
    }


@cache
def imports() -> Mapping[str, set[str]]:
    """What each module imports of the package, at its beginning or later."""
    known = modules()
    return {name: set(_imported(path, known)) - {name} for name, path in known.items()}


def _imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (_within(alias.name) for alias in node.names if _is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
            module = _within(node.module or "")
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                yield inner if inner in known else module


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE.name


def _within(name: str) -> str:
    return name.partition(".")[2]


def room(module: str) -> str:
    """The room of a module, or its own name where it stands beside them."""
    return module.partition(".")[0]


def test_there_is_a_rule_for_every_room() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == EVERY_ROOM == set(MAY_KNOW)


@pytest.mark.parametrize("name", MAY_KNOW)
def test_a_room_knows_only_what_is_below_it(name: str) -> None:
    wrong = [
        (module, other)
        for module, others in imports().items()
        for other in others
        if room(module) == name and room(other) != name and not _may_know(name, other)
    ]
    assert wrong == []


def _may_know(name: str, other: str) -> bool:
    if {other, room(other)} & MAY_KNOW[name]:
        return True
    beside = room(other) not in EVERY_ROOM | MADE_OF_ROOMS
    return beside and name != "kernel"


def test_what_stands_beside_the_rooms_knows_none_of_them() -> None:
    wrong = [
        (module, other)
        for module, others in imports().items()
        for other in others
        if room(module) not in EVERY_ROOM | MADE_OF_ROOMS and room(other) in EVERY_ROOM
    ]
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    TopologicalSorter(imports()).prepare()  # CycleError names the circle
