"""What notifications say: the title and the sentence for people, the facts for programs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from qsticky.clock import in_words, rfc3339
from qsticky.errors import Reason
from qsticky.sync.report import SyncReport


class Occasion(StrEnum):
    """What a notification is about: the values of NOTIFY_ON, and the test that people ask for."""

    FAILING = "failing"
    RECOVERED = "recovered"
    PORT_CHANGED = "port_changed"
    VPN_RESTARTED = "vpn_restarted"
    TEST = "test"

    @property
    def subject(self) -> str:
        """What a message tells of: a newer one of the same subject takes an older one's place."""
        return "state" if self in (Occasion.FAILING, Occasion.RECOVERED) else self.value


class Message(NamedTuple):
    """A notification. `facts` are the fields of the document that a `json://` address gets."""

    occasion: Occasion
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
    reason = report.failure.reason
    facts = _facts(Occasion.FAILING, report, reason=reason, since=rfc3339(began))
    return _message(Occasion.FAILING, _TITLES[reason], str(report.failure), facts)


def recovered(report: SyncReport, began: float, lasted: float) -> Message:
    """Make the message that a failure ended which `began` (epoch) and `lasted` so many seconds."""
    since = f"{datetime.fromtimestamp(began, UTC):%Y-%m-%d %H:%M} UTC"
    facts = _facts(Occasion.RECOVERED, report, since=rfc3339(began), seconds=round(lasted, 1))
    sentence = (
        f"In sync on port {report.current_port} again; it was failing since {since}, "
        f"for {in_words(lasted)}"
    )
    return _message(Occasion.RECOVERED, "recovered", sentence, facts)


def port_changed(report: SyncReport) -> Message:
    """Make the message that qBittorrent's listening port was changed."""
    assert report.change is not None
    new, old = report.change.new, report.change.old
    facts = _facts(Occasion.PORT_CHANGED, report, port=new, old_port=old)
    sentence = f"Successfully updated port to {new}; it was {old}"
    return _message(Occasion.PORT_CHANGED, f"port {new}", sentence, facts)


def vpn_restarted(report: SyncReport) -> Message:
    """Make the message that Gluetun was told to restart the VPN, which may have helped by now."""
    assert report.vpn_restart is not None
    facts = _facts(Occasion.VPN_RESTARTED, report, reason=report.vpn_restart.reason)
    sentence = report.vpn_restart.sentence
    return _message(Occasion.VPN_RESTARTED, "VPN restarted", sentence, facts)


def test() -> Message:
    """Make the message of `qsticky notify`."""
    sentence = "This is a test: what qSticky has to tell arrives here"
    return _message(Occasion.TEST, "test", sentence, _facts(Occasion.TEST))


def _message(occasion: Occasion, title: str, body: str, facts: Mapping[str, object]) -> Message:
    return Message(occasion, f"qSticky: {title}", body, facts)


def _facts(
    occasion: Occasion, report: SyncReport | None = None, **known: object
) -> dict[str, object]:
    """Return all fields: the same for each occasion, None being what is not known or not so."""
    facts: dict[str, object] = {
        "event": occasion,
        "status": report.status if report else None,
        "reason": None,
        "port": (report.forwarded_port or None) if report else None,
        "old_port": None,
        "since": None,
        "seconds": None,
    }
    return facts | known
