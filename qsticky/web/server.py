"""An HTTP server that no crowd of idle or slow clients keeps from serving others."""

import contextlib
import errno
import logging
import queue
import socket
import threading
import time
from wsgiref.types import WSGIApplication

from qsticky.record.logs import LOGGER_NAME
from qsticky.web.certificate import Certificate
from qsticky.web.connection import Connection

_MOST_THREADS = 32
_SPARE_LIVES = 2.0
_LONGEST_WAIT = 1.0
_MOMENT = 0.025
_PAUSE = 0.1
_BACKLOG = 512
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_logger = logging.getLogger(LOGGER_NAME)


class Server:
    """Serves `application` on up to 32 threads, of which each speaks with one client at a time.

    When all are busy, the connection that has been idle for longest makes room: so that neither
    silent clients, nor unfinished TLS handshakes, nor clients that don't close what was answered
    keep a scrape waiting. So it does when the process has no descriptors or threads left. `address`
    is where it listens, port 0 having been given its number. Raises OSError when it can't bind.
    """

    def __init__(
        self, address: str, port: int, application: WSGIApplication, certificate: Certificate | None
    ) -> None:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        self._listener = socket.socket(family, kind, protocol)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(where)
            self._listener.listen(_BACKLOG)
        except OSError:
            self._listener.close()
            raise
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._application = application
        self._certificate = certificate
        self._closed = False
        self._changed = threading.Condition()
        self._threads = 0
        self._connections: set[Connection] = set()
        self._waiting: queue.SimpleQueue[Connection | None] = queue.SimpleQueue()

    def start(self) -> None:
        """Serve on threads of its own, until it is closed."""
        threading.Thread(target=self._accept, name="http-server", daemon=True).start()
        with self._changed:
            self._add_thread(None)

    def close(self) -> None:
        """Listen no more, and hang up on everybody."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the `accept` that waits
        self._listener.close()
        with self._changed:
            for connection in self._connections:
                connection.hang_up()
            for _ in range(self._threads):
                self._waiting.put(None)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                self._recover(error)
            else:
                self._take(client)

    def _recover(self, error: OSError) -> None:
        """Pause where nothing can be accepted, which else would fail again at once and for ever."""
        with self._changed:
            if self._closed:
                return
            _logger.debug("No connection can be accepted: %s", error)
            if error.errno in _SHORTAGES:
                self._hang_up_on_the_idlest()
            self._changed.wait(_MOMENT if self._connections else _PAUSE)

    def _take(self, client: socket.socket) -> None:
        """Have a client served; its TLS handshake is left to the thread that serves it."""
        try:
            wrapped = self._certificate.wrap(client) if self._certificate else client
        except OSError as error:
            _logger.debug("A connection ended early: %s", error)
            client.close()
            return
        connection = Connection(wrapped)
        latest = time.monotonic() + _LONGEST_WAIT
        with self._changed:
            while self._all_busy() and not self._closed:
                if self._threads < _MOST_THREADS:
                    self._add_thread(_SPARE_LIVES)
                if not self._all_busy():
                    break
                if time.monotonic() > latest:
                    connection.close()
                    return
                self._hang_up_on_the_idlest()
                self._changed.wait(_MOMENT)
            if self._closed:
                connection.close()
                return
            self._connections.add(connection)
            self._waiting.put(connection)  # before what ends the threads, or nobody would close it

    def _all_busy(self) -> bool:
        return len(self._connections) >= self._threads

    def _add_thread(self, patience: float | None) -> None:
        """Start a thread that lives until nobody has come for so long; None is for ever."""
        thread = threading.Thread(target=self._work, args=(patience,), name="http", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            _logger.debug("No thread can be started: %s", error)
        else:
            self._threads += 1

    def _work(self, patience: float | None) -> None:
        while connection := self._next(patience):
            try:
                connection.serve(self._application)
            except BaseException:
                with self._changed:
                    self._threads -= 1
                raise
            finally:
                with self._changed:
                    self._connections.remove(connection)
                    self._changed.notify()

    def _next(self, patience: float | None) -> Connection | None:
        """Wait for a client; None is for the thread to end."""
        while True:
            try:
                connection = self._waiting.get(timeout=patience)
            except queue.Empty:
                connection = None
            if connection:
                return connection
            with self._changed:
                if self._closed or not self._all_busy():  # one that comes has another thread
                    self._threads -= 1
                    return None

    def _hang_up_on_the_idlest(self) -> None:
        """Hang up on the client that has been waited for longest, given a moment to go on.

        One that has its answer goes first.
        """
        now = time.monotonic()
        idle = [c for c in self._connections if now - (c.idle_since or now) >= _MOMENT]
        if idle:
            min(idle, key=lambda c: (not c.answered, c.idle_since)).hang_up()
