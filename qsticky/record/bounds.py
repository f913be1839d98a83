"""Keeps Apprise in bounds, which has no settings for them: answers, redirects, log lines."""

import io
import logging
import smtplib
import time
from http.client import HTTPResponse
from typing import Any

import requests
import urllib3
from urllib3.connection import HTTPConnection

from qsticky.record.delivery import PATIENCE

LARGEST_ANSWER = 64 * 1024
_HEAD = 8 * 1024  # beside the largest body; a smaller one leaves more
LONGEST_ANSWER = PATIENCE + 1.0  # when it was given up; who drips would be listened to for days
SILENCED = ("apprise", "urllib3", "requests_oauthlib", "oauthlib")


def impose() -> None:
    """Bound what `requests.post` and its like take, and mail, which are what Apprise sends by.

    The clients of Gluetun and qBittorrent have connections of their own, so this is Apprise's
    alone. Nothing is logged of what a message goes through either, for that has addresses in it.
    """
    for name in SILENCED:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    requests.sessions.Session = _BoundedSession  # type: ignore[misc]
    HTTPConnection.response_class = _BoundedResponse
    smtplib.SMTP = _BoundedSmtp  # type: ignore[misc]
    smtplib.SMTP_SSL = _BoundedSmtpSsl  # type: ignore[misc]


class _BoundedSession(requests.Session):
    """Follows no redirect, and takes no answer that is larger once it is unpacked."""

    def get_redirect_target(self, _: requests.Response) -> None:
        return None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        answer = super().send(request, **options | {"stream": True})
        with answer.raw as raw:
            body = raw.read(LARGEST_ANSWER + 1, decode_content=True)
        if len(body) > LARGEST_ANSWER:
            raise requests.RequestException("the answer is too long")
        answer.raw = io.BytesIO(body)
        return answer


class _BoundedResponse(HTTPResponse):
    """Reads a head and a body within bounds, also a proxy's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fp = _bounded(self.fp)


class _BoundedSmtp(smtplib.SMTP):
    """Reads as little from a mail server, for as short: a reply may have lines without end."""

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _bounded(self.sock.makefile("rb"))
        return super().getreply()


class _BoundedSmtpSsl(_BoundedSmtp, smtplib.SMTP_SSL):
    """The same over TLS."""


def _bounded(file: io.BufferedIOBase) -> io.BufferedReader:
    return io.BufferedReader(_Bounded(file.detach()))


class _Bounded(io.RawIOBase):
    """What `raw` has to read, up to both bounds; OSError beyond them."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._left = LARGEST_ANSWER + _HEAD
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
