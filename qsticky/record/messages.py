"""What notifications say: the title and the sentence for people, the facts for programs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from qsticky.clock import in_words, rfc3339
from qsticky.config import Notice
from qsticky.errors import Reason
from qsticky.sync.report import SyncReport


class Message(NamedTuple):
    """A notification. `facts` are the fields of the document that a `json://` address gets.

    `occasion` is a `Notice`, or `test`.
    """

    occasion: str
    title: str
    body: str
    facts: Mapping[str, object]


_TITLES = {
    Reason.GLUETUN_UNREACHABLE: "Gluetun is unreachable",
    Reason.GLUETUN_UNAUTHORIZED: "Gluetun refuses access",
    Reason.GLUETUN_INVALID_RESPONSE: "unexpected answer from Gluetun",
    Reason.NO_FORWARDED_PORT: "no forwarded port",
    Reason.QBITTORRENT_UNREACHABLE: "qBittorrent is unreachable",
    Reason.QBITTORRENT_UNAUTHORIZED: "qBittorrent refuses access",
    Reason.QBITTORRENT_BANNED: "banned by qBittorrent",
    Reason.QBITTORRENT_INVALID_RESPONSE: "unexpected answer from qBittorrent",
    Reason.PORT_REJECTED: "port rejected by qBittorrent",
    Reason.NOT_LISTENING: "not listening",
    Reason.PORT_CLOSED: "port closed from outside",
    Reason.INTERNAL: "internal error",
}


def failing(report: SyncReport, began: float) -> Message:
    """Make the message that a sync failed, as they do since `began` (seconds since the epoch)."""
    assert report.failure is not None
    reason, since = report.failure.reason, rfc3339(began)
    sentence = str(report.failure)
    return _message(Notice.FAILING, _TITLES[reason], sentence, report, reason=reason, since=since)


def recovered(report: SyncReport, began: float, lasted: float) -> Message:
    """Make the message that a failure ended which `began` (epoch) and `lasted` so many seconds."""
    sentence = (
        f"In sync on port {report.current_port} again; it was failing since "
        f"{datetime.fromtimestamp(began, UTC):%Y-%m-%d %H:%M} UTC, for {in_words(lasted)}"
    )
    facts = {"since": rfc3339(began), "seconds": round(lasted, 1)}
    return _message(Notice.RECOVERED, "recovered", sentence, report, **facts)


def port_changed(report: SyncReport) -> Message:
    """Make the message that qBittorrent's listening port was changed."""
    assert report.change is not None
    new, old = report.change.new, report.change.old
    sentence = f"Successfully updated port to {new}; it was {old}"
    return _message(Notice.PORT_CHANGED, f"port {new}", sentence, report, port=new, old_port=old)


def vpn_restarted(report: SyncReport) -> Message:
    """Make the message that Gluetun was told to restart the VPN, which may have helped by now."""
    assert report.vpn_restart is not None
    sentence, reason, _ = report.vpn_restart
    return _message(Notice.VPN_RESTARTED, "VPN restarted", sentence, report, reason=reason)


def test() -> Message:
    """Make the message of `qsticky notify`."""
    return _message("test", "test", "This is a test: what qSticky has to tell arrives here")


def _message(
    occasion: str, title: str, body: str, report: SyncReport | None = None, **known: object
) -> Message:
    """Make a message with all fields: None is what is not known or not so."""
    facts: dict[str, object] = {
        "event": occasion,
        "status": report.status if report else None,
        "reason": None,
        "port": (report.forwarded_port or None) if report else None,
        "old_port": None,
        "since": None,
        "seconds": None,
    }
    return Message(occasion, f"qSticky: {title}", body, facts | known)
