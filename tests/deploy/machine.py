"""A systemd that runs as process 1 of a small Debian, in namespaces of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Self

from tests.deploy import CACHE
from tests.real import missing, wait_until

ROOT = CACHE / "systemd"
_BOOT = Path(__file__).with_name("boot")


class Machine:
    """One boot over `ROOT`, which stays as it is: changes go to ``folder``. Needs root."""

    def __init__(self, folder: Path) -> None:
        if not (ROOT / "lib/systemd/systemd").exists():
            missing("a Debian to boot", prepared=True)
        self._changes = folder
        for name in ("upper", "work", "root"):
            (folder / name).mkdir()
        self.upper = folder / "upper"
        self._cgroup = _cgroups() / f"qsticky-{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Boot it; add to ``upper`` before."""
        self._cgroup.mkdir()
        spaces = ["--mount", "--uts", "--ipc", "--net", "--cgroup", "--pid", "--fork"]
        boot = [str(_BOOT), str(ROOT), str(self._changes), sysconfig.get_path("platlib")]
        enter = 'echo $$ > "$0/cgroup.procs"; exec "$@"'
        with (self._changes / "boot.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", enter, str(self._cgroup), "unshare", "--kill-child", *spaces, *boot],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._booted, 60, f"systemd to boot; see {self._changes}/boot.log")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        wait_until(self._gone, 10, "the machine's processes to end")

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in it, and return what it printed."""
        ran = self._run(*command)
        assert not check or ran.returncode == 0, ran.stdout + ran.stderr + self.journal()
        return ran.stdout

    def in_its_network(self) -> list[str]:
        """Return the command that runs another one of this machine's in its network."""
        return ["nsenter", f"--target={self._init()}", "--net", "--"]

    def journal(self) -> str:
        """What qSticky and systemd have logged of it."""
        show = ("journalctl", "--unit=qsticky", "--no-pager", "--output=cat")
        return self._run(*show).stdout

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", f"--target={self._init()}", "--all", "--", *command]
        return subprocess.run(inside, capture_output=True, text=True, timeout=60)

    def _init(self) -> int:
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0])

    def _booted(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._changes / "boot.log").read_text()
        try:
            return "active" in self.run("systemctl", "is-active", "basic.target", check=False)
        except IndexError:
            return False

    def _gone(self) -> bool:
        try:
            for folder, _, _ in os.walk(self._cgroup, topdown=False):
                os.rmdir(folder)
        except OSError:
            return False
        return True


def _cgroups() -> Path:
    mounts = Path("/proc/mounts").read_text()
    found = re.search(r"^\S+ (\S+) cgroup2 ", mounts, re.MULTILINE)
    return Path(found[1]) if found else missing("cgroups, version 2")
