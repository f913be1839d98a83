"""The events that a log line can be, and the last ones for the page."""

import logging
from enum import StrEnum
from typing import NamedTuple

from qsticky.text import printable

_MOST_EVENTS = 20


class Event(StrEnum):
    """The closed set of `event`."""

    STARTUP = "startup"
    LOGIN = "login"
    LOGIN_REFUSED = "login_refused"
    PORT_CHANGE_NEEDED = "port_change_needed"
    PORT_CHANGED = "port_changed"
    PORT_LOST = "port_lost"
    PORT_RESTORED = "port_restored"
    REBOUND = "rebound"
    SYNC_FAILED = "sync_failed"
    SYNC_RECOVERED = "sync_recovered"
    PORT_CHECK = "port_check"
    VPN_RESTART = "vpn_restart"
    NOTIFICATION_FAILED = "notification_failed"
    HEALTH_FILE_FAILED = "health_file_failed"
    HTTP = "http"
    SHUTDOWN = "shutdown"


class RecentEvent(NamedTuple):
    """An event as the page shows it; `at` is seconds since the epoch."""

    at: float
    level: str
    name: str
    message: str


class RecentEvents(logging.Handler):
    """Keeps the last 20 events, the newest first."""

    def __init__(self) -> None:
        super().__init__()
        self._events: tuple[RecentEvent, ...] = ()

    def __call__(self) -> tuple[RecentEvent, ...]:
        """Return those kept now."""
        return self._events

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record that is an event; a change that was needed and made is one."""
        name = getattr(record, "event", None)
        if name is None:
            return
        message, kept = record.getMessage(), self._events
        if name == Event.PORT_CHANGED:
            old, new = (getattr(record, name) for name in ("old_port", "new_port"))
            message = f"Port changed: {old} → {new}"
            kept = tuple(event for event in kept if event.name != Event.PORT_CHANGE_NEEDED)
        event = RecentEvent(record.created, record.levelname.lower(), name, printable(message))
        self._events = (event, *kept[: _MOST_EVENTS - 1])
