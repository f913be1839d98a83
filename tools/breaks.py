"""Breaks the package in places chosen at random, one at a time, and tells which the tests notice.

``python -m tools.breaks --count 10 --seed 1`` works on a copy, and of another checkout where
``--of`` names its folder: with that one's own tests and the packages of its own ``.venv``. Texts,
annotations and decorators are never broken, for no test is to hold their every word.
"""

import argparse
import ast
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = ("tests/unit", "tests/contract", "tests/repository")
NOT_COPIED = shutil.ignore_patterns(".venv", "build", "dist", "__pycache__", ".*_cache")
COMMAND = "from qsticky.cli import main; sys.exit(main())"
UNTOUCHED = {"annotation", "returns", "decorator_list"}

Node = ast.expr | ast.stmt


@dataclass(frozen=True)
class Break:
    """A part of a source, by its bytes, and what takes its place."""

    line: int
    start: int
    end: int
    after: str

    def of(self, source: bytes) -> bytes:
        """Return the source with this one change."""
        return source[: self.start] + self.after.encode() + source[self.end :]

    def told(self, source: bytes) -> str:
        """Tell in one line what becomes what."""
        before = source[self.start : self.end].decode()
        return " became ".join(" ".join(text.split())[:60] for text in (before, self.after))


def breaks(source: bytes) -> Iterator[Break]:
    """Find every place of a source that can be broken."""
    starts = [0]
    for each in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(each))
    for node, other in _replaced(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        after = ast.unparse(other)
        yield Break(node.lineno, start, end, after if isinstance(other, ast.stmt) else f"({after})")


def _replaced(parent: ast.AST) -> Iterator[tuple[Node, Node]]:
    """Every node below that can be broken, and what it becomes."""
    if isinstance(parent, ast.JoinedStr):  # before Python 3.12 its parts have no place
        return
    if isinstance(parent, ast.If) and ast.unparse(parent.test) == "TYPE_CHECKING":
        return
    for field, value in ast.iter_fields(parent):
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST) and field not in UNTOUCHED:
                if isinstance(node, ast.expr | ast.stmt) and (other := _broken(node, field)):
                    yield node, other
                yield from _replaced(node)


def _broken(node: Node, field: str) -> Node | None:
    match node:
        case ast.UnaryOp(op=ast.Not()):
            return node.operand
        case ast.BoolOp():
            swapped = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            return ast.BoolOp(swapped, node.values)
        case ast.Constant(value=bool()):
            return ast.Constant(not node.value)
        case ast.Constant(value=int() | float() as number):
            return ast.Constant(number + 1)
        case ast.Return(value=ast.expr() as told) if ast.unparse(told) != "None":
            return ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            return ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return ast.Pass()
        case ast.expr() if field == "test" or isinstance(node, ast.Compare):
            return ast.UnaryOp(ast.Not(), node)
    return None


class Copy:
    """A copy of a checkout, with a Python of its own that imports the package from there."""

    def __init__(self, of: Path, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(of, folder, symlinks=True, ignore=NOT_COPIED)
        python, script = of / ".venv/bin/python", folder / ".venv/bin/qsticky"
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = subprocess.check_output([python, "-c", where], text=True).strip()
        subprocess.run([python, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
        (own,) = folder.glob(".venv/lib/python*/site-packages")
        (own / "copy.pth").write_text(f"{folder}\nimport site; site.addsitedir({packages!r})\n")
        for each in (of / ".venv/bin").iterdir():
            if each.name != script.name and not script.with_name(each.name).exists():
                script.with_name(each.name).symlink_to(each)
        script.write_text(f"#!{folder}/.venv/bin/python\nimport sys\n{COMMAND}\n")
        script.chmod(0o755)

    def noticed(self, arguments: Sequence[str], bound: float | None) -> str | None:
        """Run the tests: the first that fails, or None. Over the bound, in seconds, they hang."""
        command = [f"{self.folder}/.venv/bin/python", "-m", "pytest", "-x", "-q", *arguments]
        with subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as tests:
            try:
                output, _ = tests.communicate(timeout=bound)
            except subprocess.TimeoutExpired:
                return f"no test, but hung for {bound:.0f} s"
            finally:
                if tests.poll() is None:
                    os.killpg(tests.pid, signal.SIGKILL)
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
        if not tests.returncode:
            return None
        return failed[1] if failed else f"an end without a test: {' '.join(output.split()[-8:])}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.breaks")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--of", type=Path, default=Path(), help="another checkout's folder")
    parser.add_argument("--without", nargs="*", default=["check", "demo"], help="modules, folders")
    parser.add_argument("pytest", nargs="*", help="after --: which tests, and how")
    given = parser.parse_args(arguments)
    of = given.of.resolve()
    there = [each for each in TESTS if (of / each).exists()]
    tests = given.pytest or ["--numprocesses=2", "--dist=loadfile", *there]
    with tempfile.TemporaryDirectory(prefix="breaks-") as folder:
        copy = Copy(of, Path(folder) / of.name)
        began = time.monotonic()
        if failed := copy.noticed(tests, None):
            sys.exit(f"The tests fail where nothing is broken: {failed}")
        took = time.monotonic() - began
        print(f"{took:4.0f} s with nothing broken", flush=True)
        chosen = random.Random(given.seed).sample(_places(copy.folder, given.without), given.count)
        noticed = [_try(copy, path, place, tests, 60 + 3 * took) for path, place in chosen]
    print(f"{sum(noticed)} of {given.count} were noticed.")


def _places(folder: Path, without: Sequence[str]) -> list[tuple[Path, Break]]:
    package = folder / "qsticky"
    return [
        (path, place)
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).parts[0].removesuffix(".py") not in without
        for place in breaks(path.read_bytes())
    ]


def _try(copy: Copy, path: Path, place: Break, tests: Sequence[str], bound: float) -> bool:
    source, began = path.read_bytes(), time.monotonic()
    _write(path, place.of(source))
    by = copy.noticed(tests, bound)
    _write(path, source)
    where = f"{path.relative_to(copy.folder)}:{place.line}: {place.told(source)}"
    what = f"noticed by {by}" if by else "NOT NOTICED"
    print(f"{time.monotonic() - began:4.0f} s  {where}: {what}", flush=True)
    return by is not None


def _write(path: Path, source: bytes) -> None:
    """Write a module, and drop what was compiled of it: of the same second it could be believed."""
    path.write_bytes(source)
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()


if __name__ == "__main__":
    main()
