"""A fresh network namespace for a test, as root or as an ordinary user, and a VPN in it."""

import errno
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.real import missing, require

_AGENT = Path(__file__).with_name("agent.py")

# How to make a namespace, and what enters it: as root, and as an ordinary user, who becomes
# root of a user namespace that owns it.
_AS_ROOT = (["--net"], ["--net"])
_AS_ORDINARY_USER = (
    ["--user", "--map-root-user", "--net"],
    ["--user", "--preserve-credentials", "--net"],
)


class Response(NamedTuple):
    """An answer to an HTTP request, whatever its status."""

    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


class Namespace:
    """A network namespace with its loopback up, for the time of a `with` block.

    Programs are put into it by `run`, `popen` or the `prefix`. The test itself gets a socket that
    belongs to it from `open_socket`, and from what is built on that. Where no namespace can be
    made, entering it skips the test, and with `CI=true` fails it.

    One `beside` another has the same owner, so that the two can be joined by a veth.
    """

    def __init__(self, beside: "Namespace | None" = None) -> None:
        self.prefix: list[str] = []
        """What to put before a command to run it inside; the process id stays the command's."""
        self.pid: int
        """A process that is inside."""
        self.entering: list[str]
        """The options by which `nsenter` finds the way."""
        self._beside = beside
        self._stack = ExitStack()
        self._agent: socket.socket
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        try:
            self._make()
            self.run(["ip", "link", "set", "lo", "up"])
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(
        self, command: Sequence[str], timeout: float = 30, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end, which has to be 0 unless `check=False`."""
        options = {"check": True, "capture_output": True, "text": True} | options
        try:
            return subprocess.run([*self.prefix, *command], timeout=timeout, **options)
        except subprocess.CalledProcessError as error:
            error.add_note(str(error.stderr))
            raise

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command inside; it is ended together with the namespace."""
        process = subprocess.Popen([*self.prefix, *command], **options)
        self._stack.push(process)
        self._stack.callback(_end, process)
        return process

    def open_socket(
        self,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,  # noqa: A002 - the names are socket.socket's
        proto: int = 0,
    ) -> socket.socket:
        """Open a socket inside, to be used from here."""
        return socket.socket(
            family, type, proto, fileno=self._ask("socket", int(family), int(type), proto)
        )

    def socket_module(self) -> types.SimpleNamespace:
        """Make a stand-in for the module `socket` whose `socket()` opens them inside."""
        return types.SimpleNamespace(**vars(socket) | {"socket": self.open_socket})

    def create_connection(
        self, address: tuple[str, int], timeout: object = 10.0, **_: object
    ) -> socket.socket:
        """Connect to an IP address and port inside.

        In place of `urllib3.util.connection.create_connection`, it it sends inside what goes by
        `requests`.
        """
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        connection = self.open_socket(family)
        try:
            connection.settimeout(timeout if isinstance(timeout, int | float) else 10.0)
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection

    def http(
        self,
        method: str,
        url: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10,
    ) -> Response:
        """Send one HTTP request inside; raises OSError where nobody listens."""
        parts = urlsplit(url)
        assert parts.hostname, f"{url} is no complete URL"
        connection = HTTPConnection(parts.hostname, parts.port or 80)
        address = connection.host, connection.port
        connection.sock = self.create_connection(address, timeout)
        try:
            target = parts._replace(scheme="", netloc="").geturl() or "/"
            connection.request(method, target, body, {"Connection": "close", **(headers or {})})
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())
        finally:
            connection.close()

    def tun(self, name: str) -> int:
        """Make a tun device inside: it is there until the descriptor is closed."""
        try:
            return self._ask("tun", name)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EACCES, errno.EPERM):
                raise
            missing(f"/dev/net/tun ({error.strerror}); udev would give it the mode 0666")

    def _make(self) -> None:
        for program in ("unshare", "nsenter", "ip"):
            require(program)
        reasons = []
        ways = [_AS_ROOT, _AS_ORDINARY_USER] if os.geteuid() == 0 else [_AS_ORDINARY_USER]
        if self._beside:
            ways = [(["--net"], self._beside.entering)]
        for making, entering in ways:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                inside = self._beside.prefix if self._beside else []
                command = [*inside, "unshare", *making, "--", sys.executable, "-IS", str(_AGENT)]
                agent = subprocess.Popen(
                    [*command, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stderr=subprocess.PIPE,
                    text=True,
                )
            self._stack.push(agent)
            self._stack.push(ours)  # closed first, which ends the agent
            self._agent = ours
            ours.settimeout(10)
            try:
                self.open_socket().close()
            except OSError:
                ours.close()
                reasons.append(agent.communicate(timeout=10)[1].strip())
            else:
                self.pid, self.entering = agent.pid, entering
                self.prefix = ["nsenter", "--target", str(agent.pid), *entering, "--"]
                return
        missing(f"the permission to make a network namespace ({'; '.join(reasons)})")

    def _ask(self, *request: object) -> int:
        with self._asking:
            self._agent.send(json.dumps(request).encode())
            answer, descriptors, _, _ = socket.recv_fds(self._agent, 4, 1, socket.MSG_CMSG_CLOEXEC)
        if not answer:
            raise ConnectionResetError("the namespace's agent has ended")
        (number,) = struct.unpack("=i", answer)
        if number:
            raise OSError(number, os.strerror(number))
        return descriptors[0]


class Vpn:
    """A tun device that comes and goes as a VPN's does, held open by the test."""

    def __init__(
        self, namespace: Namespace, name: str = "tun0", *, address_first: bool = True
    ) -> None:
        self._namespace = namespace
        self._name = name
        self._address_first = address_first  # before the link is up, as Gluetun does it
        self._descriptor: int | None = None

    def up(self, address: str = "10.2.0.2/32") -> None:
        """Make the interface, with its address and its link up."""
        self.create()
        steps = [lambda: self.add_address(address), self.link_up]
        for step in steps if self._address_first else reversed(steps):
            step()

    def down(self) -> None:
        """Delete the interface; it is gone when this returns."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def create(self) -> None:
        """Make the interface, with no address and its link down."""
        assert self._descriptor is None, f"{self._name} exists already"
        self._descriptor = self._namespace.tun(self._name)

    def add_address(self, address: str) -> None:
        """Give it an address, such as `10.2.0.2/32`."""
        self._namespace.run(["ip", "address", "add", address, "dev", self._name])

    def remove_address(self, address: str) -> None:
        """Take an address from it."""
        self._namespace.run(["ip", "address", "del", address, "dev", self._name])

    def link_up(self) -> None:
        """Set its link up."""
        self._namespace.run(["ip", "link", "set", self._name, "up"])

    def link_down(self) -> None:
        """Set its link down; IPv4 addresses stay."""
        self._namespace.run(["ip", "link", "set", self._name, "down"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
