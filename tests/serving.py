"""Ends a server that serves on a thread of its own, as no daemon has to."""

import contextlib
import socket

from qsticky.web.server import Server


def close(server: Server) -> None:
    """Have a server's thread close it and end; to do so, it is woken up."""
    host, port = server.server_address[:2]
    server.service_actions = server.server_close  # type: ignore[method-assign]
    with contextlib.suppress(OSError):  # closed already
        socket.create_connection((str(host), port)).close()
