"""The wheel and the sdist: what is in them, and that everybody who builds them gets the same."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import qsticky

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
STEM = f"qsticky-{qsticky.__version__}"
SOURCES = {
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "qsticky").rglob("*")
    if path.suffix in (".css", ".js", ".py", ".typed")
}


def copy_of_the_tree(folder: Path) -> Path:
    """Copy all that the build reads."""
    shutil.copytree(ROOT / "qsticky", folder / "qsticky")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    return folder


def build(tree: Path, built: Path, umask: int = 0o022) -> dict[str, Path]:
    """Build in a tree; return the files by what follows the version in their names."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(built)],
        cwd=tree,
        check=True,
        capture_output=True,
        timeout=60,
        umask=umask,
    )
    return {path.name.removeprefix(STEM): path for path in built.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(built: dict[str, Path]) -> Path:
    return built["-py3-none-any.whl"]


@pytest.fixture(scope="module")
def sdist(built: dict[str, Path]) -> Path:
    return built[".tar.gz"]


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(f"{STEM}.dist-info/METADATA").decode())


def test_two_builds_give_the_same_bytes(built: dict[str, Path], tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path / "elsewhere" / "tree")
    for path in tree.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    again = build(tree, tmp_path / "dist", umask=0o077)
    assert again.keys() == built.keys()
    for name, path in built.items():
        assert digest(again[name]) == digest(path), name


def test_the_sdist_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        # Our own, which needs no filter; Python 3.12 wants one named, and 3.11.2 knows none.
        archive.extraction_filter = lambda member, _: member
        archive.extractall(tmp_path)
    again = build(tmp_path / STEM, tmp_path / "dist")
    assert digest(again["-py3-none-any.whl"]) == digest(wheel)


def test_the_wheel_is_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        command = archive.read(f"{STEM}.dist-info/entry_points.txt").decode()
    told = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    assert names == SOURCES | {f"{STEM}.dist-info/{name}" for name in told}
    assert "qsticky/py.typed" in names
    assert command == "[console_scripts]\nqsticky = qsticky.cli:main\n"


def test_the_sdist_is_what_builds_the_wheel_and_nothing_else(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = set(archive.getnames())
    others = ("LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore")
    assert names - {f"{STEM}/{name}" for name in others} == {f"{STEM}/{name}" for name in SOURCES}


def test_its_metadata_tells_what_it_is(metadata: Message) -> None:
    assert metadata["Name"] == "qsticky"
    assert metadata["Version"] == qsticky.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    extra = PROJECT["optional-dependencies"]["notify"]
    required = names_of(metadata.get_all("Requires-Dist"))
    assert required == names_of([*PROJECT["dependencies"], *extra])
    assert metadata.get_all("Provides-Extra") == ["notify"]
    classifiers = " ".join(metadata.get_all("Classifier") or ())
    pythons = re.findall(r"Python :: (3\.\d+)", classifiers)
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]
    addresses = [line.split(", ")[1] for line in metadata.get_all("Project-URL") or ()]
    assert qsticky.HOME in addresses
    assert all(address.startswith(qsticky.HOME) for address in addresses)


def names_of(requirements: list[str] | None) -> list[str]:
    """Return the names of the distributions that are required."""
    return [re.split(r"[<>=]", requirement)[0] for requirement in requirements or ()]


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
