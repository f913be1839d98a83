"""What the contract tests run against: the simulator's releases, and every real qBittorrent."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from qsticky.demo.qbittorrent_simulator import QBittorrentRelease, QBittorrentSimulator
from qsticky.demo.simulator import Hang
from tests.certificates import Certificate
from tests.real import RealQBittorrent, needs, qbittorrent_binary

API_KEY = "qbt_0123456789abcdefghijABCDEFGH"
PASSWORD = "adminadmin"
Version = tuple[int, int]


@dataclass(frozen=True)
class Options:
    """How a qBittorrent is to be set up; the defaults are its own."""

    api_key: str | None = None
    bypass: bool = False
    max_failed_logins: int = 5
    ban_duration: int = 3600
    server_domains: str = "*"
    busy: tuple[int, str] | None = None
    certificate: Certificate | None = None


class Client:
    """A plain requests session with paths relative to the WebUI's API."""

    def __init__(self, url: str) -> None:
        self._url = url + "/api/v2/"
        self._session = requests.Session()
        self._session.trust_env = False
        # 4.5.2 opens its WebUI's socket anew whenever preferences are set, and refuses meanwhile.
        patient = HTTPAdapter(max_retries=Retry(3, read=False, redirect=0, backoff_factor=0.05))
        self._session.mount("http://", patient)
        self.cookies = self._session.cookies

    def get(
        self,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float = 5,
        params: Mapping[str, object] | None = None,
    ) -> requests.Response:
        """GET a path, such as ``app/version``."""
        return self._session.get(
            self._url + path,
            headers=headers,
            auth=auth,
            timeout=timeout,
            params={name: str(value) for name, value in (params or {}).items()},
        )

    def post(
        self, path: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """POST a form."""
        return self._session.post(self._url + path, data=form, headers=headers, timeout=5)

    def login(
        self, password: str = PASSWORD, *, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Log in as admin."""
        return self.post("auth/login", {"username": "admin", "password": password}, headers=headers)

    def close(self) -> None:
        """Close its connections."""
        self._session.close()


class Subject:
    """A running qBittorrent, simulated or real, as the tests handle it."""

    def __init__(self, server: QBittorrentSimulator | RealQBittorrent, version: Version) -> None:
        self.server = server
        self.version = version
        self._clients: list[Client] = []

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def port(self) -> int:
        return self.server.port

    def client(self) -> Client:
        """A client without a session."""
        client = Client(self.url)
        self._clients.append(client)
        return client

    def logged_in(self) -> Client:
        """A client with a session."""
        client = self.client()
        assert client.login().ok
        assert client.cookies, "the login gave no cookie"
        return client

    def kill_and_start(self) -> None:
        """End it without a chance to save anything, and start it again."""
        if isinstance(self.server, RealQBittorrent):
            self.server.kill()
        else:
            self.server.stop()
        self.server.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep its process from running."""
        if isinstance(self.server, RealQBittorrent):
            self.server.freeze()
        else:
            self.server.fault = Hang()
        try:
            yield
        finally:
            if isinstance(self.server, RealQBittorrent):
                self.server.thaw()
            else:
                self.server.fault = None

    def forget_clients(self) -> None:
        """Close every client it gave out."""
        while self._clients:
            self._clients.pop().close()


Start = Callable[..., Subject]


@dataclass(frozen=True)
class Target:
    """One qBittorrent to run against; ``root`` is the folder to chroot into."""

    kind: Literal["simulator", "real"]
    version: Version
    binary: str = ""
    root: Path = Path("/")

    def __str__(self) -> str:
        return f"{self.kind}-{self.version[0]}.{self.version[1]}"

    @property
    def there(self) -> bool:
        """Whether it can be run on this machine."""
        return self.kind == "simulator" or bool(self.binary)

    @contextmanager
    def run(self, options: Options) -> Iterator[Subject]:
        """Start one, and stop it in the end."""
        with (
            self._simulated(options) if self.kind == "simulator" else self._real(options) as server
        ):
            subject = Subject(server, self.version)
            try:
                yield subject
            finally:
                subject.forget_clients()

    @contextmanager
    def _simulated(self, options: Options) -> Iterator[QBittorrentSimulator | RealQBittorrent]:
        tls = None
        if options.certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(options.certificate.chain, options.certificate.key)
        name = f"{self.version[0]}.{self.version[1]}"
        with QBittorrentSimulator(
            release=next(release for release in get_args(QBittorrentRelease) if release == name),
            api_key=options.api_key,
            bypass=options.bypass,
            max_failed_logins=options.max_failed_logins,
            ban_duration=options.ban_duration,
            server_domains=options.server_domains,
            tls_context=tls,
        ) as server:
            if options.busy:
                port, address = options.busy
                server.busy[port] = [address]
            yield server

    @contextmanager
    def _real(self, options: Options) -> Iterator[QBittorrentSimulator | RealQBittorrent]:
        preferences: dict[str, object] = {
            "WebUI\\MaxAuthenticationFailCount": options.max_failed_logins,
            "WebUI\\BanDuration": options.ban_duration,
            "WebUI\\ServerDomains": options.server_domains,
            "WebUI\\LocalHostAuth": not options.bypass,
        }
        if options.api_key:
            preferences["WebUI\\APIKey"] = options.api_key
        prefix = [] if self.root == Path("/") else ["chroot", str(self.root)]
        with tempfile.TemporaryDirectory(dir=self.root / "tmp") as folder:
            if options.certificate:
                inside = "/" / Path(folder).relative_to(self.root)
                for name, source in vars(options.certificate).items():
                    shutil.copy(source, Path(folder) / f"{name}.pem")
                preferences["WebUI\\HTTPS\\Enabled"] = True
                preferences["WebUI\\HTTPS\\CertificatePath"] = inside / "chain.pem"
                preferences["WebUI\\HTTPS\\KeyPath"] = inside / "key.pem"
            with RealQBittorrent(
                Path(folder),
                preferences=preferences,
                prefix=prefix,
                root=self.root,
                binary=self.binary or qbittorrent_binary(),
                https=options.certificate is not None,
            ) as server:
                yield server


def _version(*command: str) -> Version:
    printed = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    match = re.search(r"v(\d+)\.(\d+)", printed)
    assert match, printed
    return int(match[1]), int(match[2])


def _targets() -> Iterator[Target]:
    for release in get_args(QBittorrentRelease):
        major, minor = release.split(".")
        yield Target("simulator", (int(major), int(minor)))
    # The one at hand; where it is missing, its tests are those of an old one, and skipped.
    installed = shutil.which(os.environ.get("QBITTORRENT_NOX") or "qbittorrent-nox")
    yield Target("real", _version(installed) if installed else (4, 5), installed or "")
    for root in filter(None, os.environ.get("QBITTORRENT_ROOTS", "").split(":")):
        version = _version("chroot", root, "qbittorrent-nox")
        yield Target("real", version, "qbittorrent-nox", Path(root))


TARGETS = tuple(_targets())


def _between(oldest: Version, newest: Version) -> pytest.MarkDecorator:
    return _parametrize(target for target in TARGETS if oldest <= target.version <= newest)


def _parametrize(targets: Iterable[Target]) -> pytest.MarkDecorator:
    """Run a test for each target; one that isn't there skips it before anything is started."""
    chosen = [
        pytest.param(target, marks=() if target.there else needs("qbittorrent-nox"), id=str(target))
        for target in targets
    ]
    return pytest.mark.parametrize("target", chosen)


every_release = _between((0, 0), (99, 0))
up_to_5_1 = _between((0, 0), (5, 1))
since_5_2 = _between((5, 2), (99, 0))
since_5_3 = _between((5, 3), (99, 0))
every_real_one = _parametrize(target for target in TARGETS if target.kind == "real")
