"""A real qBittorrent, a simulated Gluetun and `qsticky` together in a network namespace."""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self

import pytest

from qsticky.clock import SystemClock
from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.kernel import netlink
from qsticky.sync.synchronizer import Synchronizer
from tests.clients import gluetun_client, make_synchronizer, qbittorrent_client
from tests.contract.targets import Client, Target
from tests.end_to_end.command import Page, QSticky, qsticky_command
from tests.end_to_end.conftest import GLUETUN_KEY, WebUI
from tests.namespace.netns import Namespace
from tests.namespace.peer import Peer, Tunnel
from tests.real import RealQBittorrent, qbittorrent_binary, wait_until

ADDRESS = "10.2.0.2"
BOUND = 10.0  # seconds; what is waited for comes much earlier


class LeapingClock(SystemClock):
    """The machine's time, and more of it where a test would wait for long."""

    def __init__(self) -> None:
        self._leapt = 0.0

    def monotonic(self) -> float:
        """Seconds that never jump back."""
        return super().monotonic() + self._leapt

    def leap(self, seconds: float) -> None:
        """Let so much time be over."""
        self._leapt += seconds


class QBittorrentInside(RealQBittorrent):
    """A qbittorrent-nox in a namespace, at the loopback address there."""

    def __init__(self, namespace: Namespace, profile: Path, target: Target) -> None:
        chroot = [] if target.root == Path("/") else ["chroot", str(target.root)]
        super().__init__(
            profile,
            prefix=[*namespace.prefix, *chroot],
            root=target.root,
            binary=target.binary or qbittorrent_binary(),
            address=None,
        )
        self._namespace = namespace

    @property
    def url(self) -> str:
        """Where its WebUI is, from inside."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until its WebUI answers."""
        super().start()
        try:
            wait_until(self._is_up, self.timeout, "qbittorrent-nox to answer")
        except BaseException:
            self.stop()
            raise

    def _is_up(self) -> bool:
        try:
            self._namespace.http("GET", f"{self.url}/api/v2/app/version")
        except OSError:
            return False
        return True


class QStickyInside(QSticky):
    """One run of the command in a namespace."""

    def __init__(self, namespace: Namespace, folder: Path, variables: Mapping[str, object]) -> None:
        super().__init__(folder, variables)
        self._namespace = namespace

    def start(self) -> None:
        """Start it; it need not be up yet when this returns."""
        with self._open("stdout") as stdout, self._open("stderr") as stderr:
            self._process = self._namespace.popen(
                [qsticky_command()],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    def get(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Page:
        """Send a request to its HTTP server; raises OSError while it can't be reached."""
        answer = self._namespace.http(
            method, f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=BOUND
        )
        return Page(answer.status, answer.body.decode())

    @property
    def rebinds(self) -> dict[str, int]:
        """How often it rebound the listening socket, by cause; only those that it had."""
        prefix = 'qsticky_rebinds_total{cause="'
        return {
            name.removeprefix(prefix).removesuffix('"}'): int(value)
            for name, value in self.metrics().items()
            if name.startswith(prefix) and value
        }


class Scene:
    """All that is in the namespace; a context manager, which stops what it started.

    The VPN is up when qBittorrent starts. The simulated Gluetun forwards ``port``, on which
    qBittorrent listens from the start; it is also the last one while Gluetun has none. What the
    test's own process asks of the kernel and by HTTP has to go inside.
    """

    def __init__(self, namespace: Namespace, target: Target, folder: Path) -> None:
        self.namespace = namespace
        self.port_file = folder / "forwarded_port"
        self.port: int
        self.gluetun: GluetunSimulator
        self.qbittorrent: WebUI
        self.vpn: Tunnel
        self._target = target
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._set()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _set(self) -> None:
        start = self._stack.enter_context
        # As in a container without IPv6. With it, the kernel gives tun0 a link-local address once
        # the link is up, upon which qBittorrent 5 opens its sockets anew.
        no_ipv6 = "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6"
        self.namespace.run(["sh", "-c", f"! test -e /proc/sys/net/ipv6 || {no_ipv6}"])
        self._make_vpn(start)
        patch = start(pytest.MonkeyPatch.context())
        patch.setattr(socketserver, "socket", self.namespace.socket_module())
        # Within the root that qBittorrent runs in, where that is another one.
        profile = start(tempfile.TemporaryDirectory(dir=self._target.root / "tmp"))
        server = start(QBittorrentInside(self.namespace, Path(profile), self._target))
        self.qbittorrent = WebUI(server)
        self._stack.callback(self.qbittorrent.close)
        self._client = Client(server.url)
        self._stack.callback(self._client.close)
        assert self._client.login().ok
        self.gluetun = start(GluetunSimulator(api_key=GLUETUN_KEY))
        self.forward(server.listen_port)
        wait_until(self.listens, BOUND, "qBittorrent to listen on tun0 from the start")

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _make_vpn(self, start: Callable[[AbstractContextManager[Any]], Any]) -> None:
        self.vpn = start(Tunnel(self.namespace))
        self.vpn.up()

    @property
    def variables(self) -> dict[str, object]:
        """What `qsticky` needs to know; the interval is long, so that nothing is luck."""
        server = self.qbittorrent.server
        return {
            "QBITTORRENT_HOST": "127.0.0.1",
            "QBITTORRENT_PORT": server.port,
            "QBITTORRENT_USER": server.username,
            "QBITTORRENT_PASS": server.password,
            "GLUETUN_HOST": self.gluetun.host,
            "GLUETUN_PORT": self.gluetun.port,
            "GLUETUN_APIKEY": GLUETUN_KEY,
            "CHECK_INTERVAL": 300,
            "REQUEST_TIMEOUT": 5,
        }

    def start(self, **others: object) -> QStickyInside:
        """Start `qsticky`."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        return self._stack.enter_context(
            QStickyInside(self.namespace, folder, {**self.variables, **others})
        )

    def forward(self, port: int | None) -> None:
        """Have Gluetun forward a port, or none."""
        self.gluetun.ports = () if port is None else (port,)
        self.port = port or self.port

    def synchronizer(
        self, clock: LeapingClock, interface: str = "tun0", *, beside: bool = True
    ) -> Synchronizer:
        """Make the one part that decides, to be run by the test's own process."""
        return make_synchronizer(
            gluetun_client(self.gluetun.url, api_key=GLUETUN_KEY),
            qbittorrent_client(self.qbittorrent.server.url, clock),
            kernel=netlink,
            clock=clock,
            vpn_interface=interface,
            webui_port=self.qbittorrent.server.port,
            beside=beside,
        )

    @property
    def connection_status(self) -> str:
        """What qBittorrent says of its reachability."""
        return str(self._client.get("transfer/info").json()["connection_status"])

    def bind_to(self, interface: str) -> None:
        """Have qBittorrent use one interface, as its advanced options do; empty for all."""
        self.qbittorrent.set(f'{{"current_network_interface": "{interface}"}}')

    def listens(self) -> bool:
        """Whether a socket for the port takes what comes in on tun0, by the kernel's word."""
        interface = netlink.interface("tun0")
        if interface is None or not interface.usable:
            return False
        return any(one.serves(interface) for one in netlink.sockets(self.port).listeners)

    def takes_a_peer(self) -> bool:
        """Whether a peer can connect to the port by the VPN: no kernel's word, but a packet."""
        interface = netlink.interface("tun0")
        assert interface is not None
        (address,) = interface.addresses
        assert isinstance(address, IPv4Address)
        return self.vpn.takes_a_connection(address, self.port)

    def wait_for_listening(self, timeout: float) -> float:
        """Wait until a socket listens on tun0; return the seconds that it took."""
        began = time.monotonic()
        wait_until(self.listens, timeout, f"a socket on tun0 for port {self.port}")
        return time.monotonic() - began

    def openings(self) -> int:
        """How often qBittorrent has listened on the port on tun0, or tried to, by its log."""
        entries = self._client.get("log/main").json()
        named = (f"TCP/{self.port}", ADDRESS)
        return sum(all(name in entry["message"] for name in named) for entry in entries)

    @contextmanager
    def taken(self, port: int | None = None, *, udp: bool = False) -> Iterator[None]:
        """Have another program listen on a port of tun0's address, the forwarded one if unsaid."""
        kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        with self.namespace.open_socket(type=kind) as other:
            other.bind((ADDRESS, port or self.port))
            if not udp:
                other.listen()
            yield

    def set(self, **preferences: object) -> None:
        """Set some of qBittorrent's preferences."""
        self.qbittorrent.set(json.dumps(preferences))

    def add_torrent(self, info_hash: bytes) -> None:
        """Have qBittorrent take part in a torrent, of which it knows no more than its hash."""
        magnet = f"magnet:?xt=urn:btih:{info_hash.hex()}"
        assert self._client.post("torrents/add", {"urls": magnet}).ok

        def taking_part() -> bool:
            return any(
                "metaDL" in torrent["state"] for torrent in self._client.get("torrents/info").json()
            )

        wait_until(taking_part, BOUND, "qBittorrent to take part in it")

    def write_port_file(self, *ports: int) -> None:
        """Write the port file as Gluetun does: emptied, then written, and no newline at the end."""
        with self.port_file.open("w") as file:
            file.write("\n".join(map(str, ports)))


class PeerScene(Scene):
    """The same, with a peer in a namespace of its own at the other end of the VPN."""

    peer: Peer

    def _make_vpn(self, start: Callable[[AbstractContextManager[Any]], Any]) -> None:
        self.peer = start(Peer(self.namespace))
        self.peer.up(ipv6=False)
