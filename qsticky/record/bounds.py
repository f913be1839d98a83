"""Keeps Apprise in bounds, which has no settings for them: answers, redirects, log lines."""

import contextlib
import io
import logging
import smtplib
import socket
import threading
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from qsticky.record.delivery import PATIENCE
from qsticky.services.bounded_answer import BoundedResponse

LARGEST_ANSWER = 64 * 1024
LONGEST_ANSWER = PATIENCE + 1.0  # when it was given up; who drips would be listened to for days
SILENCED = ("apprise", "urllib3", "requests_oauthlib", "oauthlib")


def impose() -> None:
    """Bound what `requests.post` and its like take, and mail, which are what Apprise sends by.

    The clients of Gluetun and qBittorrent have sessions of their own, so this is Apprise's alone.
    Nothing is logged of what a message goes through either, for that has addresses in it.
    """
    for name in SILENCED:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    requests.sessions.Session = _BoundedSession  # type: ignore[misc]
    smtplib.SMTP = _BoundedSmtp  # type: ignore[misc]
    smtplib.SMTP_SSL = _BoundedSmtpSsl  # type: ignore[misc]


class _BoundedSession(requests.Session):
    """Follows no redirect, and takes no answer that is larger or longer than the largest."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets = _Sockets()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _BoundedAdapter(self._sockets))

    def get_redirect_target(self, _: requests.Response) -> None:
        return None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        end = threading.Timer(LONGEST_ANSWER, self._sockets.end)
        end.daemon = True
        end.start()
        try:
            answer = super().send(request, **options | {"stream": True})
            with answer.raw as raw:
                body = raw.read(LARGEST_ANSWER + 1, decode_content=True)
        finally:
            end.cancel()
        if len(body) > LARGEST_ANSWER:  # unpacked
            raise requests.RequestException("the answer is too long")
        answer.raw = io.BytesIO(body)
        return answer


class _Sockets:
    """Those of one session, and the means to end what they wait for."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []
        self._ended = False

    def note(self, opened: socket.socket) -> None:
        """Note a new one."""
        self._open.append(opened)
        if self._ended:
            self.end()

    def forget(self) -> None:
        """Let go of them: each over TLS holds 1 MiB or more."""
        self._open.clear()

    def end(self) -> None:
        """End them all, from another thread."""
        self._ended = True
        for each in self._open:
            with contextlib.suppress(OSError):
                # The plain socket's shutdown: a TLS socket's own is not for two threads.
                socket.SocketType.shutdown(each, socket.SHUT_RDWR)


class _BoundedAdapter(HTTPAdapter):
    """Has the bounds of an answer hold, behind a proxy too."""

    def __init__(self, sockets: _Sockets) -> None:
        self._sockets = sockets
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        _bound(self.poolmanager, self._sockets)

    def close(self) -> None:
        super().close()
        self._sockets.forget()

    def proxy_manager_for(self, *args: Any, **options: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(*args, **options)
        _bound(manager, self._sockets)
        return manager


def _bound(pools: PoolManager, sockets: _Sockets) -> None:
    """Have these pools make connections that tell their sockets, and read answers in bounds."""

    class Answer(BoundedResponse):
        def begin(self) -> None:
            super().begin()
            self.expect_body(LARGEST_ANSWER)

    class Plain(HTTPConnection):
        response_class = Answer

        def connect(self) -> None:
            super().connect()
            sockets.note(self.sock)

    class Tls(HTTPSConnection):
        response_class = Answer

        def connect(self) -> None:
            super().connect()
            sockets.note(self.sock)
            self.is_verified = True  # as far as people want it: no warning on every connection

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    pools.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}


class _BoundedSmtp(smtplib.SMTP):
    """Reads as little from a mail server, for as short: a reply may have lines without end."""

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(_Bounded(self.sock.makefile("rb", buffering=0)))
        return super().getreply()


class _BoundedSmtpSsl(_BoundedSmtp, smtplib.SMTP_SSL):
    """The same over TLS."""


class _Bounded(io.RawIOBase):
    """What `raw` has to read, up to both bounds; OSError beyond them."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._left = LARGEST_ANSWER
        self._ends_at = time.monotonic() + LONGEST_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._raw.readinto(buffer) or 0
        self._left -= count
        if self._left < 0 or time.monotonic() > self._ends_at:
            raise OSError("the answer is too long")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
