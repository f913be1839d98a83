"""The small family of errors: each carries its reason for machines and its sentence for people."""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Why a sync failed: the closed set of the `reason` label, the health file and the logs."""

    GLUETUN_UNREACHABLE = "gluetun_unreachable"
    GLUETUN_UNAUTHORIZED = "gluetun_unauthorized"
    GLUETUN_INVALID_RESPONSE = "gluetun_invalid_response"
    NO_FORWARDED_PORT = "no_forwarded_port"
    QBITTORRENT_UNREACHABLE = "qbittorrent_unreachable"
    QBITTORRENT_UNAUTHORIZED = "qbittorrent_unauthorized"
    QBITTORRENT_BANNED = "qbittorrent_banned"
    QBITTORRENT_INVALID_RESPONSE = "qbittorrent_invalid_response"
    PORT_REJECTED = "port_rejected"
    NOT_LISTENING = "not_listening"
    PORT_CLOSED = "port_closed"
    INTERNAL = "internal"

    @property
    def is_transient(self) -> bool:
        """Whether trying again soon may help, without anybody changing anything."""
        return self in _TRANSIENT


_TRANSIENT = {
    Reason.GLUETUN_UNREACHABLE,
    Reason.GLUETUN_INVALID_RESPONSE,
    Reason.QBITTORRENT_UNREACHABLE,
    Reason.QBITTORRENT_INVALID_RESPONSE,
    Reason.PORT_REJECTED,
    Reason.INTERNAL,
}


class ErrorKind(StrEnum):
    """How one request failed: the `reason` label of `qsticky_api_errors_total`."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"
    HTTP_STATUS = "http_status"
    INVALID_RESPONSE = "invalid_response"


class SyncError(Exception):
    """Why a sync failed: a reason, and one sentence with what failed, where, and the remedy."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason

    def to_keep(self) -> Self:
        """Return it without what led to it, whose frames hold whole answers of megabytes."""
        self.__context__ = None
        return self.with_traceback(None)


class ServiceError(SyncError):
    """A request to a service that failed, and how.

    `absent` tells that nobody was there: the connection was refused, or the name not found. `sent`
    is False where the request can have had no effect: it never left, say.
    """

    def __init__(
        self,
        reason: Reason,
        kind: ErrorKind,
        sentence: str,
        *,
        absent: bool = False,
        sent: bool = True,
    ) -> None:
        super().__init__(reason, sentence)
        self.kind = kind
        self.absent = absent
        self.sent = sent


class Mistake(ValueError):
    """What is wrong with one value, in words that follow it, and what is accepted instead."""


class ConfigurationError(Exception):
    """All mistakes of the configuration at once, a sentence each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes
