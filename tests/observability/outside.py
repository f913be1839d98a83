"""What is outside of the VPN, on the loopback: peers that come in, a service that dials back."""

from __future__ import annotations

import socket

from qsticky.demo.simulator import Request, Response, Simulator
from tests.real import missing


class Peers:
    """qBittorrent's socket on 127.0.0.1, and peers that connect to it; a context manager.

    A peer comes from another address of this machine's own, since from a loopback address nobody
    comes in by a VPN.
    """

    def __init__(self) -> None:
        self._listening: socket.socket | None = None
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def listen(self, port: int) -> None:
        """Have a socket listen, and no other."""
        self.close()
        self._listening = socket.create_server(("127.0.0.1", port))

    def come(self) -> None:
        """Have another peer come in."""
        assert self._listening is not None
        address = self._listening.getsockname()
        outside = (_own_address(), 0)
        self._connections.append(socket.create_connection(address, 5, source_address=outside))
        self._connections.append(self._listening.accept()[0])

    def leave(self) -> None:
        """Have all of them leave, without a trace."""
        while self._connections:
            self._connections.pop(0).close()  # the peer first, whose side keeps it for a minute

    def close(self) -> None:
        """Have none listen."""
        self.leave()
        if self._listening:
            self._listening.close()
        self._listening = None


def _own_address() -> str:
    """Ask the kernel for the address that it would send from; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            missing("an IPv4 address beside the loopback's")
        address: str = probe.getsockname()[0]
    return address


class DialsBack(Simulator):
    """A service that says whether a port is open, as Transmission's does; a context manager."""

    def __init__(self) -> None:
        super().__init__(0, "127.0.0.1")
        self.is_open = True

    @property
    def port_check_url(self) -> str:
        """What PORT_CHECK_URL is for it."""
        return f"{self.url}/{{port}}"

    def answer(self, _: Request) -> Response:
        """Answer whatever it is asked."""
        return Response(200, b"1" if self.is_open else b"0", "text/plain")
