"""The server's TLS certificate, which may be renewed on disk while it serves."""

import logging
import os
import socket
import ssl
from pathlib import Path

from qsticky.record.logs import LOGGER_NAME

_logger = logging.getLogger(LOGGER_NAME)


class Certificate:
    """The server's TLS context; a pair renewed on disk counts from the next connection on.

    Raises OSError (ssl.SSLError is one) when the first pair can't be loaded.
    """

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._files = (cert_file, key_file)
        self._modified = self._look()
        self._context = self._load()

    def wrap(self, connection: socket.socket) -> socket.socket:
        """Put TLS around a connection, its handshake yet to be done."""
        try:
            modified = self._look()
            if modified != self._modified:
                # Once for each change: of a pair, one file is renewed before the other.
                self._modified = modified
                self._context = self._load()
        except OSError as error:
            _logger.warning("The renewed TLS certificate is not used: %s", error)
        return self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )

    def _look(self) -> list[int]:
        try:
            return [os.stat(path).st_mtime_ns for path in self._files]
        except OSError:
            return []  # loading will tell why

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._files)
        return context
