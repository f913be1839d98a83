"""Keeps Apprise in bounds, which has no settings for them: answers, redirects, log lines."""

import io
import logging
import smtplib
import threading
import time
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from qsticky.record.delivery import PATIENCE
from qsticky.services.line import Line, follow

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
        self._line = Line()
        self._line.limit = LARGEST_ANSWER
        for scheme in ("http://", "https://"):
            self.mount(scheme, _BoundedAdapter(self._line))

    def get_redirect_target(self, _: requests.Response) -> None:
        return None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        end = threading.Timer(LONGEST_ANSWER, self._line.close)
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


class _BoundedAdapter(HTTPAdapter):
    """Has the bounds of an answer hold, behind a proxy too."""

    def __init__(self, line: Line) -> None:
        self._line = line
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        follow(self._line, self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> urllib3.PoolManager:
        manager: urllib3.PoolManager = super().proxy_manager_for(*args, **options)
        follow(self._line, manager)
        return manager

    def close(self) -> None:
        super().close()
        self._line.forget()


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
