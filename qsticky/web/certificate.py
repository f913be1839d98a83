"""The server's TLS certificate, which may be renewed on disk while it serves."""

import logging
import os
import socket
import ssl
import stat
from pathlib import Path
from typing import NoReturn

from qsticky.record.logs import LOGGER_NAME

_logger = logging.getLogger(LOGGER_NAME)


class Certificate:
    """The server's TLS context; a pair renewed on disk counts from the next connection on.

    Raises OSError (ssl.SSLError is one) when the first pair can't be loaded.
    """

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._files = (cert_file, key_file)
        self._loaded = self._told = self._modified()
        self._context = self._load()

    def wrap(self, connection: socket.socket) -> socket.socket:
        """Put TLS around a connection, its handshake yet to be done. Raises OSError."""
        modified = self._modified()
        if modified != self._loaded:
            try:
                self._context = self._load()
                self._loaded = modified
            except OSError as error:
                # Once for each change: of a pair, one file is renewed before the other.
                if modified != self._told:
                    _logger.warning("The renewed TLS certificate is not used: %s", error)
                self._told = modified
        return self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )

    def _modified(self) -> list[int]:
        try:
            return [os.stat(path).st_mtime_ns for path in self._files]
        except OSError:
            return []  # loading will tell why

    def _load(self) -> ssl.SSLContext:
        for path in self._files:
            if not stat.S_ISREG(os.stat(path).st_mode):  # a FIFO would hold the reader
                raise OSError(f"{path} is not a file")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._files, password=_refuse)
        return context


def _refuse() -> NoReturn:
    """Answer the question for a passphrase, which OpenSSL would ask at the terminal."""
    raise OSError("the key is encrypted: give one without a passphrase")
