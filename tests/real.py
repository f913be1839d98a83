"""Runs a real qbittorrent-nox with known credentials, in a profile of its own."""

from __future__ import annotations

import base64
import errno
import hashlib
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn, Self

import pytest

# What a skipped test's reason begins with, and ends with where that is so.
NEEDS, PREPARED = "needs ", ", which tests/prepare installs"

# Below the ephemeral range, where an outgoing connection in TIME_WAIT can hold a port: that is
# enough to keep qBittorrent from listening on it.
# Each of pytest-xdist's workers has ports of its own, and gives none twice before all were given:
# whoever gets one uses it a little later.
_WORKERS = 8
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", f"gw{_WORKERS - 1}").removeprefix("gw"))
_PORTS = range(10_240 + _WORKER % _WORKERS, 32_000, _WORKERS)
_next_ports = itertools.cycle(random.sample(_PORTS, len(_PORTS)))


def free_port() -> int:
    """Return a port that nothing uses, TCP or UDP, over IPv4 or IPv6."""
    return next(port for port in _next_ports if _is_free(port))


def _is_free(port: int) -> bool:
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                with socket.socket(family, kind) as probe:
                    probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
                # else this machine has no IPv6, and nothing can use the port there
    return True


def wait_until(condition: Callable[[], object], timeout: float, what: str) -> None:
    """Poll until the condition is true; AssertionError with ``what`` after ``timeout`` seconds.

    What takes long is looked at ever less often: looking takes its share of the machine.
    """
    deadline, pause = time.monotonic() + timeout, 0.005
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain: {what}")
        time.sleep(pause)
        pause = min(pause * 1.2, 0.1)


# Debian's packages of programs that have another name than their package.
PACKAGES = {
    "alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "docker": "docker.io",
    "dockerd": "docker.io",
    "ip": "iproute2",
    "nginx": "nginx-light",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}


def require(*programs: str) -> str:
    """Return the path of the first program; where one of them is missing, skip the test.

    Look for all that a test needs before anything is started. With ``CI=true`` nothing is skipped:
    there a missing part is a failure.
    """
    places = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"  # an ordinary user's has no servers
    first, *_ = [
        shutil.which(name, path=places) or missing(PACKAGES.get(name, name), prepared=True)
        for name in programs
    ]
    return first


def missing(part: str, *, prepared: bool = False) -> NoReturn:
    """Skip the test for want of a part, or fail it with ``CI=true``: there all has to be.

    ``prepared`` says that ``tests/prepare`` installs it.
    """
    reason = NEEDS + part + (PREPARED if prepared else "")
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def needs(package: str) -> pytest.MarkDecorator:
    """Mark a test for which a package is missing: skipped, or with ``CI=true`` left to fail."""
    ci = os.environ.get("CI") == "true"
    return pytest.mark.skipif(not ci, reason=NEEDS + package + PREPARED)


def own_mounts() -> list[str]:
    """Return the command that gives another one mounts of its own."""
    command = [require("unshare"), "--mount"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    if subprocess.run([*command, "true"], check=False).returncode:
        missing("leave to make a mount namespace")
    return command


def qbittorrent_binary() -> str:
    """Return the qbittorrent-nox named by ``QBITTORRENT_NOX``, or else the one on the PATH."""
    return require(os.environ.get("QBITTORRENT_NOX") or "qbittorrent-nox")


@cache  # it takes half a second
def password_hash(password: str) -> str:
    """Return a password as qBittorrent stores it: salt and PBKDF2 key, both in base64."""
    salt = os.urandom(16)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 100_000, 64)
    return ":".join(base64.b64encode(part).decode() for part in (salt, key))


class RealQBittorrent:
    r"""A qbittorrent-nox under a profile folder of its own; a context manager.

    ``preferences`` are more keys of its ``[Preferences]`` section, such as
    ``{"WebUI\\MaxAuthenticationFailCount": 3}``. ``prefix`` runs it under another command:
    ``["ip", "netns", "exec", "x"]``, or ``["chroot", DIR]`` together with ``root=DIR`` and a
    profile inside that folder. ``address`` is where its WebUI is reached from here; None when it
    can't be, as in another network namespace: then starting does not wait for it. ``https`` says
    that the preferences make it speak HTTPS.
    """

    username = "admin"
    password = "adminadmin"

    def __init__(
        self,
        profile: Path,
        *,
        listen_port: int | None = None,
        preferences: Mapping[str, object] | None = None,
        prefix: Sequence[str] = (),
        root: Path = Path("/"),
        binary: str | None = None,
        address: str | None = "127.0.0.1",
        https: bool = False,
        timeout: float = 20,
    ) -> None:
        self.port = free_port()
        self.listen_port = listen_port or free_port()
        self.address = address
        self.https = https
        self.timeout = timeout
        self._profile = profile
        self._preferences = {
            "WebUI\\Username": self.username,
            "WebUI\\Password_PBKDF2": f'"@ByteArray({password_hash(self.password)})"',
            **(preferences or {}),
        }
        self._prefix = tuple(prefix)
        self._inside = Path("/") / profile.relative_to(root)
        self._binary = binary or qbittorrent_binary()
        self._process: subprocess.Popen[bytes] | None = None
        self._configure()

    @property
    def url(self) -> str:
        """Where its WebUI is, without a path."""
        return f"{'https' if self.https else 'http'}://{self.address}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id (the prefix command's, where that does not exec)."""
        assert self._process is not None, "qbittorrent-nox was not started"
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has printed so far."""
        log = self._profile / "output.log"
        return log.read_text(errors="replace") if log.exists() else ""

    @property
    def version(self) -> tuple[int, int]:
        """Its major and minor version."""
        command = [*self._prefix, self._binary, "--version"]
        printed = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=True, timeout=20
        ).stdout
        match = re.search(r"v(\d+)\.(\d+)", printed)
        assert match, printed
        return int(match[1]), int(match[2])

    def start(self) -> None:
        """Start it and wait until its WebUI answers."""
        assert self._process is None, "qbittorrent-nox is running already"
        command = [
            *self._prefix,
            self._binary,
            f"--profile={self._inside}",
            f"--webui-port={self.port}",
        ]
        with (self._profile / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if self.address is not None:
            try:
                wait_until(self._answers, self.timeout, "qbittorrent-nox to answer")
            except BaseException:
                self.stop()
                raise

    def stop(self, timeout: float = 10) -> None:
        """Ask it to end, and kill it after ``timeout`` seconds; returns once it is gone."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        process.send_signal(signal.SIGCONT)  # frozen, it could not end
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End it on the spot, so that it saves nothing any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop it and start it again, on the same ports and with the same profile."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop its execution: it then accepts connections and never answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _configure(self) -> None:
        sections: dict[str, dict[str, object]] = {
            "LegalNotice": {"Accepted": "true"},
            "Preferences": dict(self._preferences),
            "BitTorrent": {
                "Session\\Port": self.listen_port,
                "Session\\DHTEnabled": "false",
                "Session\\LSDEnabled": "false",
                "Session\\PeXEnabled": "false",
            },
            "Network": {"PortForwardingEnabled": "false"},
        }
        lines: list[str] = []
        for section, keys in sections.items():
            lines += [f"[{section}]", *(f"{key}={_ini(value)}" for key, value in keys.items())]
        folder = self._profile / "qBittorrent" / "config"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "qBittorrent.conf").write_text("\n".join([*lines, ""]))

    def _environment(self) -> dict[str, str]:
        names = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
        own = dict.fromkeys(names, str(self._inside))
        return {**os.environ, **own, "LC_ALL": "C.UTF-8", "QT_QPA_PLATFORM": "offscreen"}

    def _answers(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"qbittorrent-nox ended with {code}: {self.output}"
        try:
            with socket.create_connection((self.address or "", self.port), 1) as connection:
                if self.https:
                    return True
                request = f"GET /api/v2/app/version HTTP/1.0\r\nHost: {self.address}\r\n\r\n"
                connection.sendall(request.encode())
                return connection.recv(16).startswith(b"HTTP/")
        except OSError:
            return False


def _ini(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
